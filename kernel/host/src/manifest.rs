use kernel_base::{Permission, PluginId};
use serde::Deserialize;
use toml::Spanned;

use crate::{HostError, verify::may_exist};

/// The contract version of `backplane:plugin` that this kernel speaks.
pub const CONTRACT: &str = "1.0";

// Limit: what a plugin may ask for. Memory is the size of a slot of the instance pool; a call longer than a minute belongs into a job.
pub(crate) const MEMORY_MIB_MAX: u32 = 256;
pub(crate) const TIMEOUT_MS_MAX: u64 = 60_000;
pub(crate) const CONCURRENCY_MAX: u32 = 64;
// Limit: characters of a job's name.
const JOB_NAME_MAX: usize = 40;

/// plugin.toml: what a plugin is, what it provides and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub id: PluginId,
    pub version: semver::Version,
    /// "1.0".
    pub contract: String,
    pub title: Title,
    /// Full names of its gRPC services, "portal_traffic.v1.PortalTraffic".
    pub services: Vec<String>,
    /// Methods that it calls, "/package.Service/Method".
    pub calls: Vec<String>,
    pub reads: Vec<Read>,
    /// Datasets that it appends to.
    pub writes: Vec<Write>,
    /// Work that it does by itself, through `backplane.guest.v1.Jobs`.
    pub jobs: Vec<Job>,
    pub limits: Limits,
}

/// What people read in the console.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Title {
    pub zh: String,
    pub en: String,
}

/// A dataset that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub dataset: String,
    /// `None` is all columns.
    pub columns: Option<Vec<String>>,
    /// Where in plugin.toml, in bytes, the dataset and each of the columns are named: that they are there is checked only when the plugin is enabled.
    pub(crate) dataset_start: usize,
    pub(crate) column_starts: Vec<usize>,
}

/// A dataset that is appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    pub dataset: String,
}

/// Work that is run by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub name: String,
    pub title: Title,
}

/// Bounds of one call and of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All linear memories of an instance together.
    pub memory_mib: u32,
    /// Time in the guest; waiting for methods that it calls is not counted.
    pub timeout_ms: u64,
    /// Instances of a deployment that run at one time.
    pub concurrency: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_mib: 64, timeout_ms: 5_000, concurrency: 8 }
    }
}

impl Manifest {
    /// Reads plugin.toml.
    ///
    /// # Errors
    /// PLUGIN_MANIFEST_INVALID with line and column of the field, and what to write instead.
    pub fn parse(text: &str) -> Result<Manifest, HostError> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            invalid(text, start, error.message().trim().replace('\n', "; "))
        })?;
        raw.check(text)
    }

    /// What the plugin asks for, as permission texts, sorted: what whoever enables it has to grant.
    pub fn capabilities(&self) -> Vec<String> {
        let calls = self.calls.iter().map(|method| format!("call:{method}"));
        let reads = self.reads.iter().map(|read| match &read.columns {
            None => format!("dataset.read:{}", read.dataset),
            // Through Permission, which sorts the columns: one capability has one text.
            Some(columns) => canonical(&format!("dataset.read:{}({})", read.dataset, columns.join(","))),
        });
        let writes = self.writes.iter().map(|write| format!("dataset.write:{}", write.dataset));
        let mut all: Vec<String> = calls.chain(reads).chain(writes).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn canonical(permission: &str) -> String {
    permission.parse::<Permission>().map_or_else(|_| permission.to_owned(), |permission| permission.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: Spanned<String>,
    version: Spanned<String>,
    contract: Spanned<String>,
    title: Title,
    services: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    calls: Vec<Spanned<String>>,
    #[serde(default)]
    reads: Vec<RawRead>,
    #[serde(default)]
    writes: Vec<RawWrite>,
    #[serde(default)]
    jobs: Vec<RawJob>,
    #[serde(default)]
    limits: RawLimits,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRead {
    dataset: Spanned<String>,
    columns: Option<Spanned<Vec<Spanned<String>>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWrite {
    dataset: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    name: Spanned<String>,
    title: Title,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLimits {
    memory_mib: Option<Spanned<u32>>,
    timeout_ms: Option<Spanned<u64>>,
    concurrency: Option<Spanned<u32>>,
}

impl Raw {
    fn check(self, text: &str) -> Result<Manifest, HostError> {
        let id: PluginId = self.id.get_ref().parse().map_err(|error: kernel_base::PluginIdInvalid| at(text, &self.id, format!("id: {error}")))?;
        if RESERVED.contains(&id.as_str()) {
            return Err(at(text, &self.id, format!("id: '{id}' would claim proto packages of others: choose another")));
        }
        let version: semver::Version = self
            .version
            .get_ref()
            .parse()
            .map_err(|error: semver::Error| at(text, &self.version, format!("version: {error}; write three numbers such as 0.1.0")))?;
        if self.contract.get_ref() != CONTRACT {
            return Err(at(text, &self.contract, format!("contract: this kernel speaks {CONTRACT} of backplane:plugin; write contract = \"{CONTRACT}\"")));
        }
        if self.services.get_ref().is_empty() {
            return Err(at(text, &self.services, "services: name at least one service, \"package.v1.Service\"".to_owned()));
        }
        for service in self.services.get_ref() {
            check_service(text, service, &id)?;
        }
        for call in &self.calls {
            check_call(text, call)?;
        }
        Ok(Manifest {
            version,
            contract: self.contract.into_inner(),
            title: self.title,
            services: self.services.into_inner().into_iter().map(Spanned::into_inner).collect(),
            calls: self.calls.into_iter().map(Spanned::into_inner).collect(),
            reads: self.reads.into_iter().map(|read| check_read(text, read)).collect::<Result<_, _>>()?,
            writes: self.writes.into_iter().map(|write| check_write(text, write, &id)).collect::<Result<_, _>>()?,
            jobs: check_jobs(text, self.jobs)?,
            limits: self.limits.check(text)?,
            id,
        })
    }
}

/// Ids whose namespace is the first part of proto packages that the kernel carries.
/// Then words that begin permissions of the kernel, which a plugin of that name could demand as its own, and schemas of the warehouse that are no plugin's.
const RESERVED: &[&str] =
    &["backplane", "google", "grpc", "arrow", "auth", "call", "dataset", "ingest", "plugin", "warehouse", "kernel", "main", "public", "changes", "aggregates"];

fn check_service(text: &str, service: &Spanned<String>, id: &PluginId) -> Result<(), HostError> {
    let namespace = id.namespace();
    let inside = service.get_ref().strip_prefix(&namespace).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1);
    if inside {
        return Ok(());
    }
    Err(at(text, service, format!("services: '{}' is outside of the plugin's proto packages: begin it with '{namespace}.'", service.get_ref())))
}

fn check_call(text: &str, call: &Spanned<String>) -> Result<(), HostError> {
    let path = call.get_ref();
    let part_is_good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    let parts = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    match parts.filter(|(service, method)| part_is_good(service) && service.contains('.') && part_is_good(method) && !method.contains('.')) {
        None => Err(at(text, call, format!("calls: '{path}' is not a method: write \"/package.Service/Method\""))),
        Some((service, method)) if !may_exist(service, method) => {
            Err(at(text, call, format!("calls: the kernel has no method '{path}': see its contracts under proto/backplane")))
        }
        Some(_) => Ok(()),
    }
}

fn check_dataset(text: &str, dataset: &Spanned<String>, table: &str) -> Result<(), HostError> {
    let name = dataset.get_ref();
    let good = name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.');
    if good { Ok(()) } else { Err(at(text, dataset, format!("{table}: '{name}' is not the name of a dataset: use a-z, 0-9, '_' and '.'"))) }
}

fn check_read(text: &str, read: RawRead) -> Result<Read, HostError> {
    check_dataset(text, &read.dataset, "reads")?;
    if let Some(columns) = &read.columns {
        let good = |column: &str| !column.is_empty() && column.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if columns.get_ref().is_empty() || !columns.get_ref().iter().all(|column| good(column.get_ref())) {
            return Err(at(text, columns, "reads: name at least one column with letters, digits and '_', or leave columns out for all".to_owned()));
        }
    }
    Ok(Read {
        dataset_start: read.dataset.span().start,
        column_starts: read.columns.iter().flat_map(Spanned::get_ref).map(|column| column.span().start).collect(),
        dataset: read.dataset.into_inner(),
        columns: read.columns.map(|columns| columns.into_inner().into_iter().map(Spanned::into_inner).collect()),
    })
}

fn check_write(text: &str, write: RawWrite, id: &PluginId) -> Result<Write, HostError> {
    check_dataset(text, &write.dataset, "writes")?;
    let namespace = id.namespace();
    if !write.dataset.get_ref().starts_with(&format!("{namespace}.")) {
        return Err(at(text, &write.dataset, format!("writes: a plugin appends only to its own datasets: begin the name with '{namespace}.'")));
    }
    Ok(Write { dataset: write.dataset.into_inner() })
}

fn check_jobs(text: &str, jobs: Vec<RawJob>) -> Result<Vec<Job>, HostError> {
    for (index, job) in jobs.iter().enumerate() {
        let name = job.name.get_ref();
        let good = (1..=JOB_NAME_MAX).contains(&name.len())
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !good {
            return Err(at(
                text,
                &job.name,
                format!("jobs: '{name}' is not the name of a job: use 1 to {JOB_NAME_MAX} of a-z, 0-9 and '-', starting with a letter"),
            ));
        }
        if jobs[..index].iter().any(|earlier| earlier.name.get_ref() == name) {
            return Err(at(text, &job.name, format!("jobs: '{name}' is there twice: give each job a name of its own")));
        }
    }
    Ok(jobs.into_iter().map(|job| Job { name: job.name.into_inner(), title: job.title }).collect())
}

impl RawLimits {
    fn check(self, text: &str) -> Result<Limits, HostError> {
        let defaults = Limits::default();
        Ok(Limits {
            memory_mib: bounded(text, "memory_mib", self.memory_mib, defaults.memory_mib, MEMORY_MIB_MAX)?,
            timeout_ms: bounded(text, "timeout_ms", self.timeout_ms, defaults.timeout_ms, TIMEOUT_MS_MAX)?,
            concurrency: bounded(text, "concurrency", self.concurrency, defaults.concurrency, CONCURRENCY_MAX)?,
        })
    }
}

fn bounded<N: Copy + Ord + From<u8> + std::fmt::Display>(text: &str, name: &str, value: Option<Spanned<N>>, default: N, max: N) -> Result<N, HostError> {
    match value {
        None => Ok(default),
        Some(value) if (N::from(1)..=max).contains(value.get_ref()) => Ok(value.into_inner()),
        Some(value) => Err(at(text, &value, format!("limits.{name}: {} is out of range: write 1 to {max}", value.get_ref()))),
    }
}

fn at<T>(text: &str, value: &Spanned<T>, problem: String) -> HostError {
    invalid(text, value.span().start, problem)
}

/// Line and column count from 1; columns count characters.
pub(crate) fn invalid(text: &str, start: usize, problem: String) -> HostError {
    let before = text.get(..start).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    HostError::ManifestInvalid { line, column, problem }
}
