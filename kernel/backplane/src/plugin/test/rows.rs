use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail, ensure};
use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use backplane_proto::{
    ingest::v1::{AppendRequest, ingest_client::IngestClient},
    warehouse::v1::{Dataset, DescribeDatasetRequest, warehouse_client::WarehouseClient},
};
use kernel_base::City;
use serde_json::{Map, Value};

use super::scenario::Scenario;
use crate::client::Connection;

const CITY: &str = "city";

/// Appends the rows of a scenario's file to a dataset, each in the city that it names or else in the scenario's; gives how many there are.
///
/// # Errors
/// With the file and line for what is no row; as `backplane.ingest.v1.Ingest/Append` says.
pub(super) async fn append(scenario: &Scenario, connection: &Connection, (step, dataset, file): (usize, &str, &Path)) -> anyhow::Result<usize> {
    let path = scenario.path(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let rows = by_city(&text, scenario.city).with_context(|| format!("in {}", path.display()))?;
    let mut warehouse = WarehouseClient::new(connection.open().await?);
    let described = warehouse.describe_dataset(DescribeDatasetRequest { dataset: dataset.to_owned() }).await?.into_inner();
    for (city, rows) in &rows {
        let batch = batch(&described, rows).with_context(|| format!("in {}", path.display()))?;
        let request = AppendRequest { dataset: dataset.to_owned(), ipc: ipc(&batch)?.into(), idempotency_key: format!("step {step} in {city}") };
        let connection = Connection { city: Some(*city), ..connection.clone() };
        IngestClient::new(connection.open().await?).append(request).await?;
    }
    Ok(rows.values().map(Vec::len).sum())
}

/// The rows by the city that they name, without it: the kernel sets it.
fn by_city(text: &str, city: City) -> anyhow::Result<BTreeMap<City, Vec<Map<String, Value>>>> {
    let mut rows: BTreeMap<City, Vec<Map<String, Value>>> = BTreeMap::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = index + 1;
        let mut row: Map<String, Value> = serde_json::from_str(line).with_context(|| format!("line {number} is no JSON object"))?;
        let city = match row.remove(CITY) {
            None => city,
            Some(Value::String(code)) => code.parse().with_context(|| format!("line {number}"))?,
            Some(other) => bail!("line {number}: the city is a text of six digits, and this is {other}"),
        };
        rows.entry(city).or_default().push(row);
    }
    Ok(rows)
}

/// The rows as columns of the contract's types; those that no row names are left out.
fn batch(dataset: &Dataset, rows: &[Map<String, Value>]) -> anyhow::Result<RecordBatch> {
    let named: BTreeSet<&str> = rows.iter().flat_map(Map::keys).map(String::as_str).collect();
    let fields = named.into_iter().map(|name| {
        let Some(column) = dataset.columns.iter().find(|column| column.name == name) else {
            let columns: Vec<&str> = dataset.columns.iter().map(|column| column.name.as_str()).collect();
            bail!("'{}' has no column '{name}': it has {}", dataset.name, columns.join(", "));
        };
        Ok(Field::new(name, data_type(&column.r#type)?, true))
    });
    let schema = Arc::new(Schema::new(fields.collect::<anyhow::Result<Vec<_>>>()?));
    ensure!(!schema.fields().is_empty(), "the rows name no column");
    rows.iter().try_for_each(|row| row.iter().try_for_each(|(name, value)| is_exact(&schema, name, value)))?;
    let mut decoder = arrow_json::ReaderBuilder::new(schema).with_batch_size(rows.len()).build_decoder()?;
    decoder.serialize(rows)?;
    decoder.flush()?.context("there are no rows")
}

/// Arrow cuts fractions off and takes an instant without an offset for UTC.
fn is_exact(schema: &Schema, name: &str, value: &Value) -> anyhow::Result<()> {
    match (schema.field_with_name(name)?.data_type(), value) {
        (DataType::Int64, Value::Number(number)) => ensure!(number.is_i64(), "{name}: {number} is no integer of 64 bits"),
        (DataType::Timestamp(..), Value::String(text)) => {
            let written = || format!("{name}: '{text}' is no instant with an offset: write it as 2026-03-31T09:00:00+08:00");
            text.parse::<jiff::Timestamp>().with_context(written)?;
        }
        _ => {}
    }
    Ok(())
}

fn data_type(name: &str) -> anyhow::Result<DataType> {
    Ok(match name {
        "text" => DataType::Utf8,
        "integer" => DataType::Int64,
        "real" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "day" => DataType::Date32,
        "instant" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        other => bail!("the kernel has a column type '{other}' that this command does not know: use the command of the same version"),
    })
}

fn ipc(batch: &RecordBatch) -> anyhow::Result<Vec<u8>> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(batch)?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use backplane_proto::warehouse::v1::Column;

    use super::*;

    fn dataset() -> Dataset {
        let column = |name: &str, r#type: &str| Column { name: name.to_owned(), r#type: r#type.to_owned(), ..Column::default() };
        let columns = [("id", "text"), ("count", "integer"), ("share", "real"), ("ok", "boolean"), ("day", "day"), ("at", "instant")];
        Dataset { name: "visit".to_owned(), columns: columns.map(|(name, r#type)| column(name, r#type)).to_vec(), ..Dataset::default() }
    }

    fn rows(text: &str) -> anyhow::Result<BTreeMap<City, Vec<Map<String, Value>>>> {
        by_city(text, "440600".parse().unwrap())
    }

    #[test]
    fn rows_are_columns_of_the_contracts_types_in_their_cities() {
        let rows =
            rows("{\"id\": \"a\", \"count\": 3, \"day\": \"2026-03-01\", \"at\": \"2026-03-01T08:00:00+08:00\"}\n\n{\"id\": \"b\", \"city\": \"441900\"}\n")
                .unwrap();
        let counts: Vec<(String, usize)> = rows.iter().map(|(city, rows)| (city.to_string(), rows.len())).collect();
        assert_eq!(counts, [("440600".to_owned(), 1), ("441900".to_owned(), 1)]);
        let batch = batch(&dataset(), &rows[&"440600".parse().unwrap()]).unwrap();
        let names: Vec<&str> = batch.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!((batch.num_rows(), names), (1, vec!["at", "count", "day", "id"]));
        let at = arrow_array::cast::AsArray::as_primitive::<arrow_array::types::TimestampMicrosecondType>(batch.column(0)).value(0);
        assert_eq!(at, 1_772_323_200_000_000);
    }

    #[test]
    fn what_is_no_row_is_named_by_its_line_or_column() {
        for (text, said) in [("{\"id\": 1}\n[]", "line 2 is no JSON object"), ("{\"city\": 1}", "line 1: the city"), ("{\"city\": \"1\"}", "line 1")] {
            let error = format!("{:#}", rows(text).unwrap_err());
            assert!(error.contains(said), "{error}");
        }
        let error = |text: &str| format!("{:#}", batch(&dataset(), rows(text).unwrap().values().next().unwrap()).unwrap_err());
        assert!(error("{\"idd\": \"a\"}").contains("'visit' has no column 'idd': it has id, count"));
        assert!(error("{\"count\": \"many\"}").contains("many"), "{}", error("{\"count\": \"many\"}"));
        assert!(error("{}").contains("no column"));
        assert!(error("{\"count\": 19.9}").contains("count: 19.9 is no integer"));
        assert!(error("{\"at\": \"2026-03-01T08:00:00\"}").contains("no instant with an offset"));
    }
}
