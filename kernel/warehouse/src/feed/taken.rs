use std::collections::BTreeMap;

use arrow_array::{cast::AsArray, types::Int64Type};
use backplane_proto::ingest::v1::{ImportResult, ReasonCount};
use datafusion::{
    logical_expr::Expr,
    prelude::{col, lit},
};

use super::{
    import::{Importer, signed},
    inbox::Uploaded,
};
use crate::{append::tables, error::WarehouseError, lake::TableName};

/// What the batch records say of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken {
    /// Lines up to here are committed.
    pub(super) covered: u64,
    pub(super) rows: i64,
    pub(super) quarantined: i64,
    pub(super) unchanged: i64,
    pub(super) duplicates: i64,
    pub(super) removed: i64,
    pub(super) snapshot_id: i64,
    /// Quarantined rows by their reason.
    pub(super) reasons: BTreeMap<String, i64>,
}

impl Importer {
    /// Reads the batch records of a file.
    pub(super) async fn taken(&self, uploaded: &Uploaded) -> Result<Taken, WarehouseError> {
        let columns = ["last_line", "rows", "quarantined", "unchanged", "snapshot_id", "duplicates", "removed"];
        let lake = self.appender.lake();
        // An import before the file was taken back is another one.
        let since = self.slices.file(&uploaded.key()?).map_or(0, |file| file.first_snapshot_id);
        let condition = of_file(uploaded).and(col("source").eq(lit("file"))).and(col("snapshot_id").gt_eq(lit(since)));
        let mut taken = Taken::default();
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::BATCH), Some(condition), &columns).await? {
            let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            for row in 0..batch.num_rows() {
                taken.covered = taken.covered.max(u64::try_from(number(0, row)).unwrap_or(0));
                taken.rows += number(1, row);
                taken.quarantined += number(2, row);
                taken.unchanged += number(3, row);
                taken.snapshot_id = taken.snapshot_id.max(number(4, row));
                taken.duplicates += number(5, row);
                taken.removed += number(6, row);
            }
        }
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::QUARANTINE), Some(of_file(uploaded)), &["reason"]).await? {
            for reason in batch.column(0).as_string::<i32>().iter().flatten() {
                *taken.reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
        Ok(taken)
    }

    /// The result of a file that was taken before, the same however often it is asked.
    pub(super) async fn result_again(&self, uploaded: &Uploaded) -> Result<ImportResult, WarehouseError> {
        Ok(self.taken(uploaded).await?.result(uploaded, true))
    }
}

impl Taken {
    pub(super) fn result(self, uploaded: &Uploaded, duplicate_file: bool) -> ImportResult {
        ImportResult {
            feed: uploaded.feed.clone(),
            city: uploaded.city.clone(),
            file_name: uploaded.file_name.clone(),
            sha256: uploaded.sha256.clone(),
            lines: signed(self.covered),
            rows_taken: self.rows,
            rows_quarantined: self.quarantined,
            rows_unchanged: self.unchanged,
            rows_duplicate: self.duplicates,
            rows_restated: self.removed,
            period: uploaded.period.clone().unwrap_or_default(),
            part: i64::from(uploaded.part),
            snapshot_id: self.snapshot_id,
            duplicate_file,
            quarantine_reasons: self.reasons.into_iter().map(|(reason, rows)| ReasonCount { reason, rows }).collect(),
        }
    }
}

fn of_file(uploaded: &Uploaded) -> Expr {
    let is = |column: &str, value: &str| col(column).eq(lit(value));
    is("feed", &uploaded.feed).and(is("city", &uploaded.city)).and(is("file_sha256", &uploaded.sha256))
}
