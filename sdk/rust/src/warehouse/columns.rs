use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use crate::{Day, Fen, Status, proto::v1::Reason};

/// Values as the columns of a dataset, each with the name and the type of its contract: for [`Warehouse::append`](super::Warehouse::append). The kernel sets `city`, and
/// `revision` in a dataset of mode `latest`.
///
/// ```
/// use backplane_sdk::{Day, warehouse::Columns};
///
/// struct Visit {
///     page: String,
///     day: Day,
///     bytes: Option<i64>,
/// }
///
/// let visits = [Visit { page: "/".to_owned(), day: "2026-03-31".parse()?, bytes: None }];
/// let columns = Columns::of(&visits).text("page", |visit| &visit.page).day("day", |visit| visit.day).optional_integer("bytes", |visit| visit.bytes);
/// assert_eq!(columns.batch()?.num_columns(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "the columns are made into a batch"]
pub struct Columns<'r, T> {
    rows: &'r [T],
    columns: Vec<(String, ArrayRef)>,
}

impl<'r, T> Columns<'r, T> {
    /// Of these values, no column yet.
    pub fn of(rows: &'r [T]) -> Columns<'r, T> {
        Columns { rows, columns: Vec::new() }
    }

    /// A column of type text.
    pub fn text(self, name: &str, value: impl Fn(&'r T) -> &'r str) -> Self {
        let array = StringArray::from_iter_values(self.rows.iter().map(value));
        self.with(name, array)
    }

    /// A column of type text that may be null.
    pub fn optional_text(self, name: &str, value: impl Fn(&'r T) -> Option<&'r str>) -> Self {
        let array = self.rows.iter().map(value).collect::<StringArray>();
        self.with(name, array)
    }

    /// A column of type integer.
    pub fn integer(self, name: &str, value: impl Fn(&'r T) -> i64) -> Self {
        let array = Int64Array::from_iter_values(self.rows.iter().map(value));
        self.with(name, array)
    }

    /// A column of type integer that may be null.
    pub fn optional_integer(self, name: &str, value: impl Fn(&'r T) -> Option<i64>) -> Self {
        let array = self.rows.iter().map(value).collect::<Int64Array>();
        self.with(name, array)
    }

    /// A column of type integer and unit fen.
    pub fn money(self, name: &str, value: impl Fn(&'r T) -> Fen) -> Self {
        self.integer(name, move |row| value(row).number())
    }

    /// A column of type integer and unit fen that may be null.
    pub fn optional_money(self, name: &str, value: impl Fn(&'r T) -> Option<Fen>) -> Self {
        self.optional_integer(name, move |row| value(row).map(Fen::number))
    }

    /// A column of type real.
    pub fn real(self, name: &str, value: impl Fn(&'r T) -> f64) -> Self {
        let array = Float64Array::from_iter_values(self.rows.iter().map(value));
        self.with(name, array)
    }

    /// A column of type real that may be null.
    pub fn optional_real(self, name: &str, value: impl Fn(&'r T) -> Option<f64>) -> Self {
        let array = self.rows.iter().map(value).collect::<Float64Array>();
        self.with(name, array)
    }

    /// A column of type boolean.
    pub fn boolean(self, name: &str, value: impl Fn(&'r T) -> bool) -> Self {
        let array = self.rows.iter().map(|row| Some(value(row))).collect::<BooleanArray>();
        self.with(name, array)
    }

    /// A column of type boolean that may be null.
    pub fn optional_boolean(self, name: &str, value: impl Fn(&'r T) -> Option<bool>) -> Self {
        let array = self.rows.iter().map(value).collect::<BooleanArray>();
        self.with(name, array)
    }

    /// A column of type day; of a month its first.
    pub fn day(self, name: &str, value: impl Fn(&'r T) -> Day) -> Self {
        let array = Date32Array::from_iter_values(self.rows.iter().map(|row| value(row).number()));
        self.with(name, array)
    }

    /// A column of type day that may be null.
    pub fn optional_day(self, name: &str, value: impl Fn(&'r T) -> Option<Day>) -> Self {
        let array = self.rows.iter().map(|row| value(row).map(Day::number)).collect::<Date32Array>();
        self.with(name, array)
    }

    /// A column of type instant, in microseconds since 1970, UTC.
    pub fn instant(self, name: &str, value: impl Fn(&'r T) -> i64) -> Self {
        let array = TimestampMicrosecondArray::from_iter_values(self.rows.iter().map(value)).with_timezone("UTC");
        self.with(name, array)
    }

    /// A column of type instant that may be null.
    pub fn optional_instant(self, name: &str, value: impl Fn(&'r T) -> Option<i64>) -> Self {
        let array = self.rows.iter().map(value).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        self.with(name, array)
    }

    fn with(mut self, name: &str, array: impl arrow_array::Array + 'static) -> Self {
        self.columns.push((name.to_owned(), Arc::new(array)));
        self
    }

    /// The columns as one batch.
    ///
    /// # Errors
    /// INTERNAL, ROWS_INVALID without any column.
    pub fn batch(self) -> Result<RecordBatch, Status> {
        RecordBatch::try_from_iter(self.columns)
            .map_err(|error| Status::internal(Reason::RowsInvalid, format!("the columns make no batch: {error}: give at least one, each once")))
    }
}
