use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::kernel::binary;

/// What a kernel does to its folder, as `recorded-disk-preload` writes it down.
pub struct Recording {
    folder: TempDir,
    root: PathBuf,
}

/// How a disk fails, after so many more operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFault {
    /// Nothing more can be written.
    Full(usize),
    /// No sync succeeds.
    Sync(usize),
    /// The process ends before its next operation: the record has all that it did.
    Stop,
}

impl Recording {
    pub(crate) fn of(root: &Path) -> Recording {
        Recording { folder: tempfile::tempdir().expect("a temporary folder"), root: root.to_owned() }
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let library = binary().with_file_name("librecorded_disk_preload.so");
        assert!(library.exists(), "{} is missing: run 'cargo build --workspace' first", library.display());
        vec![
            ("LD_PRELOAD", library.into()),
            ("RECORDED_DISK_ROOT", self.root.clone().into()),
            ("RECORDED_DISK_RECORD", self.folder.path().join("record").into()),
            ("RECORDED_DISK_FAULT", self.fault().into()),
        ]
    }

    /// The folder that is recorded.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How long the record is now: what was answered before has done no more.
    pub fn position(&self) -> usize {
        let record = std::fs::metadata(self.folder.path().join("record")).expect("a record");
        usize::try_from(record.len()).expect("a length in memory")
    }

    pub fn record(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("record")).expect("a record")
    }

    /// Has the disk fail from now on, or work again.
    pub fn set_fault(&self, fault: Option<DiskFault>) {
        let text = match fault {
            Some(DiskFault::Full(after)) => format!("full {after}"),
            Some(DiskFault::Sync(after)) => format!("sync {after}"),
            Some(DiskFault::Stop) => "stop".to_owned(),
            None => String::new(),
        };
        std::fs::write(self.fault(), text).expect("the fault is told");
    }

    fn fault(&self) -> PathBuf {
        self.folder.path().join("fault")
    }
}

/// The record of a test that fails stays, to be played again.
impl Drop for Recording {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            let folder = self.folder.path().display().to_string();
            #[allow(clippy::print_stderr, reason = "for whoever looks into the failure")]
            {
                eprintln!("the record of the disk is in {folder}");
            }
        }
    }
}
