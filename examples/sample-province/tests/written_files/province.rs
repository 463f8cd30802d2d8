use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use sample_province::{Options, Summary, generate};
use tempfile::TempDir;

/// One province for all tests that only read.
pub static PROVINCE: LazyLock<(TempDir, Summary)> = LazyLock::new(|| written(1));

pub fn written(seed: u64) -> (TempDir, Summary) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { customers: 1_000, seed, ..Options::default() };
    let summary = generate(&options, folder.path(), &mut |_| ()).unwrap();
    (folder, summary)
}

pub fn path(file: &str) -> PathBuf {
    PROVINCE.0.path().join(file)
}

fn text(file: &Path) -> String {
    let bytes = fs::read(file).unwrap();
    let bytes = if file.extension().is_some_and(|extension| extension == "gz") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
        plain
    } else {
        bytes
    };
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let is_chinese = ["boss.", "ringback.", "service."].iter().any(|platform| name.starts_with(platform));
    let encoding = if is_chinese { encoding_rs::GB18030 } else { encoding_rs::UTF_8 };
    let (text, had_errors) = encoding.decode_without_bom_handling(&bytes);
    assert!(!had_errors, "{name}");
    text.into_owned()
}

/// The lines of a feed's files split at `separator`, with the file that they are of, in the order of periods.
pub fn rows(feed: &str, separator: char) -> Vec<(usize, Vec<String>)> {
    let mut rows = Vec::new();
    for (place, file) in PROVINCE.1.files.iter().enumerate().filter(|(_, file)| file.feed == feed) {
        rows.extend(text(&path(&file.file)).lines().map(|line| (place, line.split(separator).map(str::to_owned).collect())));
    }
    rows
}

pub fn city(file: usize) -> &'static str {
    &PROVINCE.1.files[file].city
}
