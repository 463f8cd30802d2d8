use std::sync::Arc;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{ColumnRule, FeedContract, Format, Rule, combined_log};
use crate::{
    contract::{CITY, ColumnContract, DatasetContract, Datasets, Mode, REVISION, yaml},
    error::WarehouseError,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    platform: String,
    dataset: Spanned<String>,
    file_name: String,
    format: Format,
    bad_rows_permille_max: u64,
    columns: Vec<WrittenColumn>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    column: Spanned<String>,
    from: Option<String>,
    rule: WrittenRule,
    value: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenRule {
    LineId,
    LogTime,
    Visitor,
    Session,
    Constant,
    Text,
    Integer,
    Real,
    City,
    ActionOfMethod,
    Succeeded,
    MicrosToMillis,
}

/// Reads a feed's contract and checks it against its dataset's.
///
/// # Errors
/// CONTRACT_INVALID with line and column.
pub(super) fn feed(file: &str, text: &str, datasets: &Datasets) -> Result<FeedContract, WarehouseError> {
    let written: Written = yaml(file, text)?;
    let checker = Checker { file };
    let Some(dataset) = datasets.get(&written.dataset.value) else {
        return Err(checker.fault(&written.dataset, "there is no contract of such a dataset"));
    };
    if written.bad_rows_permille_max > 1_000 {
        return Err(checker.fault(&written.name, "bad_rows_permille_max is a share of 1,000"));
    }
    let columns = checker.columns(&written, dataset)?;
    Ok(FeedContract {
        name: written.name.value,
        platform: written.platform,
        dataset: dataset.clone(),
        file_name: written.file_name,
        format: written.format,
        bad_rows_permille_max: written.bad_rows_permille_max,
        columns,
    })
}

struct Checker<'a> {
    file: &'a str,
}

impl Checker<'_> {
    /// One rule per column of the dataset, in the dataset's order.
    fn columns(&self, written: &Written, dataset: &Arc<DatasetContract>) -> Result<Vec<ColumnRule>, WarehouseError> {
        for (index, column) in written.columns.iter().enumerate() {
            if dataset.column(&column.column.value).is_none() {
                return Err(self.fault(&column.column, "the dataset has no such column"));
            }
            if written.columns[..index].iter().any(|earlier| earlier.column.value == column.column.value) {
                return Err(self.fault(&column.column, "the column is there twice"));
            }
        }
        dataset.columns.iter().map(|column| self.column(written, dataset, column)).collect()
    }

    fn column(&self, written: &Written, dataset: &DatasetContract, column: &ColumnContract) -> Result<ColumnRule, WarehouseError> {
        let Some(mapped) = written.columns.iter().find(|mapped| mapped.column.value == column.name) else {
            return self.unmapped(written, dataset, column);
        };
        let rule = self.rule(mapped)?;
        if rule.gives().is_some_and(|gives| gives != column.column_type) {
            return Err(self.fault(&mapped.column, &format!("the rule does not give the column's type, {}", column.column_type.name())));
        }
        let reads_nothing = matches!(rule, Rule::LineId | Rule::Visitor | Rule::Session | Rule::Constant(_));
        match &mapped.from {
            Some(_) if reads_nothing => return Err(self.fault(&mapped.column, "the rule reads no field: leave `from` out")),
            None if !reads_nothing => return Err(self.fault(&mapped.column, "the rule needs a field to read: `from`")),
            Some(from) if written.format == Format::CombinedLog && !combined_log::FIELDS.contains(&from.as_str()) => {
                return Err(self.fault(&mapped.column, &format!("a log line has the fields {}", combined_log::FIELDS.join(", "))));
            }
            _ => {}
        }
        let needs_log = matches!(rule, Rule::Visitor | Rule::Session | Rule::LogTime);
        if needs_log && written.format != Format::CombinedLog {
            return Err(self.fault(&mapped.column, "the rule is for the format combined_log"));
        }
        Ok(ColumnRule { from: mapped.from.clone(), rule })
    }

    fn rule(&self, mapped: &WrittenColumn) -> Result<Rule, WarehouseError> {
        Ok(match (mapped.rule, &mapped.value) {
            (WrittenRule::Constant, Some(value)) => Rule::Constant(value.clone()),
            (WrittenRule::Constant, None) => return Err(self.fault(&mapped.column, "the rule constant needs a `value`")),
            (_, Some(_)) => return Err(self.fault(&mapped.column, "only the rule constant has a `value`")),
            (WrittenRule::LineId, None) => Rule::LineId,
            (WrittenRule::LogTime, None) => Rule::LogTime,
            (WrittenRule::Visitor, None) => Rule::Visitor,
            (WrittenRule::Session, None) => Rule::Session,
            (WrittenRule::Text, None) => Rule::Text,
            (WrittenRule::Integer, None) => Rule::Integer,
            (WrittenRule::Real, None) => Rule::Real,
            (WrittenRule::City, None) => Rule::City,
            (WrittenRule::ActionOfMethod, None) => Rule::ActionOfMethod,
            (WrittenRule::Succeeded, None) => Rule::Succeeded,
            (WrittenRule::MicrosToMillis, None) => Rule::MicrosToMillis,
        })
    }

    /// Columns that a feed need not name: the kernel fills some, and nullable ones may be absent.
    fn unmapped(&self, written: &Written, dataset: &DatasetContract, column: &ColumnContract) -> Result<ColumnRule, WarehouseError> {
        let rule = match column.name.as_str() {
            CITY => Rule::FileCity,
            REVISION if dataset.mode == Mode::Latest => Rule::Revision,
            "day" if dataset.column("at").is_some() => Rule::DayOfAt,
            _ if column.nullable => Rule::Absent,
            name => return Err(self.fault(&written.name, &format!("the feed does not say where the column '{name}' comes from, and it may not be null"))),
        };
        Ok(ColumnRule { from: None, rule })
    }

    fn fault(&self, at: &Spanned<String>, problem: &str) -> WarehouseError {
        let (line, column) = (at.referenced.line(), at.referenced.column());
        WarehouseError::ContractInvalid { file: self.file.to_owned(), line, column, problem: format!("'{}': {problem}", at.value) }
    }
}
