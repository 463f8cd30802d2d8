use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, cast::AsArray};
use arrow_cast::cast;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::filter::filter_record_batch;
use datafusion::{
    common::tree_node::TreeNodeRecursion,
    error::{DataFusionError, Result},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, PhysicalExpr},
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, ReplaceChildrenOptions,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use super::mask::masked;
use crate::contract::Mask;

/// Checks every row against the policy again, masks, and keeps out of sight what lies below: no filter, limit or order of a query passes through it, and
/// it tells neither statistics nor counts. What the optimizer does not know it cannot push down: all defaults of [`ExecutionPlan`] refuse.
#[derive(Debug)]
pub(super) struct PolicyExec {
    input: Arc<dyn ExecutionPlan>,
    rule: Arc<Rule>,
    /// As far as known, for who lays the plan out; no query sees it.
    rows_to_read: Option<usize>,
    properties: Arc<PlanProperties>,
}

/// What is done to each batch.
#[derive(Debug)]
pub(super) struct Rule {
    /// The input's column of the city and the cities that pass.
    pub(super) cities: Option<(usize, BTreeSet<String>)>,
    /// For each column of the output the input's column and the mask.
    pub(super) columns: Vec<(usize, Option<Mask>)>,
    pub(super) schema: SchemaRef,
}

impl PolicyExec {
    pub(super) fn new(input: Arc<dyn ExecutionPlan>, rule: Arc<Rule>, rows_to_read: Option<usize>) -> PolicyExec {
        let below = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(rule.schema.clone()),
            Partitioning::UnknownPartitioning(below.partitioning.partition_count()),
            below.emission_type,
            below.boundedness,
        );
        PolicyExec { input, rule, rows_to_read, properties: Arc::new(properties) }
    }

    pub(super) fn rows_to_read(&self) -> Option<usize> {
        self.rows_to_read
    }
}

impl Rule {
    fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let seen = match &self.cities {
            None => batch.clone(),
            Some((column, cities)) => filter_record_batch(batch, &passes(batch.column(*column), cities)?)?,
        };
        let columns = self.columns.iter().zip(self.schema.fields()).map(|((index, mask), field)| {
            let column = cast(seen.column(*index), field.data_type())?;
            Ok(mask.map_or(column.clone(), |mask| masked(mask, &column)))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(seen.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<Result<_>>()?, &options)?)
    }
}

/// Which rows are of the cities. A row without a city belongs to nobody.
fn passes(codes: &ArrayRef, cities: &BTreeSet<String>) -> Result<BooleanArray> {
    let passes = |code: Option<&str>| Some(code.is_some_and(|code| cities.contains(code)));
    if let Some(codes) = codes.as_string_view_opt() {
        return Ok(codes.iter().map(passes).collect());
    }
    Ok(cast(codes, &DataType::Utf8)?.as_string::<i32>().iter().map(passes).collect())
}

impl DisplayAs for PolicyExec {
    /// Says that there is a policy, not which.
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PolicyExec")
    }
}

impl ExecutionPlan for PolicyExec {
    fn name(&self) -> &str {
        "PolicyExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>, _: ReplaceChildrenOptions) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(PolicyExec::new(input, self.rule.clone(), self.rows_to_read))),
            _ => Err(DataFusionError::Internal("PolicyExec has one child".to_owned())),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rule = self.rule.clone();
        let batches = self.input.execute(partition, context)?.map(move |batch| rule.apply(&batch?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.rule.schema.clone(), batches)))
    }
}
