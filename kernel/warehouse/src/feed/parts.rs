use std::{collections::HashSet, sync::Arc};

use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::TryStreamExt;

use super::{
    FeedContract,
    duplicates::{Duplicates, KeyDigest, stored_keys},
    file_import::row_source,
    import::Importer,
    slices::Slice,
};
use crate::{
    append::{Moved, RowSource, Settled, of_keys, of_source},
    contract::DatasetContract,
    error::WarehouseError,
    lake::{TableName, row_keys},
};

/// What the parts of a period have of each key, as one of them comes or goes, where the feed drops duplicates. Of the rows with a key the first of the lowest part
/// counts, whichever part came first; those of the others are set aside, and the next of them counts when that part leaves or is restated without it.
pub(super) struct Parts {
    feed: Arc<FeedContract>,
    slice: Slice,
    file_name: String,
    /// Keys that count, of parts below this one.
    below: Duplicates,
    /// Keys of this part itself.
    own: Duplicates,
}

/// Which rows of a part count, which are set aside for those of another part, and how many are no more than repeats within the part.
pub(super) struct Judged {
    pub(super) counts: BooleanArray,
    pub(super) aside: BooleanArray,
}

impl Judged {
    /// So many rows of a feed that does not compare keys.
    pub(super) fn all_count(rows: usize) -> Judged {
        Judged { counts: BooleanArray::from(vec![true; rows]), aside: BooleanArray::from(vec![false; rows]) }
    }

    /// Those of the rows that are set aside.
    pub(super) fn set_aside(&self, rows: &RecordBatch) -> Result<Option<RecordBatch>, WarehouseError> {
        if self.aside.true_count() == 0 {
            return Ok(None);
        }
        filter_record_batch(rows, &self.aside).map(Some).map_err(WarehouseError::broken)
    }
}

impl Parts {
    /// Which of some rows of this part count. They come in the order of their lines.
    ///
    /// # Errors
    /// FILE_REFUSED when the period has more keys than are remembered.
    pub(super) fn judge(&mut self, keys: &[KeyDigest]) -> Result<Judged, WarehouseError> {
        let first_ones = self.own.first_ones(&self.file_name, keys)?;
        let is_below = keys.iter().map(|key| self.below.holds(*key)).collect::<Result<Vec<_>, _>>()?;
        let rows = || first_ones.values().iter().zip(&is_below);
        Ok(Judged {
            counts: rows().map(|(is_first, is_below)| Some(is_first && !is_below)).collect(),
            aside: rows().map(|(is_first, is_below)| Some(is_first && *is_below)).collect(),
        })
    }

    /// Whether a row of this part counts for the key, or one of the parts that were looked at so far.
    fn is_taken(&self, key: KeyDigest) -> Result<bool, WarehouseError> {
        Ok(self.own.holds(key)? || self.below.holds(key)?)
    }
}

impl Importer {
    /// What the other parts of a period have. With `own`, the digest of a file that is in, also what that one has: its rows that are read later come after those.
    pub(super) async fn parts(&self, feed: &Arc<FeedContract>, slice: Slice, file_name: &str, own: Option<&str>) -> Result<Parts, WarehouseError> {
        let duplicates = || Duplicates::new(self.inbox.dir().to_owned(), self.keys_in_memory);
        let mut parts = Parts { feed: feed.clone(), slice, file_name: file_name.to_owned(), below: duplicates(), own: duplicates() };
        if !feed.drops_duplicates {
            return Ok(parts);
        }
        let (table, aside) = (TableName::dataset(&feed.dataset.name), TableName::aside(&feed.dataset.name));
        for (part, sha256) in self.slices.other_parts(&feed.name, slice) {
            if part.part < slice.part {
                self.add_keys(feed, slice, file_name, &table, &row_source(&feed.name, part, &sha256), &mut parts.below).await?;
            }
        }
        if let Some(sha256) = own {
            let source = row_source(&feed.name, slice, sha256);
            for table in [&table, &aside] {
                self.add_keys(feed, slice, file_name, table, &source, &mut parts.own).await?;
            }
        }
        Ok(parts)
    }

    async fn add_keys(
        &self,
        feed: &FeedContract,
        slice: Slice,
        file_name: &str,
        table: &TableName,
        source: &RowSource,
        keys: &mut Duplicates,
    ) -> Result<(), WarehouseError> {
        let lake = self.appender.lake();
        let mut rows = lake.stream(lake.newest(), table, Some(of_source(slice.city, source)), &key_columns(&feed.dataset)).await?;
        while let Some(batch) = rows.try_next().await? {
            tokio::task::block_in_place(|| keys.add(file_name, &stored_keys(batch.columns())?))?;
        }
        Ok(())
    }

    /// What becomes of the rows of the parts above, now that all of this one's keys are known, or that it has none any more. The caller holds the turn of the period.
    ///
    /// # Errors
    /// FILE_REFUSED when more rows than are held at a time would change their place.
    pub(super) async fn settle(&self, mut parts: Parts) -> Result<Settled, WarehouseError> {
        let (feed, slice) = (parts.feed.clone(), parts.slice);
        let mut settled = Settled::default();
        let mut above = self.slices.other_parts(&feed.name, slice);
        above.retain(|(part, _)| part.part > slice.part);
        above.sort_by_key(|(part, _)| part.part);
        for (part, sha256) in above {
            let source = row_source(&feed.name, part, &sha256);
            let (table, aside) = (TableName::dataset(&feed.dataset.name), TableName::aside(&feed.dataset.name));
            // A feed that drops duplicates no more has no key that is taken: what was set aside returns.
            if feed.drops_duplicates {
                let leaving = self.change_places(&parts, &source, &table, true, self.moved_rows_max.saturating_sub(settled.rows())).await?;
                settled.leaving.extend(leaving);
                self.add_keys(&feed, slice, &parts.file_name, &table, &source, &mut parts.below).await?;
            }
            let room = self.moved_rows_max.saturating_sub(settled.rows());
            let returning = self.change_places(&parts, &source, &aside, false, room).await?;
            settled.returning.extend(returning);
            if feed.drops_duplicates {
                self.add_keys(&feed, slice, &parts.file_name, &aside, &source, &mut parts.below).await?;
            }
        }
        Ok(settled)
    }

    /// The rows of a part that are in this table and belong in the other one: those whose keys are taken, or those whose keys are not; at most `room`.
    async fn change_places(&self, parts: &Parts, source: &RowSource, table: &TableName, are_taken: bool, room: usize) -> Result<Option<Moved>, WarehouseError> {
        let (contract, city, lake) = (parts.feed.dataset.clone(), parts.slice.city, self.appender.lake());
        let (mut keys, mut rows) = (HashSet::new(), 0);
        let mut stored = lake.stream(lake.newest(), table, Some(of_source(city, source)), &key_columns(&contract)).await?;
        while let Some(batch) = stored.try_next().await? {
            tokio::task::block_in_place(|| {
                let digests = stored_keys(batch.columns())?;
                let moves = digests.into_iter().map(|key| Ok(Some(parts.is_taken(key)? == are_taken))).collect::<Result<BooleanArray, WarehouseError>>()?;
                rows += moves.true_count();
                keys.extend(row_keys(filter_record_batch(&batch, &moves).map_err(WarehouseError::broken)?.columns())?);
                Ok::<_, WarehouseError>(())
            })?;
            if rows > room {
                let problem = format!(
                    "more than {} rows of parts above {} have the keys of its rows, and would change places with them: a part was sent under two numbers; take the \
                     higher one back first ('backplane feed retract')",
                    self.moved_rows_max, parts.slice
                );
                return Err(WarehouseError::FileRefused { file_name: parts.file_name.clone(), problem });
            }
        }
        if keys.is_empty() {
            return Ok(None);
        }
        let condition = of_keys(&contract, city, source, Arc::new(keys));
        let schema = contract.table_schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let rows = lake.rows(lake.newest(), table, Some(condition.clone()), &columns).await?;
        // The table's columns, which may be null there and not here.
        let declared = |batch: RecordBatch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()).map_err(WarehouseError::broken);
        Ok(Some(Moved { condition, rows: rows.into_iter().map(declared).collect::<Result<_, _>>()? }))
    }
}

fn key_columns(contract: &DatasetContract) -> Vec<&str> {
    contract.key.iter().map(String::as_str).collect()
}
