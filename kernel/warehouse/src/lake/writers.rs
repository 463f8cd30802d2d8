use std::{
    path::Path,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use datafusion::parquet::basic::Compression;
use datafusion_ducklake::{DuckLakeError, DuckLakeTableWriter, SqliteMetadataWriter};
use kernel_storage::SyncedFiles;

use super::{Lake, ROW_GROUP_BYTES_MAX, ROW_GROUP_ROWS_MAX, failed};
use crate::error::WarehouseError;

// What is written to see whether there is room again, about as much as a small commit takes.
const PROBE_BYTES: usize = 256 << 10;

/// What writes the catalog and the data files; and what was opened in its place when it failed. Commits that began with the earlier one keep it.
pub(super) struct Writers {
    metadata: Arc<SqliteMetadataWriter>,
    tables: DuckLakeTableWriter,
    next: OnceLock<Box<Writers>>,
}

impl Writers {
    pub(super) fn new(metadata: Arc<SqliteMetadataWriter>, files: &Arc<SyncedFiles>) -> Result<Writers, WarehouseError> {
        let tables = DuckLakeTableWriter::new(metadata.clone(), files.clone()).map_err(failed("opening the catalog for writing"))?;
        let tables = tables.with_compression(Compression::SNAPPY).with_max_row_group_rows(ROW_GROUP_ROWS_MAX).with_max_row_group_bytes(ROW_GROUP_BYTES_MAX);
        Ok(Writers { metadata, tables, next: OnceLock::new() })
    }

    fn last(&self) -> &Writers {
        let mut writers = self;
        while let Some(next) = writers.next.get() {
            writers = next;
        }
        writers
    }
}

/// How the library is told of a catalog.
pub(super) fn connection(catalog: &Path) -> String {
    format!("sqlite:{}?mode=rwc", catalog.display())
}

impl Lake {
    pub(super) fn metadata(&self) -> &Arc<SqliteMetadataWriter> {
        &self.writers.last().metadata
    }

    pub(super) fn writer(&self) -> &DuckLakeTableWriter {
        &self.writers.last().tables
    }

    /// The error of a write.
    pub(super) fn write_failed(&self, doing: &'static str) -> impl Fn(DuckLakeError) -> WarehouseError {
        move |error| {
            self.note_failure(&error);
            failed(doing)(error)
        }
    }

    pub(super) fn note_failure(&self, error: &DuckLakeError) {
        if kernel_storage::ends_transactions(error) {
            self.writers_failed.store(true, Ordering::SeqCst);
        }
    }

    /// Opens the writers anew after one of them failed for good, once the disk has room again.
    ///
    /// # Errors
    /// When it has none.
    pub(super) async fn open_writers_anew(&self) -> Result<(), WarehouseError> {
        if !self.writers_failed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let _one_at_a_time = self.reopening.lock().await;
        // Another call may have been first.
        if !self.writers_failed.load(Ordering::SeqCst) {
            return Ok(());
        }
        let probe = self.catalog.with_extension("probe");
        let written = tokio::fs::write(&probe, [1; PROBE_BYTES]).await;
        let removed = tokio::fs::remove_file(&probe).await;
        written.and(removed).map_err(WarehouseError::storage("looking whether the disk has room"))?;
        let metadata = SqliteMetadataWriter::new(&connection(&self.catalog)).await.map_err(failed("opening the catalog anew"))?;
        let writers = Box::new(Writers::new(Arc::new(metadata), &self.files)?);
        // What fails from here on has failed with these.
        self.writers_failed.store(false, Ordering::SeqCst);
        if self.writers.last().next.set(writers).is_err() {
            return Err(WarehouseError::broken("the catalog was opened anew twice"));
        }
        tracing::warn!("a write to the catalog had failed, and its connections were opened anew");
        Ok(())
    }
}
