use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, bail};
use backplane_proto::ingest::v1::{AppendRequest, ingest_client::IngestClient};
use kernel_base::City;
use serde_json::{Map, Value};
use tonic::Status;
use tonic_types::StatusExt;

use super::scenario::Scenario;
use crate::client::Connection;

const CITY: &str = "city";

/// Appends the rows of a scenario's file to a dataset, each in the city that it names or else in the scenario's; gives how many there are.
///
/// # Errors
/// With the file and line for what is no row of the dataset; as `backplane.ingest.v1.Ingest/Append` says.
pub(super) async fn append(scenario: &Scenario, connection: &Connection, (step, dataset, file): (usize, &str, &Path)) -> anyhow::Result<usize> {
    let path = scenario.path(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut appended = 0;
    for (city, rows) in by_city(&text, scenario.city).with_context(|| format!("in {}", path.display()))? {
        let request = AppendRequest {
            dataset: dataset.to_owned(),
            idempotency_key: format!("step {step} in {city}"),
            rows_json: rows.iter().map(|row| format!("{}\n", row.text)).collect(),
            ..AppendRequest::default()
        };
        let connection = Connection { city: Some(city), ..connection.clone() };
        let refused = |status: Status| {
            let line = row_of(&status).and_then(|row| rows.get(row)).map_or(String::new(), |row| format!(", line {}", row.line));
            anyhow::Error::new(status).context(format!("in {}{line}", path.display()))
        };
        IngestClient::new(connection.open().await?).append(request).await.map_err(refused)?;
        appended += rows.len();
    }
    Ok(appended)
}

/// Which of the rows that were sent is wrong.
fn row_of(status: &Status) -> Option<usize> {
    status.get_error_details().error_info()?.metadata.get("row")?.parse().ok()
}

/// A line of the file, without its city.
struct Row {
    line: usize,
    text: String,
}

/// The rows by the city that they name, without it: the kernel sets it.
fn by_city(text: &str, city: City) -> anyhow::Result<BTreeMap<City, Vec<Row>>> {
    let mut rows: BTreeMap<City, Vec<Row>> = BTreeMap::new();
    for (index, text) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line = index + 1;
        let mut row: Map<String, Value> = serde_json::from_str(text).with_context(|| format!("line {line} is no JSON object"))?;
        let city = match row.remove(CITY) {
            None => city,
            Some(Value::String(code)) => code.parse().with_context(|| format!("line {line}"))?,
            Some(other) => bail!("line {line}: the city is a text of six digits, and this is {other}"),
        };
        rows.entry(city).or_default().push(Row { line, text: Value::Object(row).to_string() });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn rows(text: &str) -> anyhow::Result<BTreeMap<City, Vec<Row>>> {
        by_city(text, "440600".parse().unwrap())
    }

    #[test]
    fn rows_go_to_the_cities_that_they_name_with_the_lines_that_they_stand_in() {
        let rows = rows("{\"id\": \"a\", \"count\": 9007199254740993}\n\n{\"id\": \"b\", \"city\": \"441900\"}\n{\"share\": 3}\n").unwrap();
        let lines: Vec<(String, Vec<usize>)> = rows.iter().map(|(city, rows)| (city.to_string(), rows.iter().map(|row| row.line).collect())).collect();
        assert_eq!(lines, [("440600".to_owned(), vec![1, 4]), ("441900".to_owned(), vec![3])]);
        assert_eq!(rows[&"440600".parse().unwrap()][0].text, "{\"count\":9007199254740993,\"id\":\"a\"}");
        assert_eq!(rows[&"441900".parse().unwrap()][0].text, "{\"id\":\"b\"}");
    }

    #[test]
    fn what_is_no_row_is_named_by_its_line() {
        for (text, said) in [("{\"id\": 1}\n[]", "line 2 is no JSON object"), ("{\"city\": 1}", "line 1: the city"), ("{\"city\": \"1\"}", "line 1")] {
            let error = format!("{:#}", rows(text).err().unwrap());
            assert!(error.contains(said), "{error}");
        }
    }
}
