use super::{inbox::Uploaded, period::Period};
use crate::error::WarehouseError;

// Limit: a control file is one short line.
pub(super) const CONTROL_BYTES_MAX: usize = 1 << 10;

/// What the platform says of a file that it sent: `file|rows|sha256|data_day` in `<name>.ctl`. With it a file that is cut off, changed on its way or another
/// one than it seems is refused before a row of it is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ControlFile {
    pub(super) file_name: String,
    pub(super) rows: u64,
    /// Lower-case hex.
    pub(super) sha256: String,
    pub(super) period: Period,
}

impl ControlFile {
    /// # Errors
    /// FILE_REFUSED, saying what of the line is wrong.
    pub(super) fn read(file_name: &str, text: &str) -> Result<ControlFile, WarehouseError> {
        let line = text.trim_start_matches('\u{feff}').trim();
        let refuse = |problem: String| refused(file_name, format!("its control file: {problem}"));
        if text.len() > CONTROL_BYTES_MAX || line.lines().count() != 1 {
            return Err(refuse("expected one line file|rows|sha256|data_day".to_owned()));
        }
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let &[name, rows, sha256, period] = fields.as_slice() else {
            return Err(refuse(format!("expected the four fields file|rows|sha256|data_day; found {}", fields.len())));
        };
        let rows = rows.parse().map_err(|_| refuse(format!("expected a number of rows; found '{}'", short(rows))))?;
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refuse(format!("expected the 64 hex digits of a SHA-256; found '{}'", short(sha256))));
        }
        let period = Period::read(period).ok_or_else(|| refuse(format!("expected a data day yyyyMMdd or a month yyyyMM; found '{}'", short(period))))?;
        Ok(ControlFile { file_name: name.to_owned(), rows, sha256: sha256.to_ascii_lowercase(), period })
    }

    /// Checks what can be known before the rows are counted: name, digest, period.
    ///
    /// # Errors
    /// FILE_REFUSED.
    pub(super) fn check(&self, file_name: &str, sha256: &str, period: Option<Period>) -> Result<(), WarehouseError> {
        let refuse = |problem: String| Err(refused(file_name, problem));
        if self.file_name != file_name {
            return refuse(format!("its control file is for '{}': send each file with its own", short(&self.file_name)));
        }
        if self.sha256 != sha256 {
            return refuse(format!("its bytes have the SHA-256 {sha256}, and its control file says {}: it was cut off or changed, send it again", self.sha256));
        }
        match period {
            Some(period) if period != self.period => refuse(format!("its name says the period {period}, and its control file {}", self.period)),
            _ => Ok(()),
        }
    }
}

/// Checks the number of rows, once they were counted.
///
/// # Errors
/// FILE_REFUSED.
pub(super) fn check_rows(uploaded: &Uploaded, counted: u64) -> Result<(), WarehouseError> {
    match uploaded.rows_declared {
        Some(declared) if declared != counted => {
            let problem = format!("it has {counted} rows, and its control file says {declared}: it is incomplete or has more than it should, send it again");
            Err(refused(&uploaded.file_name, problem))
        }
        _ => Ok(()),
    }
}

fn refused(file_name: &str, problem: String) -> WarehouseError {
    WarehouseError::FileRefused { file_name: file_name.to_owned(), problem }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn a_control_file_says_what_the_file_must_be() {
        let control = ControlFile::read("a.txt", &format!("a.txt|12|{}|20260301\r\n", DIGEST.to_uppercase())).unwrap();
        assert_eq!((control.rows, control.sha256.as_str(), control.period.to_string()), (12, DIGEST, "20260301".to_owned()));
        control.check("a.txt", DIGEST, Period::read("20260301")).unwrap();
        let problem = |name: &str, digest: &str, period: &str| control.check(name, digest, Period::read(period)).unwrap_err().to_string();
        assert!(problem("b.txt", DIGEST, "20260301").contains("is for 'a.txt'"));
        assert!(problem("a.txt", &DIGEST.replace('9', "8"), "20260301").contains("cut off or changed"));
        assert!(problem("a.txt", DIGEST, "20260302").contains("its name says the period 20260302"));
    }

    #[test]
    fn a_wrong_control_file_says_what_was_expected() {
        for (text, expected) in [
            ("", "one line"),
            ("a\nb", "one line"),
            ("a.txt|12|20260301", "four fields"),
            (&format!("a.txt|many|{DIGEST}|20260301"), "a number of rows"),
            ("a.txt|12|abc|20260301", "64 hex digits"),
            (&format!("a.txt|12|{DIGEST}|20261301"), "a data day"),
        ] {
            let problem = ControlFile::read("a.txt", text).unwrap_err().to_string();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
