use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use kernel_base::City;
use tokio::{
    sync::watch,
    task::{Id, JoinError, JoinSet},
};
use tonic::Code;

use self::files::{control_path, copy, is_settled, modified, put_away, read_control};
use super::{
    FeedContract, Importer,
    control_file::ControlFile,
    file_name::Named,
    import::ImportState,
    inbox::Uploaded,
    numbers,
    period::Period,
    upload::{Part, begin},
};
use crate::{contract::Visibility, error::WarehouseError};

mod files;

// Limit: files taken at once; the kernel imports two at a time.
const FILES_AT_ONCE: usize = 4;
// A look takes at most one part in so many of the time: a folder of ten thousand files takes a while to read.
const PAUSE_OF_LOOKS: u32 = 20;
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

impl Candidate {
    /// The service numbers come first, so that they are known when they are met; after them the files are taken by name.
    fn turn(&self) -> (bool, &str) {
        (!self.has_numbers(), &self.name)
    }

    /// A name without a city is the province's.
    fn city(&self) -> City {
        self.named.city.unwrap_or(City::PROVINCE)
    }

    /// Whose files have one turn.
    fn place(&self) -> (String, City, Option<Period>) {
        (self.feed.name.clone(), self.city(), self.named.period.map(Period::month))
    }

    fn has_numbers(&self) -> bool {
        self.feed.dataset.name == numbers::DATASET
    }
}

/// What a look at the folder found.
#[derive(Default)]
struct Found {
    whole: Vec<Candidate>,
    without_control: BTreeMap<FeedAndCity, i64>,
    /// Refused, and still there.
    stuck: Vec<PathBuf>,
}

/// A feed by its name, and the city whose file it is.
pub(super) type FeedAndCity = (String, City);

/// Takes the files that platforms leave in a folder, for as long as the kernel runs. A file that was taken moves to `taken/`; one that is refused to `refused/`, with
/// the reason beside it. What is not whole yet, or lacks its control file, stays.
pub(crate) async fn watch(importer: Arc<Importer>, folder: DropFolder) -> Result<(), WarehouseError> {
    for place in [TAKEN, REFUSED] {
        fs::create_dir_all(folder.dir.join(place)).map_err(WarehouseError::storage("making the drop folder"))?;
    }
    let mut ticks = tokio::time::interval(folder.every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut takes =
        Takes { importer: importer.clone(), folder, waiting: VecDeque::new(), taken_now: HashMap::new(), running: JoinSet::new(), stuck: Stuck::new() };
    let mut look_after = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if importer.refuse_while_closing().is_err() {
                    while let Some(ended) = takes.running.join_next_with_id().await {
                        takes.ended(ended);
                    }
                    return Ok(());
                }
                if Instant::now() >= look_after {
                    let began = Instant::now();
                    takes.look().await;
                    look_after = Instant::now() + began.elapsed() * PAUSE_OF_LOOKS;
                }
            }
            Some(ended) = takes.running.join_next_with_id() => takes.ended(ended),
        }
        takes.begin();
    }
}

/// The files of the folder on their way. A file that comes while a large one is taken does not wait for it.
struct Takes {
    importer: Arc<Importer>,
    folder: DropFolder,
    /// In the order of their turns; found anew by each look.
    waiting: VecDeque<Candidate>,
    taken_now: HashMap<Id, TakenNow>,
    running: JoinSet<bool>,
    /// Files that were taken or refused and could not be moved away: left alone until they change.
    stuck: Stuck,
}

/// Paths, and when the files there were modified.
type Stuck = HashMap<PathBuf, Option<SystemTime>>;

struct TakenNow {
    path: PathBuf,
    place: (String, City, Option<Period>),
    has_numbers: bool,
}

impl Takes {
    /// Looks at the folder. What cannot be read now is looked at again.
    async fn look(&mut self) {
        self.stuck.retain(|path, at| path.exists() && modified(path) == *at);
        let (importer, folder, stuck) = (self.importer.clone(), self.folder.clone(), self.stuck.clone());
        let found = tokio::task::spawn_blocking(move || look(&importer, &folder, &stuck)).await.map_err(WarehouseError::broken);
        match found.and_then(|found| found) {
            Ok(Found { mut whole, without_control, stuck }) => {
                self.stuck.extend(stuck.into_iter().map(|path| (path.clone(), modified(&path))));
                whole.retain(|candidate| self.taken_now.values().all(|taken| taken.path != candidate.path));
                whole.sort_by(|a, b| a.turn().cmp(&b.turn()));
                self.waiting = whole.into();
                self.importer.note_without_control(without_control);
            }
            Err(error) => tracing::error!(%error, dir = %self.folder.dir.display(), "the drop folder could not be read; it is tried again"),
        }
    }

    /// Those that name customers wait for the numbers that come. Of a feed, city and month one file is taken at a time: others would hold a place and wait.
    fn has_its_turn(&self, candidate: &Candidate) -> bool {
        let place = candidate.place();
        self.taken_now.values().all(|taken| !(taken.has_numbers && candidate.feed.resolves_numbers()) && taken.place != place)
    }

    fn ended(&mut self, ended: Result<(Id, bool), JoinError>) {
        let (task, is_put_away) = ended.unwrap_or_else(|error| {
            tracing::error!(%error, "taking a file from the drop folder failed; it is tried again");
            (error.id(), true)
        });
        if let Some(taken) = self.taken_now.remove(&task)
            && !is_put_away
        {
            self.stuck.insert(taken.path.clone(), modified(&taken.path));
        }
    }

    /// Begins what has its turn.
    fn begin(&mut self) {
        while self.running.len() < FILES_AT_ONCE {
            let Some(candidate) = self.waiting.iter().position(|candidate| self.has_its_turn(candidate)).and_then(|at| self.waiting.remove(at)) else {
                return;
            };
            let taken = TakenNow { path: candidate.path.clone(), place: candidate.place(), has_numbers: candidate.has_numbers() };
            let (importer, folder) = (self.importer.clone(), self.folder.clone());
            let task = self.running.spawn(async move { take(&importer, &folder, &candidate).await });
            self.taken_now.insert(task.id(), taken);
        }
    }
}

fn look(importer: &Importer, folder: &DropFolder, stuck: &Stuck) -> Result<Found, WarehouseError> {
    let failed = WarehouseError::storage("reading the drop folder");
    let feeds = importer.contracts.feeds();
    let mut found = Found::default();
    for entry in fs::read_dir(&folder.dir).map_err(&failed)? {
        let path = entry.map_err(&failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
            continue;
        };
        // Hidden files are those that a transfer has not finished. A link could point at any file that the kernel may read.
        let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
        if !is_file || name.ends_with(".ctl") || name.starts_with('.') || stuck.contains_key(&path) {
            continue;
        }
        let control = read_control(&control_path(&path));
        let is_settled = control.is_some() || is_settled(&path, folder.settled);
        let of_feed = feeds.iter().find_map(|feed| match feed.named(&name) {
            Ok(None) => None,
            Ok(Some(named)) => Some(Ok((feed, named))),
            Err(error) => Some(Err(error)),
        });
        match of_feed {
            Some(Ok((feed, named))) if control.is_some() || (!feed.has_control_file && is_settled) => {
                found.whole.push(Candidate { path, name, feed: feed.clone(), named, control });
            }
            Some(Ok((feed, named))) if is_settled => {
                *found.without_control.entry((feed.name.clone(), named.city.unwrap_or(City::PROVINCE))).or_default() += 1;
            }
            // It is still being written.
            _ if !is_settled => {}
            foreign => {
                let problem = match foreign {
                    Some(Err(error)) => error.to_string(),
                    _ => "no feed takes a file of this name: 'backplane feed list' shows the names that they take".to_owned(),
                };
                if !refuse(folder, &path, &name, &problem) {
                    found.stuck.push(path);
                }
            }
        }
    }
    Ok(found)
}

/// Whether the file could be moved away.
fn refuse(folder: &DropFolder, path: &Path, name: &str, problem: &str) -> bool {
    tracing::warn!(file = name, problem, "a file in the drop folder is refused");
    put_away(folder, path, name, Some(problem))
}

/// Whether the file is out of the way, or waits for another try.
async fn take(importer: &Arc<Importer>, folder: &DropFolder, candidate: &Candidate) -> bool {
    let Candidate { path, name, feed, .. } = candidate;
    match import(importer, candidate).await {
        Ok(()) => put_away(folder, path, name, None),
        Err(Refused { problem, is_final: true }) => refuse(folder, path, name, &problem),
        Err(Refused { problem, is_final: false }) => {
            tracing::warn!(feed = feed.name, file = name, problem, "a file in the drop folder waits");
            true
        }
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
    let part = Part { path: importer.inbox.part() };
    match upload_of(importer, candidate, &part).await {
        Ok(uploaded) => ended(begin(importer, part, uploaded).await?).await,
        Err(error) => {
            // A file of the province's own that is named for a city is told of where its feed has a row.
            let city = if candidate.feed.dataset.visibility == Visibility::Shared { City::PROVINCE } else { candidate.city() };
            importer.note_refusal(&candidate.feed.name, city, &candidate.name, &error).await;
            Err(error.into())
        }
    }
}

/// Copies the file to the part and holds it to its name and its control file.
async fn upload_of(importer: &Importer, candidate: &Candidate, part: &Part) -> Result<Uploaded, WarehouseError> {
    let Candidate { path, name, feed, named, control } = candidate;
    let city = candidate.city();
    let refused = |problem| Err(WarehouseError::FileRefused { file_name: name.clone(), problem });
    if feed.dataset.visibility == Visibility::Shared && city != City::PROVINCE {
        return refused(format!("'{}' holds reference rows of the province, not of {city}: name the file for 440000", feed.dataset.name));
    }
    let size = path.metadata().map_err(WarehouseError::storage("reading the drop folder"))?.len();
    if size > importer.file_bytes_max {
        return refused(format!("{size} bytes are more than the {} that a file may have: split it", importer.file_bytes_max));
    }
    let (from, to) = (path.clone(), part.path.clone());
    let copying = tokio::task::spawn_blocking(move || copy(&from, &to)).await.map_err(WarehouseError::broken)?;
    let (sha256, size_bytes) = copying.map_err(WarehouseError::storage("copying a file from the drop folder"))?;
    let control = control.as_deref().map(|text| ControlFile::read(name, text)).transpose()?;
    if let Some(control) = &control {
        control.check(name, &sha256, named.period)?;
    }
    Ok(Uploaded {
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
    })
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
