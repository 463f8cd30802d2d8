use std::sync::{Arc, LazyLock};

use datafusion::{
    catalog::Session,
    common::{DFSchema, config::ConfigOptions},
    datasource::{
        physical_plan::{ParquetSource, parquet::metadata::DFParquetMetadata},
        source::DataSourceExec,
    },
    error::Result,
    logical_expr::{BinaryExpr, Expr, Operator},
    parquet::file::metadata::PageIndexPolicy,
    physical_expr::conjunction,
    physical_optimizer::{PhysicalOptimizerRule, filter_pushdown::FilterPushdown},
    physical_plan::{
        ExecutionPlan,
        filter::FilterExec,
        statistics::{StatisticsArgs, StatisticsContext},
    },
};

use super::policy_exec::PolicyExec;

/// Conditions leave out groups of rows and pages by their statistics.
static BY_STATISTICS: LazyLock<ConfigOptions> = LazyLock::new(ConfigOptions::new);
/// And the columns that they name are read before the others, of which only the rows that pass are.
static BY_ROWS: LazyLock<ConfigOptions> = LazyLock::new(|| {
    let mut options = ConfigOptions::new();
    options.execution.parquet.pushdown_filters = true;
    options
});

/// Where conditions ask for certain values, their columns are read and little of the others: as much work as all columns of so many times fewer rows.
const TIMES_FEWER: usize = 16;

// Limit: files of a scan whose page indexes are held. A scan of more reads for longer than it looks them up, and would put out the footers of other tables.
const INDEXED_FILES_MAX: usize = 32;

/// The rows in the files that a plan reads, after those files were left out that its conditions exclude; `None` when that is not known.
pub(crate) fn rows_to_read(plan: &dyn ExecutionPlan) -> Result<Option<usize>> {
    if let Some(guard) = plan.downcast_ref::<PolicyExec>() {
        return Ok(guard.rows_to_read());
    }
    let children = plan.children();
    if children.is_empty() {
        let statistics = StatisticsContext::new().compute(plan, &StatisticsArgs::new())?;
        return Ok(statistics.num_rows.get_value().copied());
    }
    children.into_iter().try_fold(Some(0), |rows, child| Ok(rows.zip(rows_to_read(child.as_ref())?).map(|(rows, more)| rows + more)))
}

/// The rows that a plan that runs has read of its tables by now.
pub(crate) fn rows_read(plan: &dyn ExecutionPlan) -> usize {
    let guarded = plan.downcast_ref::<PolicyExec>().map(|guard| guard.children());
    match guarded.as_deref() {
        Some(tables) => tables.iter().filter_map(|table| table.metrics()?.output_rows()).sum(),
        None => plan.children().into_iter().map(|child| rows_read(child.as_ref())).sum(),
    }
}

/// A scan, and how many rows it reads as far as that is known.
pub(super) type Scan = (Arc<dyn ExecutionPlan>, Option<usize>);

/// The scan of files, which may leave out rows that do not fit conditions; whoever wants them left out checks again. The engine does this for a filter above a
/// scan, but lets nothing through the guard between them.
pub(super) async fn leave_out(state: &dyn Session, (scan, rows): Scan, conditions: &[Expr]) -> Result<Scan> {
    if conditions.is_empty() {
        return Ok((scan, rows));
    }
    let schema = DFSchema::try_from(scan.schema())?;
    // Those that few rows fit first: each is checked on what the ones before left.
    let (few, many): (Vec<&Expr>, Vec<&Expr>) = conditions.iter().partition(|condition| fits_few(condition));
    let (options, rows) = if few.is_empty() { (&BY_STATISTICS, rows) } else { (&BY_ROWS, rows.map(|rows| rows / TIMES_FEWER)) };
    if !few.is_empty() {
        hold_page_indexes(state, scan.as_ref()).await;
    }
    // One that cannot be checked here leaves nothing out.
    let conditions = few.into_iter().chain(many).filter_map(|condition| state.create_physical_expr(condition.clone(), &schema).ok());
    let filtered = FilterExec::try_new(conjunction(conditions), scan)?;
    let plan = FilterPushdown::new().optimize(Arc::new(filtered), options)?;
    let below = plan.downcast_ref::<FilterExec>().map(|filter| filter.input().clone());
    Ok((below.unwrap_or(plan), rows))
}

/// Has the page indexes of a scan's files in memory with their footers. Of the files that the engine opens it keeps footers alone, and reads and decodes the indexes of a
/// file anew with each scan that leaves out pages.
async fn hold_page_indexes(state: &dyn Session, scan: &dyn ExecutionPlan) {
    let (mut files, mut nodes) = (Vec::new(), vec![scan]);
    while let Some(node) = nodes.pop() {
        nodes.extend(node.children().into_iter().map(AsRef::as_ref));
        let parquet = node.downcast_ref::<DataSourceExec>().and_then(DataSourceExec::downcast_to_file_source::<ParquetSource>);
        files.extend(
            parquet.into_iter().flat_map(|(config, _)| config.file_groups.iter().flat_map(|group| group.iter().map(|file| (&config.object_store_url, file)))),
        );
    }
    if files.len() > INDEXED_FILES_MAX {
        return;
    }
    let environment = state.runtime_env();
    for (url, file) in files {
        let Ok(store) = environment.object_store(url) else {
            continue;
        };
        let metadata = DFParquetMetadata::new(store.as_ref(), &file.object_meta).with_page_index_policy(Some(PageIndexPolicy::Optional));
        // What cannot be read the scan will meet, and say.
        let _ = metadata.with_file_metadata_cache(Some(environment.cache_manager.get_file_metadata_cache())).fetch_metadata().await;
    }
}

/// Whether a condition asks for certain values of a column.
fn fits_few(condition: &Expr) -> bool {
    matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. })) || matches!(condition, Expr::InList(list) if !list.negated)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow_array::{Int64Array, RecordBatch};
    use datafusion::{
        parquet::arrow::ArrowWriter,
        prelude::{ParquetReadOptions, SessionContext, col, lit},
    };

    use super::*;

    /// Whether the page index of each file that the session knows is held.
    fn held(context: &SessionContext) -> Vec<bool> {
        let entries = context.runtime_env().cache_manager.get_file_metadata_cache().list_entries();
        entries.values().map(|entry| entry.value.file_metadata.extra_info()["page_index"] == "true").collect()
    }

    #[tokio::test]
    async fn a_scan_for_certain_values_has_the_page_indexes_of_its_files_held() {
        let folder = tempfile::tempdir().unwrap();
        let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from_iter_values(0..10)) as _)]).unwrap();
        for number in 0..=INDEXED_FILES_MAX {
            let file = std::fs::File::create(folder.path().join(format!("{number}.parquet"))).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        }
        let context = SessionContext::new();
        let scan = async |files: usize| {
            let paths: Vec<String> = (0..files).map(|number| folder.path().join(format!("{number}.parquet")).display().to_string()).collect();
            let table = context.read_parquet(paths, ParquetReadOptions::default()).await.unwrap();
            (table.create_physical_plan().await.unwrap(), None)
        };
        let of_all = scan(INDEXED_FILES_MAX + 1).await;
        let state = context.state();
        context.runtime_env().cache_manager.get_file_metadata_cache().clear();
        leave_out(&state, of_all, &[col("id").eq(lit(5_i64))]).await.unwrap();
        assert!(held(&context).is_empty(), "of a scan of many files none");
        let of_two = scan(2).await;
        context.runtime_env().cache_manager.get_file_metadata_cache().clear();
        leave_out(&state, of_two.clone(), &[col("id").gt(lit(5_i64))]).await.unwrap();
        assert!(held(&context).is_empty(), "no certain value");
        leave_out(&state, of_two, &[col("id").eq(lit(5_i64))]).await.unwrap();
        assert_eq!(held(&context), [true, true]);
    }
}
