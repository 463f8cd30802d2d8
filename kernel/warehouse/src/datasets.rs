use std::sync::Arc;

use arrow_array::{cast::AsArray, types::Int64Type, types::TimestampMicrosecondType};
use backplane_proto::warehouse::v1::{Column, Dataset, DatasetContract as DatasetDocument, ListDatasetsResponse};
use datafusion::{
    common::TableReference,
    prelude::{col, lit},
};
use futures::TryStreamExt;
use kernel_base::{CallContext, Page};

use crate::{
    append::tables,
    contract::{Class, DatasetContract, Mode},
    contracts::Contracts,
    error::WarehouseError,
    guard::{
        Policy,
        cells::{CellColumn, Cells},
        session::{Catalog, MemoryUse},
    },
    lake::TableName,
    timestamp::timestamp,
    warehouse::Inner,
};

/// Pages through the datasets that the caller may read, by name.
pub(crate) async fn list(inner: &Inner, context: &CallContext, page: &Page) -> Result<ListDatasetsResponse, WarehouseError> {
    let contracts = inner.contracts.datasets();
    let readable = contracts.iter().filter(|contract| page.after.as_ref().is_none_or(|after| contract.name > *after));
    let mut datasets = Vec::new();
    for contract in readable {
        if let Some(seen) = Seen::of(contract, context) {
            datasets.push(dataset(inner, context, contract, seen).await?);
        }
        if datasets.len() > page.size {
            break;
        }
    }
    let next_page_token = page.finish(&mut datasets, |dataset| dataset.name.clone());
    Ok(ListDatasetsResponse { datasets, next_page_token })
}

/// One dataset, as the caller may see it.
///
/// # Errors
/// RESOURCE_NOT_FOUND when there is none or it may not be read; the two look the same.
pub(crate) async fn describe(inner: &Inner, context: &CallContext, name: &str) -> Result<Dataset, WarehouseError> {
    let unknown = || WarehouseError::DatasetUnknown { dataset: name.chars().take(80).collect() };
    let contracts = inner.contracts.datasets();
    let contract = contracts.get(name).ok_or_else(unknown)?;
    let seen = Seen::of(contract, context).ok_or_else(unknown)?;
    dataset(inner, context, contract, seen).await
}

/// How a caller sees a dataset.
enum Seen {
    InRows(Policy),
    InCells(Cells),
}

impl Seen {
    fn of(contract: &Arc<DatasetContract>, context: &CallContext) -> Option<Seen> {
        let in_cells = || Cells::of(contract, &context.rights).map(Seen::InCells);
        Policy::of(contract, &context.rights).map(Seen::InRows).or_else(in_cells)
    }
}

/// The contract of a dataset as it was written.
///
/// # Errors
/// RESOURCE_NOT_FOUND.
pub(crate) async fn contract(contracts: &Contracts, name: &str) -> Result<DatasetDocument, WarehouseError> {
    let unknown = || WarehouseError::DatasetUnknown { dataset: name.chars().take(80).collect() };
    let row = contracts.dataset_rows().await?.into_iter().find(|row| row.name == name).ok_or_else(unknown)?;
    let written_at = Some(timestamp(row.written_at));
    Ok(DatasetDocument { name: row.name, revision: row.revision, document: row.document, written_at, written_by: row.written_by })
}

async fn dataset(inner: &Inner, context: &CallContext, contract: &DatasetContract, seen: Seen) -> Result<Dataset, WarehouseError> {
    let (columns, key, rows) = match &seen {
        Seen::InRows(policy) => {
            let visible_key = contract.key.iter().filter(|key| contract.column(key).is_some_and(|(index, _)| policy.shown(index).is_some()));
            (columns(contract, policy), visible_key.cloned().collect(), rows(inner, context, contract).await?)
        }
        Seen::InCells(cells) => (cells.columns.iter().map(cell_column).collect(), Vec::new(), 0),
    };
    Ok(Dataset {
        name: contract.name.clone(),
        purpose: contract.purpose.clone(),
        columns,
        key,
        mode: match contract.mode {
            Mode::Append => "append",
            Mode::Latest => "latest",
        }
        .to_owned(),
        owner: contract.owner.clone(),
        rows,
        last_appended_at: last_appended_at(inner, context, contract).await?.map(timestamp),
        minimum_group: if contract.aggregated_by.is_empty() { 0 } else { i32::try_from(contract.minimum_group).unwrap_or(i32::MAX) },
        aggregates_only: matches!(seen, Seen::InCells(_)),
    })
}

fn cell_column(column: &CellColumn) -> Column {
    Column {
        name: column.name.clone(),
        r#type: column.column_type.name().to_owned(),
        nullable: true,
        unit: column.unit.clone().unwrap_or_default(),
        meaning: column.meaning.clone(),
        class: Class::Internal.name().to_owned(),
        masked: false,
    }
}

fn columns(contract: &DatasetContract, policy: &Policy) -> Vec<Column> {
    let shown = contract.columns.iter().enumerate().filter_map(|(index, column)| policy.shown(index).map(|shown| (column, shown)));
    shown
        .map(|(column, shown)| Column {
            name: column.name.clone(),
            r#type: column.column_type.name().to_owned(),
            nullable: column.nullable || shown.mask.is_some(),
            unit: column.unit.clone().unwrap_or_default(),
            meaning: column.meaning.clone(),
            class: column.class.name().to_owned(),
            masked: column.class == Class::Personal && shown.mask.is_some(),
        })
        .collect()
}

/// Counted through the guard, like any query of the caller's.
async fn rows(inner: &Inner, context: &CallContext, contract: &DatasetContract) -> Result<i64, WarehouseError> {
    let (snapshot, memory_bytes_max) = (inner.lake.newest(), inner.settings.query.memory_bytes_max);
    let session = inner.sessions.at(snapshot, 0, memory_bytes_max);
    let planner = session.planner(&Catalog { datasets: &inner.contracts.datasets(), rights: &context.rights, with_origin: false })?;
    let counting = async {
        let plan = planner.create_logical_plan(&format!("SELECT count(*) FROM {}", TableReference::from(contract.name.as_str()).to_quoted_string())).await?;
        session.run(session.lay_out(&planner.optimize(&plan)?, MemoryUse::AsAsked).await?, MemoryUse::AsAsked)?.try_collect::<Vec<_>>().await
    };
    let counts = counting.await.map_err(|source| WarehouseError::Storage { doing: "counting the rows of a dataset", source: Box::new(source) })?;
    Ok(counts.iter().map(|batch| batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>()).sum())
}

/// When a batch came for a city that the caller sees.
async fn last_appended_at(inner: &Inner, context: &CallContext, contract: &DatasetContract) -> Result<Option<i64>, WarehouseError> {
    let Some(right) = context.rights.dataset(&contract.name) else {
        return Ok(None);
    };
    let mut condition = col("dataset").eq(lit(contract.name.as_str()));
    if !right.cities.is_province() {
        let cities = right.cities.codes().into_iter().chain([kernel_base::City::PROVINCE.to_string()]);
        condition = condition.and(col("city").in_list(cities.map(lit).collect(), false));
    }
    let batches = inner.lake.rows(inner.lake.newest(), &TableName::kernel(tables::BATCH), Some(condition), &["committed_at", "rows"]).await?;
    let instants = batches.iter().flat_map(|batch| {
        let (instants, rows) = (batch.column(0).as_primitive::<TimestampMicrosecondType>(), batch.column(1).as_primitive::<Int64Type>());
        instants.values().iter().zip(rows.values()).filter(|(_, rows)| **rows > 0).map(|(at, _)| *at).collect::<Vec<_>>()
    });
    Ok(instants.max())
}
