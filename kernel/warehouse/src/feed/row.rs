use std::borrow::Cow;

use kernel_base::City;

use super::{
    FeedContract, Rule, combined_log,
    numbers::{NumberIndex, service_number},
    parse,
    period::Period,
    visitor::VisitorKey,
};
use crate::{append::FileRange, contract::ColumnContract, day::shanghai_day, error::WarehouseError, rows::Cell};

/// One field of a record; `None` is null.
pub(super) type Field<'t> = Option<Cow<'t, str>>;

/// Why a row could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// The dataset's column, where one is to blame.
    pub(super) column: Option<String>,
    /// Stable upper-case word.
    pub(super) reason: &'static str,
    /// What was expected and what was found.
    pub(super) message: String,
}

impl Bad {
    /// A service number that nobody is known to have had on that day. Such a row is not wrong: it waits for the assignment.
    pub(super) const NUMBER_UNKNOWN: &'static str = "NUMBER_UNKNOWN";

    /// A record beyond the limit: not all of it is kept.
    pub(super) const TOO_LONG: &'static str = "LINE_TOO_LONG";

    pub(super) fn new(reason: &'static str, message: String) -> Bad {
        Bad { column: None, reason, message }
    }

    pub(super) fn too_long() -> Bad {
        Bad::new(Bad::TOO_LONG, format!("expected at most {} bytes in a line; found more", super::lines::LINE_BYTES_MAX))
    }

    fn in_column(self, column: &ColumnContract) -> Bad {
        Bad { column: Some(column.name.clone()), ..self }
    }
}

fn missing(column: &ColumnContract) -> Bad {
    Bad::new("VALUE_MISSING", format!("expected a value ({}); found none", column.meaning)).in_column(column)
}

fn out_of_range(number: &impl ToString, column: &ColumnContract) -> Bad {
    parse::invalid(&number.to_string(), "VALUE_OUT_OF_RANGE", &column.allowed()).in_column(column)
}

/// What rows are made with beside their fields.
pub(super) struct RowReader<'a> {
    feed: &'a FeedContract,
    city: String,
    /// The first 32 hex characters of the file's digest: 128 bits name a file.
    file_id: String,
    /// Days since 1970 of the first day of the file's period.
    period_day: Option<i32>,
    visitors: &'a VisitorKey,
    numbers: &'a NumberIndex,
    /// Where each column's field stands in a record, in the order of the dataset.
    positions: &'a [Option<usize>],
}

impl<'a> RowReader<'a> {
    pub(super) fn new(
        feed: &'a FeedContract,
        city: City,
        sha256: &str,
        period: Option<Period>,
        visitors: &'a VisitorKey,
        numbers: &'a NumberIndex,
        positions: &'a [Option<usize>],
    ) -> Result<RowReader<'a>, WarehouseError> {
        let file_id = sha256.chars().take(FileRange::ID_CHARACTERS).collect();
        let period_day = period.map(|period| super::time::compact_day(&period.first_day().strftime("%Y%m%d").to_string()));
        let period_day = period_day.map(|day| day.ok_or_else(|| WarehouseError::broken("a period begins before 1900"))).transpose()?;
        Ok(RowReader { feed, city: city.to_string(), file_id, period_day, visitors, numbers, positions })
    }

    /// Reads a record's fields into cells, in the order of the dataset's columns.
    pub(super) fn read<'t>(&'t self, line: u64, fields: &[Field<'t>], cells: &mut Vec<Cell<'t>>) -> Result<(), Bad> {
        cells.clear();
        for (index, rule) in self.feed.columns.iter().enumerate() {
            let field = self.positions[index].and_then(|position| fields.get(position)).and_then(Option::as_ref);
            match (&rule.rule, field) {
                (Rule::FileCity, _) => cells.push(Cell::from(self.city.as_str())),
                (Rule::LineId, _) => cells.push(format!("{}-{line}", self.file_id).into()),
                (Rule::Visitor, _) => cells.push(self.visitor(fields).into()),
                // The column must not be null, and every visitor has a session: it is told from the neighbours when all rows of the chunk stand.
                (Rule::Session, _) => cells.push(Cell::from("")),
                (Rule::Constant(text), _) => cells.push(Cell::from(text.as_str())),
                (Rule::Revision, _) => cells.push(Cell::Integer(0)),
                (Rule::PeriodDay, _) => cells.push(self.period_day.map_or(Cell::Null, Cell::Day)),
                (Rule::ActionOfMethod, None) => cells.push(Cell::from("view")),
                (_, None) => cells.push(Cell::Null),
                // Borrowed from the line.
                (Rule::Text, Some(field)) => cells.push(Cell::Text(field.clone())),
                (rule, Some(field)) => parse::push_cell(rule, field, cells).map_err(|bad| bad.in_column(&self.feed.dataset.columns[index]))?,
            }
        }
        self.fill_in(fields, cells)?;
        self.check(cells)
    }

    /// The columns that are made of others.
    fn fill_in<'t>(&self, fields: &[Field<'t>], cells: &mut [Cell<'t>]) -> Result<(), Bad> {
        for (index, rule) in self.feed.columns.iter().enumerate() {
            match rule.rule {
                Rule::DayOfAt => {
                    if let Some(Cell::Instant(at)) = self.feed.dataset.column("at").and_then(|(at, _)| cells.get(at)) {
                        cells[index] = Cell::Day(shanghai_day(*at));
                    }
                }
                Rule::CustomerOfNumber { as_of } => {
                    let field = self.positions[index].and_then(|position| fields.get(position)).and_then(Option::as_ref);
                    if let Some(number) = field {
                        let day = &self.feed.dataset.columns[as_of];
                        // Without its time the row is bad for that, not for want of a customer.
                        if cells[as_of] == Cell::Null && !day.nullable {
                            return Err(missing(day));
                        }
                        let customer = self.customer(number, &cells[as_of]);
                        cells[index] = customer.map_err(|bad| bad.in_column(&self.feed.dataset.columns[index]))?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn customer(&self, text: &str, as_of: &Cell<'_>) -> Result<Cell<'static>, Bad> {
        let number = service_number(text).ok_or_else(|| parse::invalid(text, "NUMBER_INVALID", "a service number of eleven digits"))?;
        let day = match as_of {
            Cell::Instant(at) => shanghai_day(*at),
            Cell::Day(day) => *day,
            // The row is bad for want of a time, or the customer is not needed.
            _ => return Ok(Cell::Null),
        };
        match self.numbers.customer(number, day) {
            Some(customer_id) => Ok(Cell::Integer(customer_id)),
            None => {
                Err(Bad::new(Bad::NUMBER_UNKNOWN, "expected a number that a customer had on that day; no assignment is known yet, so the row waits".to_owned()))
            }
        }
    }

    /// That required columns have a value, listed ones a listed value and bounded ones a value within their bounds.
    fn check(&self, cells: &[Cell<'_>]) -> Result<(), Bad> {
        for (column, cell) in self.feed.dataset.columns.iter().zip(cells) {
            match cell {
                Cell::Null if !column.nullable => return Err(missing(column)),
                Cell::Text(text) if !column.allows_text(text) => return Err(parse::invalid(text, "VALUE_UNKNOWN", &column.allowed()).in_column(column)),
                Cell::Integer(number) if !column.allows_integer(*number) => return Err(out_of_range(number, column)),
                Cell::Real(number) if !column.allows_real(*number) => return Err(out_of_range(number, column)),
                _ => {}
            }
        }
        Ok(())
    }

    fn visitor(&self, fields: &[Field<'_>]) -> String {
        let field = |position: usize| fields.get(position).and_then(Option::as_deref).unwrap_or_default();
        self.visitors.visitor_id(field(combined_log::ADDRESS), field(combined_log::AGENT))
    }
}
