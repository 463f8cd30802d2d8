use crate::{FeedFile, FileTotal, Flaw, GenerateError, OnDay, RowKind};

/// A file of a feed together with what goes wrong in it: now and then a row comes twice, is broken, or names a number that nobody has.
#[derive(Debug)]
pub(super) struct Sheet {
    file: FeedFile,
    flaw: Flaw,
    /// Good rows after which the next flaw of its kind comes.
    next_duplicate: u64,
    next_corrupt: u64,
    next_unknown: u64,
    /// A number that nobody has.
    unknown_number: u64,
    corrupted: u64,
}

/// Limit: the strictest feeds refuse a file with more than five bad rows in a thousand; the first comes after at least four hundred good ones.
const CORRUPT_AFTER: (u64, u64, u64) = (400, 1_800, 2_500);
const DUPLICATE_AFTER: (u64, u64, u64) = (120, 900, 1_700);
const UNKNOWN_AFTER: (u64, u64, u64) = (300, 4_000, 9_000);

impl Sheet {
    pub(super) fn new(file: FeedFile, flaw: Flaw, draw: &mut crate::Draw, unknown_number: u64) -> Sheet {
        let mut first = |(low, high, _): (u64, u64, u64)| if flaw == Flaw::None { u64::MAX } else { low + draw.bits() % (high - low) };
        let (next_duplicate, next_corrupt, next_unknown) = (first(DUPLICATE_AFTER), first(CORRUPT_AFTER), first(UNKNOWN_AFTER));
        Sheet { file, flaw, next_duplicate, next_corrupt, next_unknown, unknown_number, corrupted: 0 }
    }

    pub(super) fn good(&mut self, text: &str, on_day: Option<OnDay<'_>>) -> Result<(), GenerateError> {
        self.file.row(RowKind::Good, text, on_day)?;
        self.flaws(text)
    }

    /// A row of a `latest` dataset that replaces an earlier one.
    pub(super) fn replacing(&mut self, text: &str, on_day: Option<OnDay<'_>>) -> Result<(), GenerateError> {
        self.file.row(RowKind::Replacing, text, on_day)?;
        self.flaws(text)
    }

    pub(super) fn finish(self) -> Result<FileTotal, GenerateError> {
        self.file.finish()
    }

    fn flaws(&mut self, text: &str) -> Result<(), GenerateError> {
        let rows = self.file.rows();
        if rows >= self.next_duplicate {
            self.next_duplicate = rows + DUPLICATE_AFTER.2;
            self.file.row(RowKind::Duplicate, text, None)?;
        }
        if rows >= self.next_corrupt {
            self.next_corrupt = rows + CORRUPT_AFTER.2;
            self.corrupted += 1;
            let broken = corrupt(self.flaw, text, self.corrupted);
            self.file.row(RowKind::Corrupt, &broken, None)?;
        }
        if rows >= self.next_unknown {
            self.next_unknown = rows + UNKNOWN_AFTER.2;
            if let Some(renumbered) = renumber(self.flaw, text, self.unknown_number) {
                // The same stranger every time.
                self.file.row(RowKind::UnknownNumber, &renumbered, None)?;
            }
        }
        Ok(())
    }
}

fn corrupt(flaw: Flaw, text: &str, count: u64) -> String {
    match flaw {
        Flaw::None => text.to_owned(),
        Flaw::Separated { separator, broken_field, .. } => {
            let cut = text.rsplit_once(separator).map(|(kept, _)| kept.to_owned());
            match cut {
                Some(kept) if count.is_multiple_of(2) && separator != ',' => kept,
                _ => replace_field(text, separator, broken_field, "#N/A"),
            }
        }
        Flaw::Json { .. } => text.chars().take(text.chars().count() / 2).collect(),
    }
}

fn renumber(flaw: Flaw, text: &str, number: u64) -> Option<String> {
    match flaw {
        Flaw::Separated { separator, number_field: Some(field), .. } => Some(replace_field(text, separator, field, &number.to_string())),
        Flaw::Json { number_field } => {
            let (before, after) = text.split_once(&format!("\"{number_field}\":\""))?;
            let (_, after) = after.split_once('"')?;
            Some(format!("{before}\"{number_field}\":\"{number}\"{after}"))
        }
        Flaw::None | Flaw::Separated { .. } => None,
    }
}

/// Quoted fields come after those that are replaced.
fn replace_field(text: &str, separator: char, field: usize, by: &str) -> String {
    let fields: Vec<&str> = text.split(separator).enumerate().map(|(place, kept)| if place == field { by } else { kept }).collect();
    fields.join(&separator.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feeds;

    #[test]
    fn broken_rows_keep_all_but_what_is_broken() {
        assert_eq!(corrupt(feeds::BOSS_NUMBER.flaw, "139|7|20260101|\\N", 1), "139|7|#N/A|\\N");
        assert_eq!(corrupt(feeds::BOSS_NUMBER.flaw, "139|7|20260101|\\N", 2), "139|7|20260101");
        assert_eq!(corrupt(feeds::BASE_ACTIVITY.flaw, "{\"msisdn\":\"1\"}", 1), "{\"msisd");
    }

    #[test]
    fn a_number_is_replaced_where_the_feed_has_it() {
        assert_eq!(renumber(feeds::BASE_ACTIVITY.flaw, "{\"msisdn\":\"139\",\"a\":1}", 7).as_deref(), Some("{\"msisdn\":\"7\",\"a\":1}"));
        assert_eq!(renumber(feeds::RINGBACK_SETTING.flaw, "a,139,b", 7).as_deref(), Some("a,7,b"));
        assert_eq!(renumber(feeds::BOSS_NUMBER.flaw, "139|7", 7), None);
    }
}
