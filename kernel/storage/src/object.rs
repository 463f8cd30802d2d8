use std::{
    fmt, io,
    ops::Range,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, UploadPart, local::LocalFileSystem, path::Path,
};

/// The local file system as an object store whose writes are on disk when they return: file and folder are synced after a put, a finished upload, a copy
/// and a rename. `LocalFileSystem` of object_store 0.13 never syncs, so a power cut could lose a file that a committed catalog names.
#[derive(Debug, Clone)]
pub struct SyncedFiles {
    files: Arc<LocalFileSystem>,
}

impl SyncedFiles {
    /// The whole file system; paths are absolute without their leading slash, as `file:///` addresses them.
    pub fn new() -> SyncedFiles {
        SyncedFiles { files: Arc::new(LocalFileSystem::new()) }
    }

    async fn sync(&self, location: &Path) -> Result<()> {
        sync_file(self.files.path_to_filesystem(location)?).await
    }
}

impl Default for SyncedFiles {
    fn default() -> Self {
        SyncedFiles::new()
    }
}

impl fmt::Display for SyncedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SyncedFiles({})", self.files)
    }
}

/// Syncs a file and every folder above it that may be new. A folder's entry lives in its parent, so syncing the direct one alone could lose a fresh table's
/// folder; five levels reach from a data file to the folder that the kernel was given.
async fn sync_file(path: PathBuf) -> Result<()> {
    let shown = path.display().to_string();
    let synced = tokio::task::spawn_blocking(move || sync_with_folders(&path)).await;
    let outcome = synced.unwrap_or_else(|_| Err(io::Error::other("the sync was cancelled")));
    outcome.map_err(|source| object_store::Error::Generic { store: "SyncedFiles", source: format!("{shown} could not be synced to disk: {source}").into() })
}

// Limit: folders synced above a file. data / schema / table / partition, and the folder that holds them.
const FOLDERS_SYNCED: usize = 5;

fn sync_with_folders(path: &FilePath) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    for folder in path.ancestors().skip(1).take(FOLDERS_SYNCED) {
        match std::fs::File::open(folder) {
            Ok(folder) => folder.sync_all()?,
            // Folders above ours may be closed to us; they were there before we came.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[async_trait]
impl ObjectStore for SyncedFiles {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let put = self.files.put_opts(location, payload, options).await?;
        self.sync(location).await?;
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.files.put_multipart_opts(location, options).await?;
        Ok(Box::new(SyncedUpload { upload, path: self.files.path_to_filesystem(location)? }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.files.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.files.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.files.copy_opts(from, to, options).await?;
        self.sync(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.files.rename_opts(from, to, options).await?;
        self.sync(to).await
    }
}

/// An upload in parts that is on disk once it is complete.
#[derive(Debug)]
struct SyncedUpload {
    upload: Box<dyn MultipartUpload>,
    path: PathBuf,
}

#[async_trait]
impl MultipartUpload for SyncedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let put = self.upload.complete().await?;
        sync_file(self.path.clone()).await?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
