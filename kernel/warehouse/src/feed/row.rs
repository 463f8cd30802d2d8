use kernel_base::City;

use super::{ColumnRule, FeedContract, Rule, combined_log, session::Sessions, visitor::VisitorKey};
use crate::{append::FileRange, day::shanghai_day, rows::Value};

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
    pub(super) fn new(reason: &'static str, message: String) -> Bad {
        Bad { column: None, reason, message }
    }

    pub(super) fn too_long() -> Bad {
        Bad::new("LINE_TOO_LONG", format!("expected at most {} bytes in a line; found more", super::lines::LINE_BYTES_MAX))
    }
}

/// A row of the dataset.
pub(super) struct Row {
    /// In the order of the dataset's columns.
    pub(super) values: Vec<Value>,
    /// Its event time, microseconds, if the dataset has one.
    pub(super) at: Option<i64>,
}

/// Turns the fields of records into rows of the dataset.
pub(super) struct RowReader<'a> {
    feed: &'a FeedContract,
    city: City,
    /// The first 32 hex characters of the file's digest: 128 bits name a file.
    file_id: String,
    visitors: VisitorKey,
    sessions: Sessions,
    /// Where each column's field stands in a record, in the order of the dataset.
    positions: Vec<Option<usize>>,
    /// Whether rows come one by one from quarantine, without the neighbours that tell their session.
    alone: bool,
}

impl<'a> RowReader<'a> {
    pub(super) fn new(feed: &'a FeedContract, city: City, sha256: &str, visitors: VisitorKey, positions: Vec<Option<usize>>) -> RowReader<'a> {
        let file_id = sha256.chars().take(FileRange::ID_CHARACTERS).collect();
        RowReader { feed, city, file_id, visitors, sessions: Sessions::default(), positions, alone: false }
    }

    pub(super) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// The row of a record's fields. A bad row leaves no trace in the sessions.
    pub(super) fn read(&mut self, line: u64, fields: &[Option<String>]) -> Result<Row, Bad> {
        let mut values = Vec::with_capacity(self.feed.columns.len());
        for (index, rule) in self.feed.columns.iter().enumerate() {
            let field = self.positions[index].and_then(|position| fields.get(position)).and_then(Option::as_deref);
            values.push(self.value(index, rule, line, field, fields)?);
        }
        let at = self.at(&values);
        for (index, rule) in self.feed.columns.iter().enumerate() {
            match (&rule.rule, at) {
                (Rule::DayOfAt, Some(at)) => values[index] = Value::Day(shanghai_day(at)),
                (Rule::Session, Some(at)) => values[index] = self.session(line, at, fields).into(),
                _ => {}
            }
            let column = &self.feed.dataset.columns[index];
            if values[index] == Value::Null && !column.nullable {
                let message = format!("expected a value ({}); found none", column.meaning);
                return Err(Bad { column: Some(column.name.clone()), reason: "VALUE_MISSING", message });
            }
        }
        Ok(Row { values, at })
    }

    fn value(&self, index: usize, rule: &ColumnRule, line: u64, field: Option<&str>, fields: &[Option<String>]) -> Result<Value, Bad> {
        let converted = match &rule.rule {
            Rule::FileCity => return Ok(self.city.to_string().into()),
            Rule::LineId => return Ok(format!("{}-{line}", self.file_id).into()),
            Rule::Visitor => return Ok(self.visitor(fields).into()),
            Rule::Constant(text) => return Ok(text.as_str().into()),
            Rule::Revision => return Ok(Value::Integer(0)),
            // Filled in when the rest of the row stands.
            Rule::DayOfAt | Rule::Session | Rule::Absent => return Ok(Value::Null),
            Rule::ActionOfMethod => return Ok(action(field).into()),
            rule => super::parse::value(rule, field),
        };
        converted.map_err(|bad| Bad { column: Some(self.feed.dataset.columns[index].name.clone()), ..bad })
    }

    fn at(&self, values: &[Value]) -> Option<i64> {
        let (index, _) = self.feed.dataset.column("at")?;
        match values.get(index) {
            Some(Value::Instant(at)) => Some(*at),
            _ => None,
        }
    }

    fn visitor(&self, fields: &[Option<String>]) -> String {
        let field = |position: usize| fields.get(position).and_then(Option::as_deref).unwrap_or_default();
        self.visitors.visitor_id(field(combined_log::ADDRESS), field(combined_log::AGENT))
    }

    fn session(&mut self, line: u64, at: i64, fields: &[Option<String>]) -> String {
        let visitor = self.visitor(fields);
        if self.alone { format!("{visitor}-r{line}") } else { self.sessions.session_of(&visitor, at) }
    }
}

/// GET and HEAD look, the methods that send something submit.
fn action(method: Option<&str>) -> &'static str {
    match method {
        Some("POST" | "PUT" | "PATCH" | "DELETE") => "submit",
        _ => "view",
    }
}
