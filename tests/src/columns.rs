use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow_ipc::writer::StreamWriter;

/// Rows as the columns of a dataset, each with the name and the type of its contract: for [`Call::append`](crate::Call::append). The kernel sets `city` and `revision`.
#[must_use = "the columns are to be appended"]
pub struct Columns<'r, T> {
    rows: &'r [T],
    columns: Vec<(&'static str, ArrayRef)>,
}

impl<'r, T> Columns<'r, T> {
    /// Of these rows, no column yet.
    pub fn of(rows: &'r [T]) -> Columns<'r, T> {
        Columns { rows, columns: Vec::new() }
    }

    pub fn text(self, name: &'static str, value: impl Fn(&'r T) -> &'r str) -> Self {
        let array = StringArray::from_iter_values(self.rows.iter().map(value));
        self.with(name, array)
    }

    pub fn optional_text(self, name: &'static str, value: impl Fn(&'r T) -> Option<&'r str>) -> Self {
        let array = self.rows.iter().map(value).collect::<StringArray>();
        self.with(name, array)
    }

    pub fn integer(self, name: &'static str, value: impl Fn(&'r T) -> i64) -> Self {
        let array = Int64Array::from_iter_values(self.rows.iter().map(value));
        self.with(name, array)
    }

    pub fn optional_integer(self, name: &'static str, value: impl Fn(&'r T) -> Option<i64>) -> Self {
        let array = self.rows.iter().map(value).collect::<Int64Array>();
        self.with(name, array)
    }

    /// Days since 1970.
    pub fn day(self, name: &'static str, value: impl Fn(&'r T) -> i32) -> Self {
        let array = Date32Array::from_iter_values(self.rows.iter().map(value));
        self.with(name, array)
    }

    pub fn optional_day(self, name: &'static str, value: impl Fn(&'r T) -> Option<i32>) -> Self {
        let array = self.rows.iter().map(value).collect::<Date32Array>();
        self.with(name, array)
    }

    /// Microseconds since 1970, UTC.
    pub fn instant(self, name: &'static str, value: impl Fn(&'r T) -> i64) -> Self {
        let array = TimestampMicrosecondArray::from_iter_values(self.rows.iter().map(value)).with_timezone("UTC");
        self.with(name, array)
    }

    pub fn optional_instant(self, name: &'static str, value: impl Fn(&'r T) -> Option<i64>) -> Self {
        let array = self.rows.iter().map(value).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        self.with(name, array)
    }

    fn with(mut self, name: &'static str, array: impl Array + 'static) -> Self {
        self.columns.push((name, Arc::new(array)));
        self
    }

    /// One Arrow IPC stream of them.
    pub(crate) fn ipc(self) -> Vec<u8> {
        let batch = RecordBatch::try_from_iter(self.columns).expect("each column is there once");
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("a stream begins");
        writer.write(&batch).expect("a batch is written");
        writer.into_inner().expect("a stream ends")
    }
}
