use arrow_array::{Array, RecordBatch, cast::AsArray, types::TimestampMicrosecondType};
use backplane_proto::ingest::v1::{AppendRequest, AppendResponse};
use kernel_base::{CallContext, City, PrincipalId};
use sha2::{Digest, Sha256};

use super::{Batch, Begun, Change, Settled, Source, incoming};
use crate::{
    contract::{DatasetContract, Visibility},
    error::WarehouseError,
    warehouse::Inner,
};

// Limit: characters of an idempotency key, as the contract of Append says.
const KEY_CHARACTERS_MAX: usize = 200;

/// `Ingest.Append`: rows of a caller into one dataset, in the city of the call.
pub(crate) async fn append(inner: &Inner, context: &CallContext, request: AppendRequest) -> Result<AppendResponse, WarehouseError> {
    begin(inner, context, request)?.end(inner, context).await
}

/// An append that is on its way to its commit.
pub(crate) struct BegunAppend {
    key: String,
    dataset: String,
    begun: Begun,
}

/// The first half of an append: of two that change the same rows, the one that is begun first is committed first. On the engine's threads, as the second half.
pub(crate) fn begin(inner: &Inner, context: &CallContext, request: AppendRequest) -> Result<BegunAppend, WarehouseError> {
    let key = &request.idempotency_key;
    if key.is_empty() || key.chars().count() > KEY_CHARACTERS_MAX || key.chars().any(char::is_control) {
        let problem = "a key has 1 to 200 characters, none of them a control character: it makes the append safe to repeat".to_owned();
        return Err(WarehouseError::FieldInvalid { field: "idempotency_key", problem });
    }
    let city = context.required_city("ingest.append")?;
    context.require("dataset.write", Some(&request.dataset), city)?;
    let unknown = || WarehouseError::DatasetNotWritable { dataset: request.dataset.chars().take(80).collect() };
    let contract = inner.contracts.datasets().get(&request.dataset).ok_or_else(unknown)?.clone();
    if contract.visibility == Visibility::Shared {
        // Rows that every city reads are the province's to write.
        context.require("dataset.write", Some(&request.dataset), City::PROVINCE)?;
    }
    let rows = incoming::rows(&contract, city, &request)?;
    let batch = Batch {
        key: format!("append/{}/{key}", owner(context)),
        digest: digest(&contract, city, &rows)?,
        source: Source::Append,
        principal: context.caller_id().to_owned(),
        newest_at: newest_at(&contract, &rows),
        dataset: contract,
        city,
        feed: None,
        file: None,
        change: Change::Add { rows, duplicates: 0, aside: None, restates: None, settled: Settled::default() },
        quarantined: Vec::new(),
        resolved: Vec::new(),
    };
    Ok(BegunAppend { begun: inner.appender.begin_commit(batch), key: request.idempotency_key, dataset: request.dataset })
}

impl BegunAppend {
    pub(crate) async fn end(self, inner: &Inner, context: &CallContext) -> Result<AppendResponse, WarehouseError> {
        let BegunAppend { key, dataset, begun } = self;
        let committed = inner.appender.end_commit(begun).await.map_err(|error| match error {
            WarehouseError::IdempotencyKeyReused { .. } => WarehouseError::IdempotencyKeyReused { key },
            error => error,
        })?;
        if !committed.repeated {
            inner.importer.replay_after_append(&dataset, context.caller_id());
        }
        Ok(AppendResponse { snapshot_id: committed.snapshot_id, rows: i64::try_from(committed.rows).unwrap_or(i64::MAX), repeated_batch: committed.repeated })
    }
}

/// What the rows of a request take while they wait.
pub(crate) fn bytes(request: &AppendRequest) -> usize {
    request.ipc.len() + request.rows_json.len()
}

/// Whose key it is: the deployment's when a plugin acts, whoever called it.
fn owner(context: &CallContext) -> String {
    match &context.actor {
        Some(actor) => PrincipalId::of_deployment(&actor.plugin, actor.city).to_string(),
        None => context.caller_id().to_owned(),
    }
}

/// Of the rows as they are stored, so that the same rows are the same content however they were encoded.
fn digest(contract: &DatasetContract, city: City, rows: &RecordBatch) -> Result<String, WarehouseError> {
    let mut encoded = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &rows.schema()).map_err(WarehouseError::broken)?;
    encoded.write(rows).map_err(WarehouseError::broken)?;
    let bytes = encoded.into_inner().map_err(WarehouseError::broken)?;
    let mut digest = Sha256::new();
    digest.update(format!("{}\n{city}\n", contract.name));
    digest.update(&bytes);
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn newest_at(contract: &DatasetContract, rows: &RecordBatch) -> Option<i64> {
    let (index, _) = contract.column("at")?;
    let instants = rows.column(index).as_primitive_opt::<TimestampMicrosecondType>()?;
    (0..instants.len()).filter(|row| !instants.is_null(*row)).map(|row| instants.value(row)).max()
}
