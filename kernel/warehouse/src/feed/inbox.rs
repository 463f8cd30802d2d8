use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    period::Period,
    slices::{FileKey, Slice},
};
use crate::error::WarehouseError;

/// A file whose upload is complete: what is imported, and gone on with after a restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Uploaded {
    pub(super) feed: String,
    pub(super) city: String,
    pub(super) file_name: String,
    pub(super) sha256: String,
    pub(super) size_bytes: u64,
    pub(super) principal: String,
    /// `yyyyMMdd` or `yyyyMM`, where it is known.
    pub(super) period: Option<String>,
    pub(super) part: u32,
    /// The number of rows in its control file.
    pub(super) rows_declared: Option<u64>,
    /// When it entered the inbox, microseconds since 1970: of two files for a slice the later one stands, also after a restart.
    #[serde(default)]
    pub(super) came_at: i64,
}

impl Uploaded {
    /// The same file for the same feed and city is the same upload.
    pub(super) fn id(&self) -> String {
        format!("{}-{}-{}", self.feed, self.city, self.sha256)
    }

    pub(super) fn key(&self) -> Result<FileKey, WarehouseError> {
        Ok(FileKey { feed: self.feed.clone(), city: self.city.parse()?, sha256: self.sha256.clone() })
    }

    pub(super) fn slice(&self) -> Result<Slice, WarehouseError> {
        Ok(Slice { city: self.city.parse()?, period: self.read_period(), part: self.part })
    }

    pub(super) fn read_period(&self) -> Option<Period> {
        self.period.as_deref().and_then(Period::read)
    }
}

/// The folder of uploads. `<id>.data` are the bytes, `<id>.json` says whose they are; the second is written last, and what lacks it was never acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    dir: PathBuf,
}

impl Inbox {
    /// Opens the folder and clears away uploads that were cut off.
    pub(super) fn open(dir: PathBuf) -> Result<Inbox, WarehouseError> {
        let failed = WarehouseError::storage("opening the inbox");
        std::fs::create_dir_all(&dir).map_err(&failed)?;
        for entry in std::fs::read_dir(&dir).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let orphan = extension == Some("data") && !path.with_extension("json").exists();
            if orphan || matches!(extension, Some("part" | "new")) {
                std::fs::remove_file(&path).map_err(&failed)?;
            }
        }
        Ok(Inbox { dir })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A fresh place to receive bytes in.
    pub(super) fn part(&self) -> PathBuf {
        let name: String = kernel_base::random_bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(format!("{name}.part"))
    }

    pub(super) fn data(&self, uploaded: &Uploaded) -> PathBuf {
        self.dir.join(format!("{}.data", uploaded.id()))
    }

    /// Makes a received part an upload; when it returns, both files are on disk.
    pub(super) fn place(&self, part: &Path, uploaded: &Uploaded) -> Result<(), WarehouseError> {
        let place = || -> io::Result<()> {
            File::open(part)?.sync_all()?;
            std::fs::rename(part, self.data(uploaded))?;
            let header = self.dir.join(format!("{}.json", uploaded.id()));
            let fresh = header.with_extension("new");
            let mut file = File::create(&fresh)?;
            file.write_all(&serde_json::to_vec(uploaded)?)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &header)?;
            sync_folder_of(&header)
        };
        place().map_err(WarehouseError::storage("keeping an uploaded file"))
    }

    /// Uploads that wait or are being imported, in the order in which they came.
    pub(super) fn list(&self) -> Result<Vec<Uploaded>, WarehouseError> {
        let failed = WarehouseError::storage("reading the inbox");
        let mut uploads = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(&failed)? {
            let path = entry.map_err(&failed)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                match std::fs::read(&path) {
                    Ok(bytes) => uploads.push(serde_json::from_slice::<Uploaded>(&bytes).map_err(|error| failed(error.into()))?),
                    // Its import ended between the listing and the reading.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        uploads.sort_by_key(|uploaded| uploaded.came_at);
        Ok(uploads)
    }

    /// Forgets an upload, the header first: data without a header is cleared away at the next start.
    pub(super) fn remove(&self, uploaded: &Uploaded) -> Result<(), WarehouseError> {
        let gone = |path: PathBuf| match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(WarehouseError::storage("clearing an uploaded file")(error)),
            _ => Ok(()),
        };
        gone(self.dir.join(format!("{}.json", uploaded.id())))?;
        gone(self.data(uploaded))
    }
}

/// Makes the names in a file's folder durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn uploads_are_listed_in_the_order_in_which_they_came() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(dir.path().to_owned()).unwrap();
        let upload = |sha256: &str, came_at| Uploaded {
            feed: "misc.usage".to_owned(),
            city: "440600".to_owned(),
            file_name: "misc.usage.440600.20260102.txt.gz".to_owned(),
            sha256: sha256.to_owned(),
            size_bytes: 0,
            principal: "mei".to_owned(),
            period: Some("20260102".to_owned()),
            part: 0,
            rows_declared: None,
            came_at,
        };
        for (sha256, came_at) in [("c", 1), ("a", 3), ("b", 2)] {
            let part = inbox.part();
            File::create(&part).unwrap();
            inbox.place(&part, &upload(sha256, came_at)).unwrap();
        }
        let listed: Vec<String> = inbox.list().unwrap().into_iter().map(|uploaded| uploaded.sha256).collect();
        assert_eq!(listed, ["c", "b", "a"]);
    }
}
