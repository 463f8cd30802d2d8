use std::{path::Path, sync::OnceLock};

use sample_province::{FileTotal, Options, Summary, generate};
use tempfile::TempDir;

use crate::FeedFile;

/// The files of a sample province.
pub struct Province {
    dir: TempDir,
    pub summary: Summary,
}

impl Province {
    /// The smallest, made once for all who read it.
    pub fn least() -> &'static Province {
        static PROVINCE: OnceLock<Province> = OnceLock::new();
        PROVINCE.get_or_init(|| Province::of(1_000))
    }

    /// One of so many customers.
    pub fn of(customers: u32) -> Province {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let summary = generate(&Options { customers, ..Options::default() }, dir.path(), &mut |_| ()).expect("the province is written");
        Province { dir, summary }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, total: &FileTotal) -> FeedFile {
        FeedFile { feed: total.feed.to_owned(), path: self.dir.path().join(&total.file) }
    }
}
