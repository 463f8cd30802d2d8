use std::sync::Arc;

use arrow_schema::{Field, Schema, SchemaRef};

use crate::{
    contract::ColumnType,
    lake::{Layout, TableName},
};

/// The record of every batch.
pub(crate) const BATCH: &str = "batch";
/// Rows that could not be read; they stay when they are replayed.
pub(crate) const QUARANTINE: &str = "quarantine";
/// Quarantined rows that were replayed.
pub(crate) const RESOLUTION: &str = "resolution";
/// Files that a feed stopped, with why.
pub(crate) const REFUSAL: &str = "refusal";

/// The kernel's own tables.
pub(super) fn all() -> Vec<Layout> {
    [(BATCH, batch()), (QUARANTINE, quarantine()), (RESOLUTION, resolution()), (REFUSAL, refusal())]
        .into_iter()
        .map(|(name, schema)| Layout::unsorted(TableName::kernel(name), schema))
        .collect()
}

pub(crate) fn batch() -> SchemaRef {
    use ColumnType::{Boolean, Instant, Integer, Text};
    schema(&[
        ("key", Text, false),
        ("source", Text, false),
        ("principal", Text, false),
        ("dataset", Text, false),
        ("feed", Text, true),
        ("city", Text, false),
        ("file_name", Text, true),
        ("file_sha256", Text, true),
        ("first_line", Integer, true),
        ("last_line", Integer, true),
        ("is_last", Boolean, false),
        ("rows", Integer, false),
        ("quarantined", Integer, false),
        ("unchanged", Integer, false),
        ("digest", Text, false),
        ("newest_at", Instant, true),
        ("committed_at", Instant, false),
        // The snapshot that the batch became, filled in by the commit itself.
        ("snapshot_id", Integer, true),
        ("period", Text, true),
        ("part", Integer, true),
        ("duplicates", Integer, true),
        // Rows that left: of the file that this one restates, or that is taken back.
        ("removed", Integer, true),
    ])
}

pub(crate) fn quarantine() -> SchemaRef {
    use ColumnType::{Instant, Integer, Text};
    schema(&[
        ("quarantine_id", Text, false),
        ("feed", Text, false),
        ("city", Text, false),
        ("file_name", Text, false),
        ("file_sha256", Text, false),
        ("line", Integer, false),
        ("column_name", Text, true),
        ("reason", Text, false),
        ("message", Text, false),
        ("raw_text", Text, false),
        ("header", Text, true),
        ("quarantined_at", Instant, false),
    ])
}

pub(crate) fn resolution() -> SchemaRef {
    use ColumnType::{Instant, Text};
    schema(&[("quarantine_id", Text, false), ("feed", Text, false), ("city", Text, false), ("principal", Text, false), ("resolved_at", Instant, false)])
}

pub(crate) fn refusal() -> SchemaRef {
    use ColumnType::{Instant, Text};
    schema(&[
        ("feed", Text, false),
        ("city", Text, false),
        ("file_name", Text, false),
        ("file_sha256", Text, false),
        ("error", Text, false),
        ("refused_at", Instant, false),
    ])
}

fn schema(columns: &[(&str, ColumnType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(|(name, column_type, nullable)| Field::new(*name, column_type.arrow(), *nullable)).collect::<Vec<_>>()))
}
