use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{ColumnRule, Compression, Encoding, Expected, FeedContract, Format, Rule, combined_log, file_name};
use crate::{
    contract::{CITY, ColumnContract, ColumnType, DatasetContract, Datasets, Mode, REVISION, yaml},
    error::WarehouseError,
};

// Limit: fields of a line. The widest extract known has 40.
const FIELDS_MAX: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: Spanned<String>,
    platform: String,
    dataset: Spanned<String>,
    file_name: Spanned<String>,
    #[serde(default)]
    encoding: Encoding,
    #[serde(default)]
    compression: Compression,
    format: Spanned<WrittenFormat>,
    separator: Option<Spanned<String>>,
    null_text: Option<Spanned<String>>,
    fields: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    control_file: bool,
    expected: Option<Expected>,
    #[serde(default)]
    drops_duplicates: bool,
    bad_rows_permille_max: u64,
    columns: Vec<WrittenColumn>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenFormat {
    Separated,
    Csv,
    JsonLines,
    CombinedLog,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenColumn {
    column: Spanned<String>,
    from: Option<String>,
    rule: WrittenRule,
    value: Option<String>,
    values: Option<BTreeMap<String, String>>,
    as_of: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenRule {
    LineId,
    PeriodDay,
    Constant,
    Visitor,
    Session,
    Text,
    Integer,
    Real,
    Boolean,
    Yuan,
    OneOf,
    City,
    CompactTime,
    LocalTime,
    EpochMillis,
    LogTime,
    CompactDay,
    IsoDay,
    CompactMonth,
    CompactTimeDay,
    EpochMillisDay,
    ActionOfMethod,
    Succeeded,
    MicrosToMillis,
    CustomerOfNumber,
}

/// Reads a feed's contract and checks it against its dataset's.
///
/// # Errors
/// CONTRACT_INVALID with line and column.
pub(crate) fn feed(file: &str, text: &str, datasets: &Datasets) -> Result<FeedContract, WarehouseError> {
    let written: Written = yaml(file, text)?;
    let checker = Checker { file };
    let Some(dataset) = datasets.get(&written.dataset.value) else {
        return Err(checker.fault(&written.dataset, "there is no contract of such a dataset"));
    };
    checker.check(&written, dataset)?;
    let (format, columns) = (checker.format(&written)?, checker.columns(&written, dataset)?);
    Ok(FeedContract {
        name: written.name.value,
        platform: written.platform,
        dataset: dataset.clone(),
        file_name: written.file_name.value,
        encoding: written.encoding,
        compression: written.compression,
        format,
        has_control_file: written.control_file,
        expected: written.expected,
        drops_duplicates: written.drops_duplicates,
        bad_rows_permille_max: written.bad_rows_permille_max,
        columns,
    })
}

struct Checker<'a> {
    file: &'a str,
}

impl Checker<'_> {
    fn check(&self, written: &Written, dataset: &DatasetContract) -> Result<(), WarehouseError> {
        let name = &written.name.value;
        let is_name = (1..=60).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte));
        if !is_name || !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(self.fault(&written.name, "a feed's name is 1 to 60 of a-z, 0-9, '_' and '.', starting with a letter"));
        }
        if let Some(problem) = file_name::pattern_fault(&written.file_name.value) {
            return Err(self.fault(&written.file_name, problem));
        }
        if written.bad_rows_permille_max > 1_000 {
            return Err(self.fault(&written.name, "bad_rows_permille_max is a share of 1,000"));
        }
        if written.drops_duplicates && (dataset.mode != Mode::Append || dataset.key.is_empty()) {
            return Err(self.fault(&written.name, "drops_duplicates is for datasets of mode append with a key: those of mode latest compare keys anyway"));
        }
        if written.format.value == WrittenFormat::CombinedLog && written.encoding != Encoding::Utf8 {
            return Err(self.fault(&written.name, "a combined log is UTF-8: bytes that are not are kept as U+FFFD"));
        }
        Ok(())
    }

    fn format(&self, written: &Written) -> Result<Format, WarehouseError> {
        if written.format.value != WrittenFormat::Separated {
            let given = written.separator.as_ref().or(written.null_text.as_ref()).or(written.fields.as_ref().and_then(|fields| fields.first()));
            if let Some(given) = given {
                return Err(self.fault(given, "separator, null_text and fields are for the format separated"));
            }
        }
        Ok(match written.format.value {
            WrittenFormat::Csv => Format::Csv,
            WrittenFormat::JsonLines => Format::JsonLines,
            WrittenFormat::CombinedLog => Format::CombinedLog,
            WrittenFormat::Separated => {
                let separator = written.separator.as_ref().ok_or_else(|| self.fault(&written.name, "the format separated needs a `separator`"))?;
                let &[byte] = separator.value.as_bytes() else {
                    return Err(self.fault(separator, "a separator is one ASCII character"));
                };
                if !byte.is_ascii() || byte.is_ascii_alphanumeric() || b"\r\n".contains(&byte) {
                    return Err(self.fault(separator, "a separator is one ASCII character, neither a letter, nor a digit, nor a line end"));
                }
                let null_text = written.null_text.as_ref().map_or_else(|| "\\N".to_owned(), |text| text.value.clone());
                Format::Separated { separator: byte, null_text, fields: self.fields(written)? }
            }
        })
    }

    fn fields(&self, written: &Written) -> Result<Vec<String>, WarehouseError> {
        let fields = written.fields.as_deref().unwrap_or_default();
        if fields.is_empty() || fields.len() > FIELDS_MAX {
            return Err(self.fault(&written.name, &format!("the format separated needs `fields`: the names of the 1 to {FIELDS_MAX} fields in order")));
        }
        for (index, field) in fields.iter().enumerate() {
            if fields[..index].iter().any(|earlier| earlier.value == field.value) {
                return Err(self.fault(field, "the field is there twice"));
            }
        }
        Ok(fields.iter().map(|field| field.value.clone()).collect())
    }

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
        let rule = self.rule(written, dataset, mapped)?;
        if rule.gives().is_some_and(|gives| gives != column.column_type) {
            return Err(self.fault(&mapped.column, &format!("the rule does not give the column's type, {}", column.column_type.name())));
        }
        let never_sent = |text: &str| !column.values.is_empty() && !column.values.iter().any(|value| value == text);
        let given: Vec<&str> = match &rule {
            Rule::Constant(value) => vec![value],
            Rule::OneOf(values) => values.iter().map(|(_, value)| value.as_str()).collect(),
            _ => Vec::new(),
        };
        if let Some(value) = given.into_iter().find(|value| never_sent(value)) {
            return Err(self.fault(&mapped.column, &format!("'{value}' is none of the column's values: {}", column.values.join(", "))));
        }
        self.check_source(written, mapped, &rule)?;
        Ok(ColumnRule { from: mapped.from.clone(), rule })
    }

    /// That the rule reads a field that the format has.
    fn check_source(&self, written: &Written, mapped: &WrittenColumn, rule: &Rule) -> Result<(), WarehouseError> {
        let format = written.format.value;
        let known: Option<Vec<&str>> = match format {
            WrittenFormat::CombinedLog => Some(combined_log::FIELDS.to_vec()),
            WrittenFormat::Separated => Some(written.fields.iter().flatten().map(|field| field.value.as_str()).collect()),
            WrittenFormat::Csv | WrittenFormat::JsonLines => None,
        };
        match &mapped.from {
            Some(_) if !rule.reads_a_field() => return Err(self.fault(&mapped.column, "the rule reads no field: leave `from` out")),
            None if rule.reads_a_field() => return Err(self.fault(&mapped.column, "the rule needs a field to read: `from`")),
            Some(from) if known.as_ref().is_some_and(|known| !known.contains(&from.as_str())) => {
                return Err(self.fault(&mapped.column, &format!("there is no field '{from}'; a line has {}", known.unwrap_or_default().join(", "))));
            }
            _ => {}
        }
        let has_visitor = || written.columns.iter().any(|column| column.rule == WrittenRule::Visitor);
        if *rule == Rule::Session && !has_visitor() {
            return Err(self.fault(&mapped.column, "the rule session needs a column with the rule visitor"));
        }
        let needs_log = matches!(rule, Rule::Visitor | Rule::Session | Rule::LogTime);
        if needs_log && format != WrittenFormat::CombinedLog {
            return Err(self.fault(&mapped.column, "the rule is for the format combined_log"));
        }
        Ok(())
    }

    fn rule(&self, written: &Written, dataset: &DatasetContract, mapped: &WrittenColumn) -> Result<Rule, WarehouseError> {
        use WrittenRule as W;
        let at = &mapped.column;
        if mapped.value.is_some() && mapped.rule != W::Constant {
            return Err(self.fault(at, "only the rule constant has a `value`"));
        }
        if mapped.values.is_some() && mapped.rule != W::OneOf {
            return Err(self.fault(at, "only the rule one_of has `values`"));
        }
        if mapped.as_of.is_some() && mapped.rule != W::CustomerOfNumber {
            return Err(self.fault(at, "only the rule customer_of_number has `as_of`"));
        }
        Ok(match mapped.rule {
            W::Constant => Rule::Constant(mapped.value.clone().ok_or_else(|| self.fault(at, "the rule constant needs a `value`"))?),
            W::OneOf => {
                let values = mapped.values.clone().filter(|values| !values.is_empty());
                Rule::OneOf(values.ok_or_else(|| self.fault(at, "the rule one_of needs `values`: what is sent, and what it stands for"))?.into_iter().collect())
            }
            W::CustomerOfNumber => self.as_of(written, dataset, mapped)?,
            W::LineId => Rule::LineId,
            W::PeriodDay => Rule::PeriodDay,
            W::Visitor => Rule::Visitor,
            W::Session => Rule::Session,
            W::Text => Rule::Text,
            W::Integer => Rule::Integer,
            W::Real => Rule::Real,
            W::Boolean => Rule::Boolean,
            W::Yuan => Rule::Yuan,
            W::City => Rule::City,
            W::CompactTime => Rule::CompactTime,
            W::LocalTime => Rule::LocalTime,
            W::EpochMillis => Rule::EpochMillis,
            W::LogTime => Rule::LogTime,
            W::CompactDay => Rule::CompactDay,
            W::IsoDay => Rule::IsoDay,
            W::CompactMonth => Rule::CompactMonth,
            W::CompactTimeDay => Rule::CompactTimeDay,
            W::EpochMillisDay => Rule::EpochMillisDay,
            W::ActionOfMethod => Rule::ActionOfMethod,
            W::Succeeded => Rule::Succeeded,
            W::MicrosToMillis => Rule::MicrosToMillis,
        })
    }

    /// The column whose day says when the number was used.
    fn as_of(&self, written: &Written, dataset: &DatasetContract, mapped: &WrittenColumn) -> Result<Rule, WarehouseError> {
        let at = &mapped.column;
        let name = mapped.as_of.as_ref().ok_or_else(|| self.fault(at, "the rule customer_of_number needs `as_of`: the column that says when"))?;
        let Some((index, column)) = dataset.column(name) else {
            return Err(self.fault(at, &format!("the dataset has no column '{name}' to look the number up as of")));
        };
        let is_filled = written.columns.iter().any(|other| other.column.value == *name && other.rule != WrittenRule::CustomerOfNumber);
        if !is_filled || !matches!(column.column_type, ColumnType::Instant | ColumnType::Day) {
            return Err(self.fault(at, &format!("`as_of` names an instant or a day that this feed fills; '{name}' is none")));
        }
        Ok(Rule::CustomerOfNumber { as_of: index })
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
