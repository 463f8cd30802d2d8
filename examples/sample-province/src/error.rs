use std::{io, path::PathBuf};

use thiserror::Error;

#[derive(Debug, Error)]
pub enum GenerateError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot read back {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot draw {name}: {reason}")]
    Plot { name: &'static str, reason: String },
    #[error("{} holds something already: give a folder that is empty or does not exist, so that no file of another run stays", path.display())]
    NotEmpty { path: PathBuf },
    #[error("{value} customers: give at least {least}, so that every planted fact has somebody to happen to")]
    TooFewCustomers { value: u32, least: u32 },
    #[error("{value} months: give at least {least}, so that what is planted in a month has months before it")]
    TooFewMonths { value: u32, least: u32 },
    #[error("{city} has {numbers} numbers and would need {needed}: give fewer customers")]
    TooFewNumbers { city: String, numbers: u64, needed: u64 },
    #[error("cannot write {} as JSON: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("a worker stopped without a result: {reason}")]
    Worker { reason: String },
}
