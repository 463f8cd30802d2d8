use std::{
    fs,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use kernel_base::City;
use sha2::{Digest, Sha256};
use tokio::{sync::watch, task::JoinSet};
use tonic::Code;

use super::{
    FeedContract, Importer,
    control_file::{CONTROL_BYTES_MAX, ControlFile},
    file_name::Named,
    import::{ImportState, hex},
    inbox::Uploaded,
    upload::{Part, begin},
};
use crate::{contract::Visibility, error::WarehouseError};

// Limit: files taken at once; the kernel imports two at a time.
const FILES_AT_ONCE: usize = 4;
/// Whom imports from the folder are recorded for.
const PRINCIPAL: &str = "drop-folder";
const TAKEN: &str = "taken";
const REFUSED: &str = "refused";

/// How the folder is watched.
#[derive(Debug, Clone)]
pub struct DropFolder {
    pub dir: PathBuf,
    /// How often it is looked at. Looking finds what arrives by any way, network file systems among them, which notices of the system do not.
    pub every: Duration,
    /// How long a file without a control file must have been left alone before it counts as whole.
    pub settled: Duration,
}

impl DropFolder {
    /// The defaults, in `dir`.
    pub fn in_dir(dir: impl Into<PathBuf>) -> DropFolder {
        DropFolder { dir: dir.into(), every: Duration::from_secs(1), settled: Duration::from_secs(10) }
    }
}

/// A file that is whole.
struct Candidate {
    path: PathBuf,
    name: String,
    feed: Arc<FeedContract>,
    named: Named,
    control: Option<String>,
}

/// Takes the files that platforms leave in a folder, for as long as the kernel runs. A file that was taken moves to `taken/`; one that is refused to `refused/`, with
/// the reason beside it. What is not whole yet, or lacks its control file, stays.
pub(crate) async fn watch(importer: Arc<Importer>, folder: DropFolder) -> Result<(), WarehouseError> {
    for place in [TAKEN, REFUSED] {
        fs::create_dir_all(folder.dir.join(place)).map_err(WarehouseError::storage("making the drop folder"))?;
    }
    let mut ticks = tokio::time::interval(folder.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if importer.refuse_while_closing().is_err() {
            return Ok(());
        }
        if let Err(error) = scan(&importer, &folder).await {
            tracing::error!(%error, dir = %folder.dir.display(), "the drop folder could not be read; it is tried again");
        }
    }
}

/// Takes what is whole now: feeds that name customers first, so that numbers are known when they are met.
async fn scan(importer: &Arc<Importer>, folder: &DropFolder) -> Result<(), WarehouseError> {
    let (with_numbers, without): (Vec<_>, Vec<_>) = candidates(importer, folder)?.into_iter().partition(|candidate| candidate.feed.resolves_numbers());
    for mut these in [without, with_numbers] {
        these.sort_by(|a, b| b.name.cmp(&a.name));
        let mut running = JoinSet::new();
        while let Some(candidate) = these.pop() {
            if running.len() >= FILES_AT_ONCE {
                running.join_next().await;
            }
            let (importer, folder) = (importer.clone(), folder.clone());
            running.spawn(async move { take(&importer, &folder, &candidate).await });
        }
        running.join_all().await;
    }
    Ok(())
}

fn candidates(importer: &Importer, folder: &DropFolder) -> Result<Vec<Candidate>, WarehouseError> {
    let failed = WarehouseError::storage("reading the drop folder");
    let feeds = importer.contracts.feeds();
    let mut candidates = Vec::new();
    for entry in fs::read_dir(&folder.dir).map_err(&failed)? {
        let path = entry.map_err(&failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        // Hidden files are those that a transfer has not finished. A link could point at any file that the kernel may read.
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if !is_file || name.ends_with(".ctl") || name.starts_with('.') {
            continue;
        }
        let control = read_control(&control_path(&path));
        let found = feeds.iter().find_map(|feed| match feed.named(&name) {
            Ok(None) => None,
            Ok(Some(named)) => Some(Ok((feed, named))),
            Err(error) => Some(Err(error)),
        });
        let is_settled = control.is_some() || is_settled(&path, folder.settled);
        match found {
            Some(Ok((feed, named))) if control.is_some() || (!feed.has_control_file && is_settled) => {
                candidates.push(Candidate { path, name, feed: feed.clone(), named, control });
            }
            // It waits for its control file, or is still being written.
            Some(Ok(_)) => {}
            _ if !is_settled => {}
            Some(Err(error)) => put_away(folder, &path, &name, Some(&error.to_string())),
            None => put_away(folder, &path, &name, Some("no feed takes a file of this name: 'backplane feed list' shows the names that they take")),
        }
    }
    Ok(candidates)
}

async fn take(importer: &Arc<Importer>, folder: &DropFolder, candidate: &Candidate) {
    let Candidate { path, name, feed, .. } = candidate;
    match import(importer, candidate).await {
        Ok(()) => put_away(folder, path, name, None),
        Err(Refused { problem, is_final: true }) => {
            tracing::warn!(feed = feed.name, file = name, problem, "a file in the drop folder is refused");
            put_away(folder, path, name, Some(&problem));
        }
        Err(Refused { problem, is_final: false }) => tracing::warn!(feed = feed.name, file = name, problem, "a file in the drop folder waits"),
    }
}

/// Why a file was not taken.
struct Refused {
    problem: String,
    /// Whether trying again would give the same.
    is_final: bool,
}

impl From<WarehouseError> for Refused {
    fn from(error: WarehouseError) -> Refused {
        let is_final = !matches!(error, WarehouseError::Storage { .. } | WarehouseError::Closing | WarehouseError::InDoubt | WarehouseError::Broken { .. });
        Refused { problem: error.to_string(), is_final }
    }
}

async fn import(importer: &Arc<Importer>, candidate: &Candidate) -> Result<(), Refused> {
    let Candidate { path, name, feed, named, control } = candidate;
    let city = named.city.unwrap_or(City::PROVINCE);
    if feed.dataset.visibility == Visibility::Shared && city != City::PROVINCE {
        let problem = format!("'{}' holds reference rows of the province, not of {city}: name the file for 440000", feed.dataset.name);
        return Err(WarehouseError::FileRefused { file_name: name.clone(), problem }.into());
    }
    let size = path.metadata().map_err(WarehouseError::storage("reading the drop folder"))?.len();
    if size > importer.file_bytes_max {
        let problem = format!("{size} bytes are more than the {} that a file may have: split it", importer.file_bytes_max);
        return Err(WarehouseError::FileRefused { file_name: name.clone(), problem }.into());
    }
    let part = Part { path: importer.inbox.part() };
    let (from, to) = (path.clone(), part.path.clone());
    let copying = tokio::task::spawn_blocking(move || copy(&from, &to)).await.map_err(WarehouseError::broken)?;
    let (sha256, size_bytes) = copying.map_err(WarehouseError::storage("copying a file from the drop folder"))?;
    let control = control.as_deref().map(|text| ControlFile::read(name, text)).transpose();
    let checked = control.and_then(|control| {
        control.as_ref().map_or(Ok(()), |control| control.check(name, &sha256, named.period))?;
        Ok(control)
    });
    let control = match checked {
        Ok(control) => control,
        Err(error) => {
            importer.appender.refuse(&feed.name, &city.to_string(), name, &sha256, &error.to_string()).await?;
            return Err(error.into());
        }
    };
    let uploaded = Uploaded {
        feed: feed.name.clone(),
        city: city.to_string(),
        file_name: name.clone(),
        sha256,
        size_bytes,
        principal: PRINCIPAL.to_owned(),
        period: named.period.map(|period| period.to_string()),
        part: named.part,
        rows_declared: control.map(|control| control.rows),
        came_at: 0,
    };
    let import = begin(importer, part, uploaded).await?;
    ended(import).await
}

async fn ended(mut import: watch::Receiver<ImportState>) -> Result<(), Refused> {
    match import.wait_for(|state| !matches!(state, ImportState::Running(_))).await.map(|state| state.clone()) {
        Ok(ImportState::Failed(status)) => {
            let is_final = matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition);
            Err(Refused { problem: status.message().to_owned(), is_final })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(WarehouseError::Closing.into()),
    }
}

/// The text of a control file, `None` when there is none. One byte above the limit tells that it is too long.
fn read_control(path: &Path) -> Option<String> {
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

fn copy(from: &Path, to: &Path) -> io::Result<(String, u64)> {
    io::copy(&mut open_itself(from)?, &mut fs::File::create(to)?)?;
    // The copy is digested, not the original: what is imported is what was checked.
    let mut digest = Sha256::new();
    let size = io::copy(&mut fs::File::open(to)?, &mut digest)?;
    Ok((hex(&digest.finalize()), size))
}

fn is_settled(path: &Path, settled: Duration) -> bool {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.is_ok_and(|modified| SystemTime::now().duration_since(modified).is_ok_and(|age| age >= settled))
}

fn control_path(path: &Path) -> PathBuf {
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

/// Moves a file with its control file out of the way; a name that is taken gets a number.
fn put_away(folder: &DropFolder, path: &Path, name: &str, problem: Option<&str>) {
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
    if let Err(error) = noted {
        tracing::error!(%error, file = name, "a file could not be moved out of the drop folder");
    }
}
