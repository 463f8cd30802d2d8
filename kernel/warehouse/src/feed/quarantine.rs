use std::collections::HashSet;

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Int64Type, TimestampMicrosecondType},
};
use arrow_schema::DataType;
use backplane_proto::ingest::v1::{ListQuarantineRequest, ListQuarantineResponse, QuarantinedRow};
use datafusion::{
    common::JoinType,
    error::DataFusionError,
    functions::{core::expr_fn::coalesce, string::expr_fn::octet_length},
    logical_expr::{Expr, cast},
    prelude::{DataFrame, col, lit},
};
use kernel_base::{CallContext, Page, Scope};

use super::{Importer, row::Bad, slices::FileKey};
use crate::{
    append::tables,
    error::WarehouseError,
    lake::{TableName, plain_text},
};

/// The permission to see quarantined rows with their raw text.
pub(super) const PERMISSION: &str = "ingest.quarantine";

// Limit: raw text of one page, a quarter of what a client of gRPC takes by default: rows have up to 64 KiB each.
const PAGE_TEXT_BYTES_MAX: usize = 1 << 20;

const COLUMNS: [&str; 12] =
    ["quarantine_id", "feed", "city", "file_name", "file_sha256", "line", "column_name", "reason", "message", "raw_text", "header", "quarantined_at"];

/// A quarantined row as it is kept.
pub(super) struct Kept {
    pub(super) row: QuarantinedRow,
    pub(super) file_sha256: String,
    pub(super) header: Option<String>,
    quarantined_at: i64,
}

impl Kept {
    /// Where the row stands in the order of rows.
    pub(super) fn place(&self) -> (i64, String) {
        (self.quarantined_at, self.row.quarantine_id.clone())
    }
}

/// Which rows are meant.
#[derive(Clone)]
pub(super) struct Selection {
    pub(super) feed: String,
    pub(super) scope: Scope,
    pub(super) file_sha256: Option<String>,
    pub(super) ids: Option<Vec<String>>,
    /// Only rows with this reason.
    pub(super) reason: Option<&'static str>,
    pub(super) after: Option<(i64, String)>,
    pub(super) include_replayed: bool,
    pub(super) rows_max: usize,
}

/// Pages through the quarantined rows in the caller's scope, oldest first.
pub(crate) async fn list(importer: &Importer, context: &CallContext, request: ListQuarantineRequest) -> Result<ListQuarantineResponse, WarehouseError> {
    let page = Page::read(request.page_size, &request.page_token)?;
    let feed = importer.contracts.feeds().get(&request.feed)?.clone();
    let selection = Selection {
        feed: feed.name.clone(),
        scope: context.rights.scope_of(PERMISSION, None),
        file_sha256: Some(request.file_sha256).filter(|sha256| !sha256.is_empty()),
        ids: None,
        reason: None,
        after: page.after.as_deref().map(position).transpose()?,
        include_replayed: request.include_replayed,
        rows_max: page.size,
    };
    let fitting = importer.first_of(&selection, PAGE_TEXT_BYTES_MAX).await?;
    let page = Page { size: fitting.rows.max(1), ..page };
    // One more tells whether there is another page.
    let mut kept = importer.quarantined(&Selection { rows_max: page.size + 1, ..selection }).await?;
    let next_page_token = page.finish(&mut kept, |kept| format!("{}/{}", kept.quarantined_at, kept.row.quarantine_id));
    Ok(ListQuarantineResponse { rows: kept.into_iter().map(|kept| kept.row).collect(), next_page_token })
}

/// The first of selected rows whose text may be held at one time.
pub(super) struct FirstRows {
    pub(super) rows: usize,
    /// Whether these are all that are selected.
    pub(super) is_all: bool,
}

/// The place in the order of rows that a page's token names.
fn position(token: &str) -> Result<(i64, String), WarehouseError> {
    let read = token.split_once('/').and_then(|(at, id)| Some((at.parse().ok()?, id.to_owned())));
    read.ok_or_else(|| kernel_base::PageTokenInvalid.into())
}

impl Importer {
    /// How many of the selected rows, oldest first, have no more than `bytes_max` of text together; of rows that are larger, one.
    pub(super) async fn first_of(&self, selection: &Selection, bytes_max: usize) -> Result<FirstRows, WarehouseError> {
        let bytes = octet_length(col("raw_text")) + octet_length(coalesce(vec![col("header"), lit("")]));
        let bytes = cast(bytes, DataType::Int64).alias("bytes");
        let batches = self.select_quarantined(self.appender.lake().newest(), selection, vec![bytes]).await?;
        let lengths = || batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
        let mut left = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        let fits = lengths().take_while(|length| {
            left = left.saturating_sub(*length);
            left >= 0
        });
        let (rows, all) = (fits.count().max(1), lengths().count());
        Ok(FirstRows { rows: rows.min(all), is_all: rows >= all })
    }

    /// The selected rows, oldest first.
    pub(super) async fn quarantined(&self, selection: &Selection) -> Result<Vec<Kept>, WarehouseError> {
        let snapshot = self.appender.lake().newest();
        let batches = self.select_quarantined(snapshot, selection, COLUMNS.map(col).to_vec()).await?;
        let replayed = if selection.include_replayed { self.replayed_ids(snapshot, &selection.feed).await? } else { HashSet::new() };
        Ok(batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| kept(batch, row, &replayed)).collect::<Vec<_>>()).collect())
    }

    /// The ids of the selected rows.
    pub(super) async fn quarantined_ids(&self, selection: &Selection) -> Result<HashSet<String>, WarehouseError> {
        Ok(first_texts(&self.select_quarantined(self.appender.lake().newest(), selection, vec![col("quarantine_id")]).await?))
    }

    async fn select_quarantined(&self, snapshot: i64, selection: &Selection, columns: Vec<Expr>) -> Result<Vec<RecordBatch>, WarehouseError> {
        let Some(rows) = self.appender.lake().frame(snapshot, &TableName::kernel(tables::QUARANTINE)).await? else {
            return Ok(Vec::new());
        };
        let resolved = self.resolved(snapshot).await?;
        read(async { select(rows, resolved, selection, columns)?.collect().await }).await
    }

    async fn replayed_ids(&self, snapshot: i64, feed: &str) -> Result<HashSet<String>, WarehouseError> {
        let resolved = self.resolved(snapshot).await?;
        let ids = read(async { resolved.filter(col("feed").eq(lit(feed)))?.select_columns(&["quarantine_id"])?.collect().await }).await?;
        Ok(first_texts(&ids))
    }
}

async fn read(reading: impl Future<Output = Result<Vec<RecordBatch>, DataFusionError>>) -> Result<Vec<RecordBatch>, WarehouseError> {
    plain(reading.await.map_err(|source| WarehouseError::Storage { doing: "reading the quarantine", source: Box::new(source) })?)
}

fn first_texts(batches: &[RecordBatch]) -> HashSet<String> {
    batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn plain(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, WarehouseError> {
    batches.into_iter().map(plain_text).collect()
}

/// Leaves out the rows that were replayed, or whose file counts no more.
fn unresolved(rows: DataFrame, resolved: DataFrame) -> Result<DataFrame, DataFusionError> {
    let resolved = resolved.select(vec![col("quarantine_id").alias("resolved_id")])?;
    rows.join(resolved, JoinType::LeftAnti, &["quarantine_id"], &["resolved_id"], None)
}

/// Columns of the selected rows, in their order. They are made before the sort, which then holds no text that nobody asked for.
fn select(rows: DataFrame, resolved: DataFrame, selection: &Selection, columns: Vec<Expr>) -> Result<DataFrame, DataFusionError> {
    let waiting = if selection.include_replayed { rows } else { unresolved(rows, resolved)? };
    let order = [col("quarantined_at").alias("order_at"), col("quarantine_id").alias("order_id")];
    let names: Vec<String> = columns.iter().map(|column| column.schema_name().to_string()).collect();
    waiting
        .filter(condition(selection))?
        .select(columns.into_iter().chain(order).collect::<Vec<_>>())?
        .sort(vec![col("order_at").sort(true, false), col("order_id").sort(true, false)])?
        .limit(0, Some(selection.rows_max))?
        .select_columns(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

impl Importer {
    /// The values of one column of the rows that wait, of a feed or one file of it.
    pub(super) async fn waiting(&self, feed: &str, file: Option<&FileKey>, column: &str) -> Result<Vec<String>, WarehouseError> {
        let mut condition = col("feed").eq(lit(feed));
        if let Some(file) = file {
            condition = condition.and(col("file_sha256").eq(lit(file.sha256.as_str()))).and(col("city").eq(lit(file.city.to_string())));
        }
        let batches = self.waiting_columns(condition, &[column]).await?;
        Ok(batches.iter().flat_map(|batch| batch.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()).collect())
    }

    /// City and file digest of each row of a feed that waits for its number.
    pub(super) async fn waiting_for_numbers(&self, feed: &str) -> Result<Vec<(String, String)>, WarehouseError> {
        let condition = col("feed").eq(lit(feed)).and(col("reason").eq(lit(Bad::NUMBER_UNKNOWN)));
        let batches = self.waiting_columns(condition, &["city", "file_sha256"]).await?;
        let rows = batches.iter().flat_map(|batch| {
            let (cities, digests) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            (0..batch.num_rows()).map(|row| (cities.value(row).to_owned(), digests.value(row).to_owned())).collect::<Vec<_>>()
        });
        Ok(rows.collect())
    }

    /// The feeds that have such rows.
    pub(super) async fn feeds_that_wait_for_numbers(&self) -> Result<HashSet<String>, WarehouseError> {
        let Some((rows, resolved)) = self.quarantine_and_resolved().await? else {
            return Ok(HashSet::new());
        };
        let waiting = col("reason").eq(lit(Bad::NUMBER_UNKNOWN));
        let feeds = read(async { unresolved(rows.filter(waiting)?, resolved)?.select_columns(&["feed"])?.distinct()?.collect().await });
        Ok(first_texts(&feeds.await?))
    }

    async fn waiting_columns(&self, condition: Expr, columns: &[&str]) -> Result<Vec<RecordBatch>, WarehouseError> {
        let Some((rows, resolved)) = self.quarantine_and_resolved().await? else {
            return Ok(Vec::new());
        };
        read(async { unresolved(rows.filter(condition)?, resolved)?.select_columns(columns)?.collect().await }).await
    }

    /// What went to quarantine, if anything ever did, and what waits no more of it.
    async fn quarantine_and_resolved(&self) -> Result<Option<(DataFrame, DataFrame)>, WarehouseError> {
        let lake = self.appender.lake();
        let snapshot = lake.newest();
        match lake.frame(snapshot, &TableName::kernel(tables::QUARANTINE)).await? {
            Some(rows) => Ok(Some((rows, self.resolved(snapshot).await?))),
            None => Ok(None),
        }
    }

    /// The rows that wait no more, none before the first.
    async fn resolved(&self, snapshot: i64) -> Result<DataFrame, WarehouseError> {
        let lake = self.appender.lake();
        match lake.frame(snapshot, &TableName::kernel(tables::RESOLUTION)).await? {
            Some(resolved) => Ok(resolved),
            None => lake.session().read_batch(RecordBatch::new_empty(tables::resolution())).map_err(WarehouseError::broken),
        }
    }

    /// The ids of a file's rows that wait.
    pub(super) async fn waiting_ids(&self, file: &FileKey) -> Result<Vec<String>, WarehouseError> {
        self.waiting(&file.feed, Some(file), "quarantine_id").await
    }
}

fn condition(selection: &Selection) -> Expr {
    let mut condition = col("feed").eq(lit(selection.feed.as_str()));
    if !selection.scope.is_province() {
        condition = condition.and(col("city").in_list(selection.scope.codes().into_iter().map(lit).collect(), false));
    }
    if let Some(sha256) = &selection.file_sha256 {
        condition = condition.and(col("file_sha256").eq(lit(sha256.as_str())));
    }
    if let Some(ids) = &selection.ids {
        condition = condition.and(col("quarantine_id").in_list(ids.iter().map(|id| lit(id.as_str())).collect(), false));
    }
    if let Some(reason) = selection.reason {
        condition = condition.and(col("reason").eq(lit(reason)));
    }
    if let Some((at, id)) = &selection.after {
        let at = lit(datafusion::common::ScalarValue::TimestampMicrosecond(Some(*at), Some("UTC".into())));
        let later = col("quarantined_at").gt(at.clone());
        condition = condition.and(later.or(col("quarantined_at").eq(at).and(col("quarantine_id").gt(lit(id.as_str())))));
    }
    condition
}

/// One row, its columns in the order of [`COLUMNS`].
fn kept(batch: &RecordBatch, row: usize, replayed: &HashSet<String>) -> Kept {
    let text = |column: usize| {
        let texts = batch.column(column).as_string::<i32>();
        (!texts.is_null(row)).then(|| texts.value(row).to_owned())
    };
    let quarantine_id = text(0).unwrap_or_default();
    Kept {
        file_sha256: text(4).unwrap_or_default(),
        header: text(10),
        quarantined_at: batch.column(11).as_primitive::<TimestampMicrosecondType>().value(row),
        row: QuarantinedRow {
            replayed: replayed.contains(quarantine_id.as_str()),
            quarantine_id,
            feed: text(1).unwrap_or_default(),
            city: text(2).unwrap_or_default(),
            file_name: text(3).unwrap_or_default(),
            line: batch.column(5).as_primitive::<Int64Type>().value(row),
            column: text(6).unwrap_or_default(),
            reason: text(7).unwrap_or_default(),
            message: text(8).unwrap_or_default(),
            raw_text: text(9).unwrap_or_default(),
        },
    }
}
