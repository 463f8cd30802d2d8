use std::time::{Duration, SystemTime};

use datafusion_ducklake::maintenance::{CleanupCriteria, delete_orphaned_files_sqlite};

use super::{Lake, failed};
use crate::error::WarehouseError;

// Limit: how long a file stays that no snapshot names. Somebody may have put an older catalog in the place of the newest; until then its files can be found and the
// mistake be mended.
const KEPT: Duration = Duration::from_hours(7 * 24);

impl Lake {
    /// Deletes the files that no snapshot names: a commit or a merge wrote them, and a crash cut it off. Nothing may be on its way to a commit.
    ///
    /// Those that are younger than the newest snapshot stay, as those of the last week do: under an older catalog they are the rows that it lacks.
    ///
    /// # Errors
    /// When the catalog or the folder cannot be read, or a file not be deleted.
    pub(super) async fn delete_orphans(&self) -> Result<(), WarehouseError> {
        let asked = kernel_storage::newest_snapshot_time(&self.catalog).await;
        let Some(newest) = asked.map_err(|source| WarehouseError::Storage { doing: "asking when the newest snapshot was made", source: Box::new(source) })?
        else {
            return Ok(());
        };
        let week_ago = SystemTime::now().checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
        let older = CleanupCriteria::OlderThan(newest.min(week_ago).into());
        let deleted = delete_orphaned_files_sqlite(self.metadata(), self.files.clone(), older, false).await;
        let deleted = deleted.map_err(failed("deleting files that no snapshot names"))?;
        if !deleted.is_empty() {
            tracing::info!(files = deleted.len(), "files that a crash left behind, and that no snapshot names, were deleted");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::{fs::File, sync::Arc};

    use arrow_array::{Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
    use arrow_schema::{DataType, Field, Schema};
    use tempfile::TempDir;

    use super::*;
    use crate::lake::{Layout, TableName};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_crash_left_behind_goes_after_a_week() {
        let dir = TempDir::new().unwrap();
        let (name, schema) = (TableName::dataset("some"), Arc::new(Schema::new(vec![Field::new("number", DataType::Int64, false)])));
        let append = async |lake: &Lake, number: i64| {
            let mut transaction = lake.begin().await.unwrap();
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![number]))]).unwrap();
            transaction.append(&name, &schema, &[batch]).await.unwrap();
            transaction.commit(|_| ()).await.unwrap();
        };
        let lake = Lake::open(dir.path()).await.unwrap();
        append(&lake, 1).await;
        append(&lake, 2).await;
        drop(lake);
        let folder = dir.path().join("data/main/some");
        let day = Duration::from_hours(24);
        let old = SystemTime::now() - 8 * day;
        for (file, written) in [("left.parquet", old), ("of-this-week.parquet", SystemTime::now() - 6 * day), ("notes.txt", old)] {
            File::create(folder.join(file)).unwrap().set_modified(written).unwrap();
        }
        // As old as what is left behind, but of a snapshot.
        for entry in std::fs::read_dir(&folder).unwrap().map(Result::unwrap).filter(|entry| entry.metadata().unwrap().len() > 0) {
            File::options().write(true).open(entry.path()).unwrap().set_modified(old).unwrap();
        }

        let lake = Lake::open(dir.path()).await.unwrap();
        let is_there = |file: &str| folder.join(file).exists();
        assert_eq!([is_there("left.parquet"), is_there("of-this-week.parquet"), is_there("notes.txt")], [false, true, true]);
        lake.reconcile(&[Layout::unsorted(name.clone(), schema.clone())]).await.unwrap();
        let rows = lake.rows(lake.newest(), &name, None, &["number"]).await.unwrap();
        let mut numbers: Vec<i64> = rows.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    }
}
