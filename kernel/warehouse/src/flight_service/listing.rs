use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock},
};

use arrow_array::{
    RecordBatch,
    builder::{Int32Builder, StringBuilder},
};
use arrow_flight::{
    error::FlightError,
    sql::{
        Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, SqlInfo,
        SqlSupportedCaseSensitivity, SqlSupportedTransaction,
        metadata::{SqlInfoData, SqlInfoDataBuilder},
    },
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use kernel_base::CallContext;

use crate::{
    contract::{DatasetContract, Datasets, Mode},
    error::WarehouseError,
    guard::{
        Policy,
        session::{CATALOG, SCHEMA},
    },
    query::PlainRows,
    warehouse::Inner,
};

const TABLE: &str = "TABLE";

/// What a tool asks about the catalog. Each names only what the caller may read.
pub(super) enum Listing {
    Catalogs(CommandGetCatalogs),
    Schemas(CommandGetDbSchemas),
    Tables(CommandGetTables),
    TableTypes(CommandGetTableTypes),
    PrimaryKeys(CommandGetPrimaryKeys),
    /// There are none.
    ForeignKeys,
    SqlInfo(CommandGetSqlInfo),
}

impl Listing {
    /// The command itself when it asks for something else.
    pub(super) fn of(command: Command) -> Result<Listing, Command> {
        Ok(match command {
            Command::CommandGetCatalogs(command) => Listing::Catalogs(command),
            Command::CommandGetDbSchemas(command) => Listing::Schemas(command),
            Command::CommandGetTables(command) => Listing::Tables(command),
            Command::CommandGetTableTypes(command) => Listing::TableTypes(command),
            Command::CommandGetPrimaryKeys(command) => Listing::PrimaryKeys(command),
            Command::CommandGetExportedKeys(_) | Command::CommandGetImportedKeys(_) | Command::CommandGetCrossReference(_) => Listing::ForeignKeys,
            Command::CommandGetSqlInfo(command) => Listing::SqlInfo(command),
            other => return Err(other),
        })
    }

    pub(super) fn columns(&self) -> SchemaRef {
        match self {
            Listing::Catalogs(command) => command.into_builder().schema(),
            Listing::Schemas(command) => command.clone().into_builder().schema(),
            Listing::Tables(command) => command.clone().into_builder().schema(),
            Listing::TableTypes(command) => command.into_builder().schema(),
            Listing::PrimaryKeys(_) => PRIMARY_KEYS.clone(),
            Listing::ForeignKeys => FOREIGN_KEYS.clone(),
            Listing::SqlInfo(_) => Arc::new(SqlInfoDataBuilder::schema().clone()),
        }
    }

    pub(super) async fn rows(self, inner: &Inner, context: &CallContext) -> Result<RecordBatch, WarehouseError> {
        let datasets = inner.contracts.datasets();
        let shown = || datasets.iter().filter_map(|contract| Policy::of(contract, &context.rights).map(|policy| (contract, policy)));
        match self {
            Listing::Catalogs(command) => {
                let mut catalogs = command.into_builder();
                catalogs.append(CATALOG);
                catalogs.build().map_err(WarehouseError::broken)
            }
            Listing::Schemas(command) => {
                let mut schemas = command.into_builder();
                let names: BTreeSet<_> = shown().map(|(contract, _)| place(contract).0).collect();
                names.iter().for_each(|name| schemas.append(CATALOG, name));
                schemas.build().map_err(WarehouseError::broken)
            }
            Listing::Tables(command) => return tables(inner, context, &datasets, command).await,
            Listing::TableTypes(command) => {
                let mut types = command.into_builder();
                types.append(TABLE);
                types.build().map_err(WarehouseError::broken)
            }
            Listing::PrimaryKeys(command) => primary_keys(shown(), &command).map_err(WarehouseError::broken),
            Listing::ForeignKeys => Ok(RecordBatch::new_empty(FOREIGN_KEYS.clone())),
            Listing::SqlInfo(command) => sql_info().and_then(|known| command.into_builder(&known).build()).map_err(WarehouseError::broken),
        }
    }
}

/// The schema and the table of a dataset in SQL.
fn place(contract: &DatasetContract) -> (&str, &str) {
    contract.name.split_once('.').unwrap_or((SCHEMA, &contract.name))
}

async fn tables(inner: &Inner, context: &CallContext, datasets: &Datasets, command: CommandGetTables) -> Result<RecordBatch, WarehouseError> {
    let with_columns = command.include_schema;
    let session = inner.sessions.at(inner.lake.newest(), 0, inner.settings.query.memory_bytes_max);
    let mut tables = command.into_builder();
    for contract in datasets.iter() {
        if let Some(policy) = Policy::of(contract, &context.rights) {
            let (schema, table) = place(contract);
            let columns = match with_columns {
                true => described(contract, session.columns(contract, policy).await?.as_ref()),
                false => Schema::empty(),
            };
            tables.append(CATALOG, schema, table, TABLE, &columns).map_err(WarehouseError::broken)?;
        }
    }
    tables.build().map_err(WarehouseError::broken)
}

/// Columns in plain types, with what the contract says of them.
fn described(contract: &DatasetContract, columns: &Schema) -> Schema {
    let plain = PlainRows::of(columns).schema;
    let fields = plain.fields().iter().map(|field| {
        let said = contract.column(field.name()).map(|(_, column)| {
            let unit = column.unit.as_ref().map(|unit| format!(" ({unit})")).unwrap_or_default();
            HashMap::from([
                ("ARROW:FLIGHT:SQL:TYPE_NAME".to_owned(), column.column_type.name().to_owned()),
                ("ARROW:FLIGHT:SQL:REMARKS".to_owned(), format!("{}{unit}", column.meaning)),
            ])
        });
        field.as_ref().clone().with_metadata(said.unwrap_or_default())
    });
    Schema::new(fields.collect::<Vec<_>>())
}

/// Of datasets in which a row replaces the earlier one of its key: in others a key may come again.
fn primary_keys<'a>(shown: impl Iterator<Item = (&'a Arc<DatasetContract>, Policy)>, command: &CommandGetPrimaryKeys) -> Result<RecordBatch, ArrowError> {
    let (mut catalogs, mut schemas, mut tables) = (StringBuilder::new(), StringBuilder::new(), StringBuilder::new());
    let (mut columns, mut names, mut numbers) = (StringBuilder::new(), StringBuilder::new(), Int32Builder::new());
    let is_asked = |contract: &DatasetContract| {
        let (schema, table) = place(contract);
        let is = |asked: &Option<String>, name: &str| asked.as_ref().is_none_or(|asked| asked == name);
        contract.mode == Mode::Latest && table == command.table && is(&command.db_schema, schema) && is(&command.catalog, CATALOG)
    };
    for (contract, policy) in shown.filter(|(contract, _)| is_asked(contract)) {
        let (schema, table) = place(contract);
        let is_shown = |key: &&String| contract.column(key).is_some_and(|(index, _)| policy.shown(index).is_some());
        for (number, key) in (1..).zip(contract.key.iter().filter(is_shown)) {
            catalogs.append_value(CATALOG);
            schemas.append_value(schema);
            tables.append_value(table);
            columns.append_value(key);
            names.append_null();
            numbers.append_value(number);
        }
    }
    RecordBatch::try_new(
        PRIMARY_KEYS.clone(),
        vec![
            Arc::new(catalogs.finish()),
            Arc::new(schemas.finish()),
            Arc::new(tables.finish()),
            Arc::new(columns.finish()),
            Arc::new(names.finish()),
            Arc::new(numbers.finish()),
        ],
    )
}

/// What a tool has to know of the dialect.
fn sql_info() -> Result<SqlInfoData, FlightError> {
    let mut known = SqlInfoDataBuilder::new();
    known.append(SqlInfo::FlightSqlServerName, "Backplane");
    known.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    known.append(SqlInfo::FlightSqlServerReadOnly, true);
    known.append(SqlInfo::FlightSqlServerSql, true);
    known.append(SqlInfo::FlightSqlServerSubstrait, false);
    known.append(SqlInfo::FlightSqlServerCancel, false);
    known.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    known.append(SqlInfo::SqlDdlCatalog, false);
    known.append(SqlInfo::SqlDdlSchema, false);
    known.append(SqlInfo::SqlDdlTable, false);
    known.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    known.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    known.build()
}

static PRIMARY_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("catalog_name", true),
        text("db_schema_name", true),
        text("table_name", false),
        text("column_name", false),
        text("key_name", true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
});

static FOREIGN_KEYS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let side = |side: &str| {
        let text = |name: &str, nullable| Field::new(format!("{side}_{name}"), DataType::Utf8, nullable);
        [text("catalog_name", true), text("db_schema_name", true), text("table_name", false), text("column_name", false)]
    };
    let rest = [
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ];
    Arc::new(Schema::new(side("pk").into_iter().chain(side("fk")).chain(rest).collect::<Vec<_>>()))
});
