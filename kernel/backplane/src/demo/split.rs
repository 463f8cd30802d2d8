use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use kernel_base::City;

/// Deals the visitors of a log to two cities, as if each had sent its own file. A visitor's lines stay together and in order, so sessions stay whole.
/// Gives the files with their cities. The same log gives the same files, which the kernel then knows by their digest; another log of the same month restates it.
///
/// # Errors
/// When the log cannot be read or the files cannot be written.
pub(super) fn split(log: &Path, cities: [City; 2], dir: &Path) -> anyhow::Result<Vec<(City, PathBuf)>> {
    let folder = dir.join("drop");
    fs::create_dir_all(&folder)?;
    let input = File::open(log).with_context(|| format!("cannot open the access log {}", log.display()))?;
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line)?;
    let month = month_of(&String::from_utf8_lossy(&line)).with_context(|| {
        format!("the first line of {} has no time such as [17/May/2015:10:05:03 +0000]: give an access log in combined format", log.display())
    })?;
    let files = cities.map(|city| (city, folder.join(format!("portal.access.{city}.{month}.log"))));
    let mut outputs = Vec::new();
    for (_, path) in &files {
        outputs.push(BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?));
    }
    while !line.is_empty() {
        let address = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let sum: usize = address.iter().map(|byte| usize::from(*byte)).sum();
        outputs[sum % 2].write_all(&line)?;
        line.clear();
        input.read_until(b'\n', &mut line)?;
    }
    for output in &mut outputs {
        output.flush()?;
    }
    Ok(files.into())
}

/// The month of a line's time, yyyyMM.
fn month_of(line: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, time) = line.split_once('[')?;
    let (_, month_and_year) = time.split_once('/')?;
    let (month, rest) = month_and_year.split_once('/')?;
    let number = MONTHS.iter().position(|name| *name == month)? + 1;
    let year = rest.get(..4).filter(|year| year.chars().all(|c| c.is_ascii_digit()))?;
    Some(format!("{year}{number:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_month_of_a_log_is_that_of_its_first_line() {
        assert_eq!(month_of("1.1.1.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"").as_deref(), Some("201505"));
        for wrong in ["", "1.1.1.1 - - [17/Mai/2015:10:05:03 +0000]", "1.1.1.1 - - [17/May/15:", "no time"] {
            assert_eq!(month_of(wrong), None, "{wrong}");
        }
    }
}
