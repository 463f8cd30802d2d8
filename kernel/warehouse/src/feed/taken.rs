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
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    /// Lines up to here are committed.
    pub(super) covered: u64,
    /// Whether the last line is among them.
    pub(super) is_complete: bool,
    rows: i64,
    quarantined: i64,
    unchanged: i64,
    snapshot_id: i64,
}

impl Importer {
    pub(super) async fn taken(&self, uploaded: &Uploaded) -> Result<Taken, WarehouseError> {
        let columns = ["last_line", "rows", "quarantined", "unchanged", "snapshot_id", "is_last"];
        let lake = self.appender.lake();
        let condition = of_file(uploaded).and(col("source").eq(lit("file")));
        let mut taken = Taken::default();
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::BATCH), Some(condition), &columns).await? {
            let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
            for row in 0..batch.num_rows() {
                taken.covered = taken.covered.max(u64::try_from(number(0, row)).unwrap_or(0));
                taken.rows += number(1, row);
                taken.quarantined += number(2, row);
                taken.unchanged += number(3, row);
                taken.snapshot_id = taken.snapshot_id.max(number(4, row));
                taken.is_complete |= batch.column(5).as_boolean().value(row);
            }
        }
        Ok(taken)
    }

    /// The result of a file that was taken, the same however often it is asked.
    pub(super) async fn result(&self, uploaded: &Uploaded, duplicate_file: bool) -> Result<ImportResult, WarehouseError> {
        let taken = self.taken(uploaded).await?;
        let lake = self.appender.lake();
        let mut reasons: BTreeMap<String, i64> = BTreeMap::new();
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::QUARANTINE), Some(of_file(uploaded)), &["reason"]).await? {
            for reason in batch.column(0).as_string::<i32>().iter().flatten() {
                *reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
        Ok(ImportResult {
            feed: uploaded.feed.clone(),
            city: uploaded.city.clone(),
            file_name: uploaded.file_name.clone(),
            sha256: uploaded.sha256.clone(),
            lines: signed(taken.covered),
            rows_taken: taken.rows,
            rows_quarantined: taken.quarantined,
            rows_unchanged: taken.unchanged,
            snapshot_id: taken.snapshot_id,
            duplicate_file,
            quarantine_reasons: reasons.into_iter().map(|(reason, rows)| ReasonCount { reason, rows }).collect(),
        })
    }
}

fn of_file(uploaded: &Uploaded) -> Expr {
    let is = |column: &str, value: &str| col(column).eq(lit(value));
    is("feed", &uploaded.feed).and(is("city", &uploaded.city)).and(is("file_sha256", &uploaded.sha256))
}
