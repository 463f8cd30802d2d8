use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use kernel_base::City;

/// Deals the visitors of a log to two cities, as if each had sent its own file. A visitor's lines stay together and in order, so sessions stay whole.
/// Gives the files with their cities. The same log gives the same files, which the kernel then knows by their digest.
///
/// # Errors
/// When the log cannot be read or the files cannot be written.
pub(super) fn split(log: &Path, cities: [City; 2], dir: &Path) -> anyhow::Result<Vec<(City, PathBuf)>> {
    let folder = dir.join("drop");
    fs::create_dir_all(&folder)?;
    let input = File::open(log).with_context(|| format!("cannot open the access log {}", log.display()))?;
    let stem: String = log.file_stem().and_then(|stem| stem.to_str()).unwrap_or("log").chars().filter(char::is_ascii_alphanumeric).collect();
    let files = cities.map(|city| (city, folder.join(format!("portal.access.{city}.{stem}.log"))));
    let mut outputs = Vec::new();
    for (_, path) in &files {
        outputs.push(BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?));
    }
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        let address = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let sum: usize = address.iter().map(|byte| usize::from(*byte)).sum();
        outputs[sum % 2].write_all(&line)?;
        line.clear();
    }
    for output in &mut outputs {
        output.flush()?;
    }
    Ok(files.into())
}
