use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    BuildError,
    compile::{variable, write},
};

const FOLDER: &str = "datasets";
/// What a column of months says as its unit, and one of money.
const MONTH: &str = "month";
const FEN: &str = "fen";

/// Writes `OUT_DIR/datasets.rs` from the contracts in the plugin's folder `datasets`: for `my_plugin.enrolment_value` a struct `EnrolmentValueRow`, whose fields are the
/// contract's columns with their meanings, and which is a `backplane_sdk::warehouse::Row`: to be read by its `COLUMNS`, and written by `append_rows`. The columns that the
/// kernel sets are left out: `city`, `revision` in a dataset of mode latest, and `day` beside `at`.
///
/// Text is a `String`, integer and instant (microseconds since 1970) an `i64`, an integer whose unit is `fen` a `Fen`, real an `f64`, day a `Day`, or a `Month` where its unit is
/// `month`; a column that may be null is an `Option`.
///
/// # Errors
/// A [`BuildError`] with the file. What else a contract has to be the kernel says when the plugin is installed.
#[allow(clippy::print_stdout, reason = "how a build script speaks to cargo")]
pub fn datasets() -> Result<(), BuildError> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let folder = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join(FOLDER);
    let failed = |source| BuildError::File { path: folder.clone(), source };
    let entries = fs::read_dir(&folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut contracts: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    contracts.sort();
    write("datasets.rs", &dataset_rows(&contracts)?)
}

/// The text of the types for the contracts in some files.
///
/// # Errors
/// As [`datasets`].
pub fn dataset_rows(contracts: &[PathBuf]) -> Result<String, BuildError> {
    let mut code = String::new();
    for path in contracts {
        let text = fs::read_to_string(path).map_err(|source| BuildError::File { path: path.clone(), source })?;
        let contract: Contract = serde_saphyr::from_str(&text).map_err(|error| wrong(path, error))?;
        write_row(&mut code, path, &contract)?;
    }
    let file = syn::parse_file(&code).map_err(|error| BuildError::Generate { package: FOLDER.to_owned(), text: error.to_string() })?;
    Ok(prettyplease::unparse(&file))
}

fn wrong(path: &Path, problem: impl ToString) -> BuildError {
    BuildError::Contract { path: path.to_owned(), problem: problem.to_string() }
}

/// As much of a contract as makes a type.
#[derive(Deserialize)]
struct Contract {
    name: String,
    purpose: String,
    mode: String,
    columns: Vec<Column>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
    r#type: String,
    nullable: bool,
    unit: Option<String>,
    meaning: String,
}

/// A column's type as Rust, and how a value goes into a column.
struct Kind {
    rust_type: &'static str,
    /// The method of `Columns`.
    method: &'static str,
    /// From a field, or from what is in its `Option`.
    value: &'static str,
}

impl Contract {
    fn is_set_by_the_kernel(&self, column: &Column) -> bool {
        match column.name.as_str() {
            "city" => true,
            "revision" => self.mode == "latest",
            "day" => self.columns.iter().any(|column| column.name == "at"),
            _ => false,
        }
    }
}

impl Column {
    fn kind(&self) -> Option<Kind> {
        let (rust_type, method, value) = match (self.r#type.as_str(), self.unit.as_deref()) {
            ("text", _) => ("String", "text", ".as_str()"),
            ("integer", Some(FEN)) => ("backplane_sdk::Fen", "money", ""),
            ("integer", _) => ("i64", "integer", ""),
            ("real", _) => ("f64", "real", ""),
            ("boolean", _) => ("bool", "boolean", ""),
            ("instant", _) => ("i64", "instant", ""),
            ("day", Some(MONTH)) => ("backplane_sdk::Month", "day", ".first_day()"),
            ("day", _) => ("backplane_sdk::Day", "day", ""),
            _ => return None,
        };
        Some(Kind { rust_type, method, value })
    }

    /// How the column is selected so that its field can be read; in quotes, since its name may be a word of SQL.
    fn sql(&self) -> String {
        let name = format!("\"{}\"", self.name);
        if self.r#type == "instant" { format!("CAST({name} AS BIGINT) AS {name}") } else { name }
    }

    /// The name as Rust, also where it is a keyword.
    fn field(&self) -> String {
        if syn::parse_str::<syn::Ident>(&self.name).is_ok() { self.name.clone() } else { format!("r#{}", self.name) }
    }
}

fn write_row(code: &mut String, path: &Path, contract: &Contract) -> Result<(), BuildError> {
    let name = format!("{}Row", pascal_case(contract.name.rsplit('.').next().unwrap_or(&contract.name)));
    let columns: Vec<&Column> = contract.columns.iter().filter(|column| !contract.is_set_by_the_kernel(column)).collect();
    let (mut fields, mut builder) = (String::new(), String::new());
    for column in &columns {
        let Some(Kind { rust_type, method, value }) = column.kind() else {
            return Err(wrong(
                path,
                format!("the column '{}' is of type '{}': it is text, integer, real, boolean, instant or day", column.name, column.r#type),
            ));
        };
        let (column_name, field) = (&column.name, column.field());
        let (rust_type, call) = match (column.nullable, value) {
            (false, value) => (rust_type.to_owned(), format!(".{method}({column_name:?}, |row| row.{field}{value})")),
            (true, "") => (format!("Option<{rust_type}>"), format!(".optional_{method}({column_name:?}, |row| row.{field})")),
            (true, ".as_str()") => (format!("Option<{rust_type}>"), format!(".optional_{method}({column_name:?}, |row| row.{field}.as_deref())")),
            (true, value) => (format!("Option<{rust_type}>"), format!(".optional_{method}({column_name:?}, |row| row.{field}.map(|value| value{value}))")),
        };
        // Writing to a text cannot fail.
        let _ = writeln!(fields, "{}pub(crate) {field}: {rust_type},", docs(&column.meaning));
        builder.push_str(&call);
    }
    let selected: Vec<String> = columns.iter().map(|column| column.sql()).collect();
    let (dataset, selected) = (&contract.name, selected.join(", "));
    let _ = write!(
        code,
        "/// A row of `{dataset}`.\n///\n{}#[derive(Debug, Clone, PartialEq, serde::Deserialize)]\npub(crate) struct {name} {{ {fields} }}
         impl backplane_sdk::warehouse::Row for {name} {{
             const DATASET: &'static str = {dataset:?};
             const COLUMNS: &'static str = {selected:?};
             fn columns(rows: &[Self]) -> backplane_sdk::warehouse::Columns<'_, Self> {{ backplane_sdk::warehouse::Columns::of(rows){builder} }}
         }}\n",
        docs(&contract.purpose)
    );
    Ok(())
}

fn docs(text: &str) -> String {
    text.lines().map(|line| format!("/// {line}\n")).collect()
}

pub(crate) fn pascal_case(name: &str) -> String {
    let capital = |word: &str| word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)).collect::<String>();
    name.split('_').map(capital).collect()
}
