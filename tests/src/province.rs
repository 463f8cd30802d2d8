use std::{path::Path, sync::OnceLock};

use sample_province::{FileTotal, Options, Summary, generate};
use tempfile::TempDir;

use crate::FeedFile;

/// The sample province at its smallest, made once for all who read it.
pub struct Province {
    dir: TempDir,
    pub summary: Summary,
}

impl Province {
    pub fn least() -> &'static Province {
        static PROVINCE: OnceLock<Province> = OnceLock::new();
        PROVINCE.get_or_init(|| {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let options = Options { customers: 1_000, ..Options::default() };
            let summary = generate(&options, dir.path(), &mut |_| ()).expect("the province is written");
            Province { dir, summary }
        })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, total: &FileTotal) -> FeedFile {
        FeedFile { feed: total.feed.to_owned(), path: self.dir.path().join(&total.file) }
    }
}
