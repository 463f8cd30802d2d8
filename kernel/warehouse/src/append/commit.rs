use std::sync::{Arc, PoisonError};

use super::{
    Appender, Batch, Committed, Known, keys,
    waiting::Answered,
    writes::{Counts, stage, with_hidden},
};
use crate::{
    error::WarehouseError,
    lake::{LakeTransaction, Staged, TableName},
};

/// A batch whose rows are written, as far as they can be before its turn.
pub(crate) struct Prepared<'a> {
    appender: &'a Arc<Appender>,
    batch: Batch,
    /// Its rows in their file, if they are many, and since when.
    written: Option<(Staged<'a>, i64)>,
}

/// A batch that is on its way to its commit.
pub(crate) enum Begun {
    /// It has its place among those that wait.
    Waits(Answered),
    /// Its rows are not written yet.
    Large(Box<Batch>),
}

/// What became of each batch of a commit.
type Answers = Vec<Result<Committed, WarehouseError>>;

impl Appender {
    /// Commits the batch, in one snapshot with others that wait; when this returns, it is on disk and visible. A key that was committed before changes nothing.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED when the key came with other content.
    pub(crate) async fn commit(self: &Arc<Self>, batch: Batch) -> Result<Committed, WarehouseError> {
        self.end_commit(self.begin_commit(batch)).await
    }

    /// The first half of [`Appender::commit`]: of two batches that change the same rows, the one that is begun first is committed first.
    pub(crate) fn begin_commit(self: &Arc<Self>, batch: Batch) -> Begun {
        if batch.is_large() {
            return Begun::Large(Box::new(batch));
        }
        Begun::Waits(self.wait_for_turn(batch))
    }

    /// Whoever has the turn takes all that wait with it. In a task of its own: those who wait may go away, and their batches are not theirs alone.
    fn wait_for_turn(self: &Arc<Self>, batch: Batch) -> Answered {
        let (answered, appender) = (self.waiting.add(batch), self.clone());
        tokio::spawn(async move { appender.commit_waiting().await });
        answered
    }

    pub(crate) async fn end_commit(self: &Arc<Self>, begun: Begun) -> Result<Committed, WarehouseError> {
        match begun {
            Begun::Waits(answered) => answer_of(answered).await,
            Begun::Large(batch) => self.prepare(*batch).await?.commit().await,
        }
    }

    /// Writes the rows of a batch that only adds, so that several batches write at once and only their commits wait for each other.
    pub(crate) async fn prepare(self: &Arc<Self>, batch: Batch) -> Result<Prepared<'_>, WarehouseError> {
        let table = TableName::dataset(&batch.dataset.name);
        // The first rows make their table, which two may not do at once.
        let is_ahead = batch.is_large() && self.lake.is_there(&table) && self.known(&batch.key).await?.is_none();
        let Some(rows) = batch.change.rows().filter(|_| is_ahead) else {
            return Ok(Prepared { appender: self, batch, written: None });
        };
        let (schema, now, mut staged) = (batch.dataset.table_schema(), self.clock.now_micros(), self.lake.stage().await?);
        staged.append(&table, &schema, &[with_hidden(&schema, rows, &batch, now)?]).await?;
        Ok(Prepared { appender: self, batch, written: Some((staged, now)) })
    }

    async fn known(&self, key: &str) -> Result<Option<Known>, WarehouseError> {
        let held = self.keys.lock().unwrap_or_else(PoisonError::into_inner).look_up(key);
        match held {
            Some(known) => Ok(known),
            None => keys::look_up_in_table(&self.lake, key).await,
        }
    }

    async fn commit_in_turn(self: &Arc<Self>, batch: Batch) -> Result<Committed, WarehouseError> {
        answer_of(self.wait_for_turn(batch)).await
    }

    /// Waits for the turn, commits what waits then as far as one commit can hold it, and answers those who wait for it. Of a commit of several that failed each is
    /// tried alone, by this turn and the next ones.
    async fn commit_waiting(&self) {
        // Of batches that were put back one may have had its turn meanwhile, which found nothing: whoever puts back sees to as many.
        let mut owed = 1_usize;
        while owed > 0 {
            let turn = self.lake.begin().await;
            let taken = self.waiting.take();
            let batches: Vec<&Batch> = taken.iter().map(|waiting| &waiting.batch).collect();
            let committed = match turn {
                _ if batches.is_empty() => return,
                Ok(transaction) => self.commit_together(transaction, &batches, None).await,
                Err(refused) => Err(refused),
            };
            match committed {
                Ok(committed) => {
                    owed = owed.saturating_sub(taken.len());
                    taken.into_iter().zip(committed).for_each(|(waiting, committed)| waiting.answer(committed));
                }
                Err(error) if taken.len() > 1 => {
                    tracing::warn!(%error, batches = taken.len(), "a commit of several batches failed: each is tried alone");
                    owed = owed.max(taken.len());
                    self.waiting.put_back(taken);
                }
                Err(error) => {
                    owed -= 1;
                    if let Some(waiting) = taken.into_iter().next() {
                        waiting.answer(Err(error));
                    }
                }
            }
        }
    }

    /// Makes one snapshot of the batches, unless their keys were committed before. `written_at` when the transaction has the rows of the one batch already.
    async fn commit_together(&self, transaction: LakeTransaction<'_>, batches: &[&Batch], written_at: Option<i64>) -> Result<Answers, WarehouseError> {
        let now = written_at.unwrap_or_else(|| self.clock.now_micros());
        let (mut new, mut answers) = (Vec::new(), Vec::new());
        for batch in batches {
            match self.known(&batch.key).await? {
                Some(known) => answers.push(Some(repeated(batch, known, now))),
                None => {
                    new.push(*batch);
                    answers.push(None);
                }
            }
        }
        let mut committed = self.commit_new(transaction, &new, written_at.is_some(), now).await?.into_iter().map(Ok);
        Ok(answers.into_iter().filter_map(|answer| answer.or_else(|| committed.next())).collect())
    }

    /// The same of batches whose keys are new.
    async fn commit_new(&self, mut transaction: LakeTransaction<'_>, batches: &[&Batch], is_written: bool, now: i64) -> Result<Vec<Committed>, WarehouseError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let counts = stage(&self.lake, &mut transaction, batches, is_written, now).await?;
        let landed = transaction.commit(|snapshot_id| batches.iter().for_each(|batch| self.partial_files.note(batch, snapshot_id))).await?;
        let snapshot_id = landed.snapshot_id;
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        for (batch, counts) in batches.iter().zip(&counts) {
            keys.insert(batch.key.clone(), Known { digest: batch.digest.clone(), rows: counts.rows, snapshot_id });
        }
        drop(keys);
        // Only now may the next commit look the keys up.
        drop(landed);
        let committed = |Counts { rows, unchanged, removed, .. }| Committed { snapshot_id, rows, unchanged, removed, repeated: false, committed_at: now };
        Ok(counts.into_iter().map(committed).collect())
    }
}

impl Prepared<'_> {
    /// Commits in its turn.
    ///
    /// # Errors
    /// IDEMPOTENCY_KEY_REUSED when the key came with other content.
    pub(crate) async fn commit(self) -> Result<Committed, WarehouseError> {
        let Prepared { appender, batch, written } = self;
        if let Some((staged, now)) = written {
            let transaction = staged.begin().await?;
            // A column may have come to the table since; a file without it would take it away again.
            if transaction.is_whole(&TableName::dataset(&batch.dataset.name), &batch.dataset.table_schema()) {
                return appender.commit_together(transaction, &[&batch], Some(now)).await.and_then(only);
            }
        }
        appender.commit_in_turn(batch).await
    }
}

async fn answer_of(answered: Answered) -> Result<Committed, WarehouseError> {
    answered.await.unwrap_or_else(|_| Err(WarehouseError::broken("the commit that took this batch ended without an answer")))
}

/// The answer of a commit of one batch.
fn only(mut answers: Answers) -> Result<Committed, WarehouseError> {
    answers.pop().unwrap_or_else(|| Err(WarehouseError::broken("a commit that answers nothing")))
}

fn repeated(batch: &Batch, known: Known, now: i64) -> Result<Committed, WarehouseError> {
    if known.digest == batch.digest {
        return Ok(Committed { snapshot_id: known.snapshot_id, rows: known.rows, unchanged: 0, removed: 0, repeated: true, committed_at: now });
    }
    // The key as its caller sent it: what stands before it says whose it is.
    let key = batch.key.rsplit('/').next().unwrap_or(&batch.key).to_owned();
    Err(WarehouseError::IdempotencyKeyReused { key })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use arrow_array::{Int64Array, RecordBatch, StringArray, cast::AsArray, types::Int64Type};
    use futures::future::join_all;
    use kernel_base::Clock;
    use tempfile::TempDir;

    use super::*;
    use crate::{
        append::{Change, Settled, Source, incoming::declared_schema},
        contract::DatasetContract,
        lake::Lake,
    };

    const CITY: &str = "440600";

    fn contract(name: &str, mode: &str) -> Arc<DatasetContract> {
        contract_with(name, mode, "")
    }

    fn contract_with(name: &str, mode: &str, more: &str) -> Arc<DatasetContract> {
        let revision = if mode == "latest" { "  - {name: revision, type: integer, nullable: false, class: internal, meaning: m}\n" } else { "" };
        let columns = "  - {name: city, type: text, nullable: false, class: public, meaning: m}
  - {name: id, type: text, nullable: false, class: internal, meaning: m}
  - {name: number, type: integer, nullable: false, class: internal, meaning: m}
";
        let head = format!("name: {name}\npurpose: p\nowner: o\nmode: {mode}\nvisibility: city\nkey: [id]\ncolumns:\n");
        Arc::new(DatasetContract::read("test.yaml", &format!("{head}{columns}{revision}{more}")).unwrap())
    }

    /// Rows with one id and these numbers.
    fn batch(dataset: &Arc<DatasetContract>, key: &str, id: &str, numbers: &[i64]) -> Batch {
        let schema = declared_schema(dataset);
        let rows = numbers.len();
        let mut columns: Vec<arrow_array::ArrayRef> =
            vec![Arc::new(StringArray::from(vec![CITY; rows])), Arc::new(StringArray::from(vec![id; rows])), Arc::new(Int64Array::from(numbers.to_vec()))];
        if schema.fields().len() == 4 {
            // The revision, or a column of a later contract.
            columns.push(Arc::new(Int64Array::from(numbers.to_vec())));
        }
        Batch {
            key: key.to_owned(),
            digest: format!("{id} {numbers:?}"),
            source: Source::Append,
            principal: "test".to_owned(),
            dataset: dataset.clone(),
            city: CITY.parse().unwrap(),
            feed: None,
            file: None,
            change: Change::Add {
                rows: RecordBatch::try_new(schema, columns).unwrap(),
                duplicates: 0,
                aside: None,
                restates: None,
                settled: Settled::default(),
            },
            quarantined: Vec::new(),
            resolved: Vec::new(),
            newest_at: None,
        }
    }

    async fn open(dir: &TempDir) -> Arc<Appender> {
        Arc::new(Appender::open(Arc::new(Lake::open(dir.path()).await.unwrap()), Clock::set_to(0)).await.unwrap())
    }

    /// Has the batches wait in this order while another commit has the turn.
    async fn all_at_once(appender: &Arc<Appender>, batches: Vec<Batch>) -> Vec<Result<Committed, WarehouseError>> {
        let turn = appender.lake.begin().await.unwrap();
        let begun: Vec<Begun> = batches.into_iter().map(|batch| appender.begin_commit(batch)).collect();
        drop(turn);
        join_all(begun.into_iter().map(|begun| appender.end_commit(begun))).await
    }

    async fn numbers(appender: &Appender, dataset: &str, column: &str) -> Vec<i64> {
        let table = TableName::dataset(dataset);
        let batches = appender.lake.rows(appender.lake.newest(), &table, None, &[column]).await.unwrap();
        let mut numbers: Vec<i64> = batches.iter().flat_map(|batch| batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec()).collect();
        numbers.sort_unstable();
        numbers
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn batches_that_wait_become_one_snapshot_unless_they_touch_the_same_rows() {
        let dir = TempDir::new().unwrap();
        let appender = open(&dir).await;
        let (visit, phone) = (contract("visit", "append"), contract("phone", "latest"));
        let before = appender.lake.newest();
        let batches = vec![
            batch(&visit, "a", "v", &[1, 2]),
            batch(&visit, "b", "v", &[3]),
            batch(&phone, "c", "p", &[10]),
            batch(&visit, "a", "v", &[1, 2]),
            batch(&phone, "d", "p", &[11]),
            batch(&contract("call", "append"), "e", "c", &[4]),
        ];
        let committed: Vec<Committed> = all_at_once(&appender, batches).await.into_iter().map(Result::unwrap).collect();
        let first = committed[0].snapshot_id;
        assert_eq!(committed.iter().map(|committed| committed.snapshot_id - first).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 0]);
        assert_eq!(committed.iter().map(|committed| committed.repeated).collect::<Vec<_>>(), [false, false, false, true, false, false]);
        assert_eq!(committed.iter().map(|committed| committed.rows).collect::<Vec<_>>(), [2, 1, 1, 2, 1, 1]);
        assert!(first > before);
        assert_eq!(numbers(&appender, "visit", "number").await, [1, 2, 3]);
        assert_eq!((numbers(&appender, "phone", "number").await, numbers(&appender, "phone", "revision").await), (vec![11], vec![2]));

        // The keys and what they came to are read again at a start.
        drop(appender);
        let appender = open(&dir).await;
        let again = appender.commit(batch(&visit, "b", "v", &[3])).await.unwrap();
        assert_eq!((again.snapshot_id, again.repeated), (first, true));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_of_an_earlier_contract_leave_the_columns_of_a_later_one_as_they_are() {
        let dir = TempDir::new().unwrap();
        let appender = open(&dir).await;
        let old = contract("visit", "append");
        let new = contract_with("visit", "append", "  - {name: note, type: integer, nullable: true, class: internal, meaning: m}\n");
        appender.commit(batch(&old, "first", "v", &[1])).await.unwrap();
        let large = batch(&old, "large", "v", &vec![7; 20_000]);
        let prepared = appender.prepare(large).await.unwrap();
        assert!(prepared.written.is_some());
        appender.lake.reconcile(&new.tables()).await.unwrap();
        let batches = vec![batch(&old, "a", "v", &[2]), batch(&new, "b", "v", &[3]), batch(&old, "c", "v", &[4])];
        assert!(all_at_once(&appender, batches).await.iter().all(Result::is_ok));
        appender.commit(batch(&old, "d", "v", &[5])).await.unwrap();
        prepared.commit().await.unwrap();
        appender.commit(batch(&new, "e", "v", &[6])).await.unwrap();
        let rows = appender.lake.rows(appender.lake.newest(), &TableName::dataset("visit"), None, &["number", "note"]).await.unwrap();
        let notes: Vec<i64> = rows.iter().flat_map(|rows| rows.column(1).as_primitive::<Int64Type>().iter().flatten().collect::<Vec<_>>()).collect();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_006);
        assert_eq!(notes.iter().sum::<i64>(), 9, "those of the rows that had them: {notes:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn updates_of_one_row_that_wait_together_follow_each_other() {
        let dir = TempDir::new().unwrap();
        let appender = open(&dir).await;
        let phone = contract("phone", "latest");
        let batches = (0..12).map(|number| batch(&phone, &format!("k{number}"), "p", &[number])).collect();
        let committed = all_at_once(&appender, batches).await;
        let snapshots: Vec<i64> = committed.into_iter().map(|committed| committed.unwrap().snapshot_id).collect();
        assert!(snapshots.is_sorted_by(|a, b| a < b), "{snapshots:?}");
        assert_eq!((numbers(&appender, "phone", "number").await, numbers(&appender, "phone", "revision").await), (vec![11], vec![12]));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_that_fails_takes_no_other_with_it() {
        let dir = TempDir::new().unwrap();
        let appender = open(&dir).await;
        let visit = contract("visit", "append");
        appender.commit(batch(&visit, "first", "v", &[0])).await.unwrap();
        let mut broken = batch(&visit, "broken", "v", &[9]);
        if let Change::Add { rows, .. } = &mut broken.change {
            *rows = rows.project(&[0]).unwrap();
        }
        let phone = contract("phone", "latest");
        let mut batches = vec![batch(&visit, "a", "v", &[1]), broken, batch(&visit, "first", "v", &[5]), batch(&visit, "b", "v", &[2])];
        batches.extend((0..6).map(|number| batch(&phone, &format!("p{number}"), "p", &[number])));
        let committed = all_at_once(&appender, batches).await;
        assert!(matches!(&committed[1], Err(WarehouseError::Broken { .. })), "{:?}", committed[1]);
        assert!(matches!(&committed[2], Err(WarehouseError::IdempotencyKeyReused { key }) if key == "first"), "{:?}", committed[2]);
        assert!(committed[0].is_ok() && committed[3].is_ok(), "{committed:?}");
        assert_eq!(numbers(&appender, "visit", "number").await, [0, 1, 2]);
        assert_eq!((numbers(&appender, "phone", "number").await, numbers(&appender, "phone", "revision").await), (vec![5], vec![6]), "none overtakes another");
        assert!(appender.waiting.take().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_holds_so_many_batches_rows_and_bytes_and_one_batch_of_any_size() {
        let dir = TempDir::new().unwrap();
        let appender = open(&dir).await;
        let visit = contract("visit", "append");
        let taken = |batches: &mut dyn Iterator<Item = Batch>| {
            let _answers: Vec<_> = batches.map(|batch| appender.waiting.add(batch)).collect();
            let mut taken = Vec::new();
            while let Some(count) = Some(appender.waiting.take().len()).filter(|count| *count > 0) {
                taken.push(count);
            }
            taken
        };
        assert_eq!(taken(&mut (0..150).map(|key| batch(&visit, &key.to_string(), "v", &[key]))), [64, 64, 22]);
        let many = |key: i64, rows: usize| batch(&visit, &key.to_string(), "v", &vec![key; rows]);
        let wide = |key: i64| batch(&visit, &key.to_string(), &"x".repeat(6 << 20), &[key]);
        assert_eq!(taken(&mut (0..5).map(wide)), [2, 2, 1]);
        assert_eq!(taken(&mut [many(0, 20_000), many(1, 20_000), many(2, 20_000), many(3, 60_000), many(4, 1)].into_iter()), [2, 1, 1, 1]);
    }
}
