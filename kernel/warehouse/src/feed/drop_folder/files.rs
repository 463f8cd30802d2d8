use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use super::{DropFolder, REFUSED, TAKEN};
use crate::feed::{control_file::CONTROL_BYTES_MAX, import::hex};

/// The text of a control file, `None` when there is none. One byte above the limit tells that it is too long.
pub(super) fn read_control(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    open_itself(path).ok()?.take(CONTROL_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens what stands in the folder under this name, and nothing that a link there points at, however quickly it was put in its place.
fn open_itself(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(path)?;
    let (opened, there) = (file.metadata()?, path.symlink_metadata()?);
    if there.is_file() && (opened.dev(), opened.ino()) == (there.dev(), there.ino()) {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a link, or was replaced while it was opened"))
}

pub(super) fn copy(from: &Path, to: &Path) -> io::Result<(String, u64)> {
    io::copy(&mut open_itself(from)?, &mut fs::File::create(to)?)?;
    // The copy is digested, not the original: what is imported is what was checked.
    let mut digest = Sha256::new();
    let size = io::copy(&mut fs::File::open(to)?, &mut digest)?;
    Ok((hex(&digest.finalize()), size))
}

pub(super) fn is_settled(path: &Path, settled: Duration) -> bool {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age >= settled))
}

pub(super) fn control_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".ctl");
    PathBuf::from(name)
}

/// Writes a file that whoever sees it can read to its end.
fn write_whole(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let unfinished = folder.join(format!(".{name}"));
    fs::write(&unfinished, text)?;
    fs::rename(unfinished, folder.join(name))
}

pub(super) fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}

/// Moves a file with its control file out of the way, and says whether it could; a name that is taken gets a number.
pub(super) fn put_away(folder: &DropFolder, path: &Path, name: &str, problem: Option<&str>) -> bool {
    let place = folder.dir.join(if problem.is_some() { REFUSED } else { TAKEN });
    let mut target = place.join(name);
    for number in 2.. {
        if !target.exists() {
            break;
        }
        target = place.join(format!("{name}.{number}"));
    }
    let moved = fs::rename(path, &target).and_then(|()| match fs::rename(control_path(path), control_path(&target)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    let noted = moved.and_then(|()| match problem {
        Some(problem) => write_whole(&place, &format!("{}.error.txt", target.file_name().unwrap_or_default().to_string_lossy()), &format!("{problem}\n")),
        None => Ok(()),
    });
    if let Err(error) = &noted {
        tracing::error!(%error, file = name, "a file could not be moved out of the drop folder: it is left alone until it changes");
    }
    noted.is_ok()
}
