//! The files that change seldom: what BOSS sends of the catalogue, and the tables that central operations keeps. All are the province's, 440000.

mod catalogue;
mod places;
mod tables;

use std::path::Path;

use crate::{Feed, FeedFile, FileTotal, GenerateError, RowKind, world::World};

const PROVINCE: &str = "440000";

/// # Errors
/// When the disk does not take it.
pub(crate) fn write(world: &World, out: &Path) -> Result<Vec<FileTotal>, GenerateError> {
    let mut files = catalogue::write(world, out)?;
    files.extend(tables::write(world, out)?);
    files.extend(places::write(world, out)?);
    Ok(files)
}

/// A file of these rows; `replacing` are those with a key that an earlier file sent.
fn file(out: &Path, feed: &'static Feed, period: &str, rows: &[(RowKind, String)]) -> Result<FileTotal, GenerateError> {
    let mut file = FeedFile::create(out, "", feed, PROVINCE, period)?;
    for (kind, row) in rows {
        file.row(*kind, row, None)?;
    }
    file.finish()
}

/// A table that is sent once, at the beginning.
fn table(world: &World, out: &Path, feed: &'static Feed, rows: impl Iterator<Item = String>) -> Result<FileTotal, GenerateError> {
    let rows: Vec<_> = rows.map(|row| (RowKind::Good, row)).collect();
    file(out, feed, &world.first_month.period(), &rows)
}
