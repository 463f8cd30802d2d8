use protox::{
    Error,
    file::{File, FileResolver},
};

#[allow(unreachable_pub, reason = "the list is public in backplane-proto, whose file this is")]
mod files {
    include!("../../../proto/files.rs");
}
use files::FILES;

/// Finds the kernel's own protos in this binary, so that a plugin compiles against the contracts of its SDK.
pub(crate) struct Contracts;

impl Contracts {
    /// The import paths of all contracts.
    pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(path, _)| *path)
    }
}

impl FileResolver for Contracts {
    fn open_file(&self, name: &str) -> Result<File, Error> {
        match FILES.iter().find(|(path, _)| *path == name) {
            Some((path, text)) => File::from_source(path, text),
            None => Err(Error::file_not_found(name)),
        }
    }
}
