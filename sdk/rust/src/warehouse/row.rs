use super::Columns;

/// A row of a dataset, as its contract says. `backplane_build::datasets` writes the types for the contracts that a plugin brings; this is one by hand.
///
/// ```
/// use backplane_sdk::{Day, testing::FakeKernel, warehouse::{Columns, Row}};
///
/// struct DayRow {
///     day: Day,
///     bad_pages: i64,
/// }
///
/// impl Row for DayRow {
///     const DATASET: &'static str = "portal_health.day";
///     const COLUMNS: &'static str = "day, bad_pages";
///
///     fn columns(rows: &[Self]) -> Columns<'_, Self> {
///         Columns::of(rows).day("day", |row| row.day).integer("bad_pages", |row| row.bad_pages)
///     }
/// }
///
/// let (kernel, context) = FakeKernel::new().start("440600");
/// let rows = [DayRow { day: "2026-03-31".parse()?, bad_pages: 9 }];
/// context.warehouse().append_rows("2026-03/days", &rows)?;
/// assert_eq!(kernel.appends()[0].dataset, "portal_health.day");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Row: Sized {
    /// The dataset's name in SQL.
    const DATASET: &'static str;
    /// The columns that the fields are read from, as SQL. Those that the kernel sets are not among them: select `city` or `revision` beside.
    const COLUMNS: &'static str;

    /// The rows as columns of the dataset.
    fn columns(rows: &[Self]) -> Columns<'_, Self>;
}
