use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use jiff::civil::Date;

use crate::{Encoding, Feed, GenerateError, moment, planted, public};

/// The text of one file of a feed.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) city: String,
    /// Waits outside the folder of the feed.
    pub(super) is_late: bool,
    pub(super) text: String,
}

/// Every file of a feed, those that came late included, in the order of their names; of one city or of all.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn texts<'a>(
    out: &'a Path,
    feed: &'static Feed,
    city: Option<&'a str>,
) -> Result<impl Iterator<Item = Result<Text, GenerateError>> + 'a, GenerateError> {
    let mut paths = Vec::new();
    let late = out.join(planted::LATE_FOLDER);
    for folder in [out.join(feed.name), late.join(feed.name)].into_iter().filter(|folder| folder.is_dir()) {
        let failed = |source| GenerateError::Read { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
    }
    paths.retain(|path| path.extension().is_none_or(|extension| extension != "ctl"));
    paths.sort();
    let of_city = move |path: &PathBuf| city.is_none_or(|city| city_of(feed, path) == city);
    let read = move |path: PathBuf| read(feed, &path, path.starts_with(&late)).map_err(|source| GenerateError::Read { path, source });
    Ok(paths.into_iter().filter(of_city).map(read))
}

fn read(feed: &Feed, path: &Path, is_late: bool) -> io::Result<Text> {
    let file = BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    if feed.gzip {
        GzDecoder::new(file).read_to_end(&mut bytes)?
    } else {
        { file }.read_to_end(&mut bytes)?
    };
    let text = match feed.encoding {
        Encoding::Utf8 => String::from_utf8_lossy(&bytes).into_owned(),
        Encoding::Gb18030 => encoding_rs::GB18030.decode(&bytes).0.into_owned(),
    };
    Ok(Text { city: city_of(feed, path), is_late, text })
}

/// `440100` of `portal.access.440100.202511.log`.
fn city_of(feed: &Feed, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.trim_start_matches(feed.name).split('.').nth(1).unwrap_or_default().to_owned()
}

/// What a city is called in English, or its code.
pub(super) fn city_name(code: &str) -> &str {
    public::cities().iter().find(|city| city.code == code).map_or(code, |city| city.name_en)
}

/// The day of a text that begins with `yyyyMMdd` or `yyyy-MM-dd`.
pub(super) fn day(text: &str) -> Option<Date> {
    let digits = text.chars().take(10).filter(char::is_ascii_digit).collect::<String>();
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i16>().ok();
    Date::new(number(0..4)?, i8::try_from(number(4..6)?).ok()?, i8::try_from(number(6..8)?).ok()?).ok()
}

/// The day in Shanghai of milliseconds since 1970.
pub(super) fn day_of_millis(millis: i64) -> Date {
    moment::days_after(jiff::civil::date(1970, 1, 1), (millis + 8 * 3_600_000).div_euclid(86_400_000))
}
