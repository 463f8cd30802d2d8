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
        let mut taken = Taken::default();
        let Some(file) = self.slices.file(&uploaded.key()?, uploaded.slice()?) else {
            return Ok(taken);
        };
        // An import that ended is another one, and so is that of another day without a record.
        let of_slice = match file.slice.period {
            Some(period) => col("period").eq(lit(period.to_string())),
            None => col("period").is_null(),
        };
        let of_import = col("snapshot_id").gt_eq(lit(file.first_snapshot_id)).and(of_slice).and(col("part").eq(lit(i64::from(file.slice.part))));
        let condition = of_file(uploaded).and(col("source").eq(lit("file"))).and(of_import);
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
        let endings_before = file.endings - u64::from(!file.is_live);
        for batch in lake.rows(lake.newest(), &TableName::kernel(tables::QUARANTINE), Some(of_file(uploaded)), &["reason", "quarantine_id"]).await? {
            let (reasons, ids) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            for row in (0..batch.num_rows()).filter(|row| is_of_import(ids.value(*row), endings_before)) {
                *taken.reasons.entry(reasons.value(row).to_owned()).or_default() += 1;
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

/// Whether a quarantined row is of the import after so many others of its file ended: its id says so after digest, city and line.
fn is_of_import(quarantine_id: &str, endings: u64) -> bool {
    let after = quarantine_id.split('-').nth(3).map_or(Some(0), |endings| endings.parse().ok());
    after == Some(endings)
}

fn of_file(uploaded: &Uploaded) -> Expr {
    let is = |column: &str, value: &str| col(column).eq(lit(value));
    is("feed", &uploaded.feed).and(is("city", &uploaded.city)).and(is("file_sha256", &uploaded.sha256))
}
