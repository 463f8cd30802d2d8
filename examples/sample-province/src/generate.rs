use std::{
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use serde::Serialize;

use crate::{
    FileTotal, GenerateError, Options, Progress, answer_key,
    city::{self, Written},
    public, reference, report,
    world::World,
};

/// What a run made.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub customers: u32,
    pub seed: u64,
    pub first_month: String,
    pub months: u32,
    pub rows: u64,
    pub bytes: u64,
    /// Every file of every feed, by city, then feed and period.
    pub files: Vec<FileTotal>,
}

/// Limit: cities written at the same time. Each has some two hundred open files with a compressor each, about 60 MB.
const WORKERS: usize = 2;

/// Writes the province into `out`: `<feed>/<file>` with control files, `late/` for what comes late, `answer-key/`, `totals.json`, and with
/// [`Options::report`] `report/`.
///
/// # Errors
/// When the options ask for too little or too much, or the disk does not take it. What was written until then stays.
pub fn generate(options: &Options, out: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Summary, GenerateError> {
    let world = World::of(options)?;
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(GenerateError::NotEmpty { path: out.to_owned() });
    }
    let mut files = reference::write(&world, out)?;
    let written = write_cities(&world, out, progress)?;
    let mut keys = Vec::with_capacity(written.len());
    for city in written {
        files.extend(city.files);
        keys.push(city.key);
    }
    answer_key::write(&world, &keys, &files, out)?;
    let summary = Summary {
        customers: options.customers,
        seed: options.seed,
        first_month: options.first_month.to_string(),
        months: options.months,
        rows: files.iter().map(FileTotal::rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        files,
    };
    answer_key::write_json(&out.join("totals.json"), &summary)?;
    if options.report {
        report::write(out)?;
    }
    Ok(summary)
}

/// Workers take the next city as they become free; the answer is in the order of cities whoever wrote them.
fn write_cities(world: &World, out: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Written>, GenerateError> {
    let cities = public::cities();
    let order = by_size(&world.customers);
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<Option<Result<Written, GenerateError>>>> = Mutex::new((0..cities.len()).map(|_| None).collect());
    let (done, finished) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (done, next, order, results) = (done.clone(), &next, &order, &results);
            scope.spawn(move || {
                while let Some(city) = order.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
                    let result = city::write(world, city, out);
                    let rows = result.as_ref().map_or(0, |written| written.files.iter().map(FileTotal::rows).sum::<u64>());
                    if result.is_err() {
                        next.store(usize::MAX / 2, Ordering::Relaxed);
                    }
                    if let Ok(mut results) = results.lock() {
                        results[city] = Some(result);
                    }
                    // The receiver outlives the workers; were it gone, nobody would miss the news.
                    let _ = done.send((city, rows));
                }
            });
        }
        drop(done);
        let mut sum = 0;
        for (count, (city, rows)) in finished.iter().enumerate() {
            sum += rows;
            progress(Progress { cities_done: count + 1, cities: cities.len(), city: cities[city].name_zh.to_owned(), rows: sum });
        }
    });
    let results = results.into_inner().map_err(|poisoned| GenerateError::Worker { reason: poisoned.to_string() })?;
    let (done, failed): (Vec<_>, Vec<_>) = results.into_iter().flatten().partition(Result::is_ok);
    match failed.into_iter().next() {
        Some(Err(error)) => Err(error),
        _ => done.into_iter().collect(),
    }
}

/// Largest first, so that the workers end together.
fn by_size(customers: &[u32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..customers.len()).collect();
    order.sort_by_key(|city| std::cmp::Reverse(customers[*city]));
    order
}
