use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, cast::AsArray, types::Int64Type};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use backplane_proto::{
    ingest::v1::{
        AppendRequest, AppendResponse, FileHeader, ImportFileRequest, ImportResult, ListQuarantineRequest, QuarantinedRow, import_file_request,
        import_file_response, ingest_client::IngestClient, ingest_server::IngestServer,
    },
    warehouse::v1::{QueryRequest, warehouse_client::WarehouseClient, warehouse_server::WarehouseServer},
};
use kernel_base::{ActingBus, BusClient, BusService, CallContext, Caller, City, Clock, Principal, PrincipalKind, Rights, TraceId};
use kernel_storage::RowStore;
use kernel_warehouse::{Warehouse, WarehouseSettings};
use tempfile::TempDir;
use tonic::{Status, service::Routes};
use tonic_types::StatusExt;
use tower::ServiceExt;

/// 2026-01-01 00:00 UTC.
pub(crate) const NOW: i64 = 1_767_225_600_000_000;

/// A warehouse in a folder of its own.
pub(crate) struct Kernel {
    pub(crate) warehouse: Warehouse,
    pub(crate) settings: WarehouseSettings,
    /// Stands still at [`NOW`] until a test moves it on.
    pub(crate) clock: Clock,
    _dir: TempDir,
}

/// The answer to a query.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) snapshot_id: i64,
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

impl Kernel {
    pub(crate) async fn start() -> Kernel {
        Kernel::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut WarehouseSettings)) -> Kernel {
        let dir = TempDir::new().unwrap();
        let mut settings = WarehouseSettings::in_dir(dir.path().join("warehouse"));
        // Never: tests count snapshots, and merges are some.
        settings.rest = Duration::from_hours(1);
        change(&mut settings);
        let clock = Clock::set_to(NOW);
        let warehouse = open(&settings, &clock).await;
        Kernel { warehouse, settings, clock, _dir: dir }
    }

    /// The same folder opened again, as after a stop.
    pub(crate) async fn restarted(self, change: impl FnOnce(&mut WarehouseSettings)) -> Kernel {
        let Kernel { warehouse, mut settings, clock, _dir } = self;
        warehouse.close().await;
        drop(warehouse);
        change(&mut settings);
        let warehouse = open(&settings, &clock).await;
        Kernel { warehouse, settings, clock, _dir }
    }

    pub(crate) async fn append(&self, context: &CallContext, key: &str, rows: &RecordBatch) -> Result<AppendResponse, Status> {
        self.append_bytes(context, "interaction", key, ipc(rows)).await
    }

    pub(crate) async fn append_bytes(&self, context: &CallContext, dataset: &str, key: &str, ipc: Vec<u8>) -> Result<AppendResponse, Status> {
        let mut client = self.ingest(context);
        let request = AppendRequest { dataset: dataset.to_owned(), ipc: ipc.into(), idempotency_key: key.to_owned(), ..AppendRequest::default() };
        client.append(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn import(&self, context: &CallContext, feed: &str, file_name: &str, bytes: &[u8]) -> Result<ImportResult, Status> {
        let header = FileHeader { feed: feed.to_owned(), file_name: file_name.to_owned(), size_bytes: bytes.len() as i64, ..FileHeader::default() };
        self.import_parts(context, header, bytes).await
    }

    pub(crate) async fn import_parts(&self, context: &CallContext, header: FileHeader, bytes: &[u8]) -> Result<ImportResult, Status> {
        let mut client = self.ingest(context);
        let mut parts = vec![ImportFileRequest { part: Some(import_file_request::Part::Header(header)) }];
        let chunks = bytes.chunks(100_000).map(|chunk| ImportFileRequest { part: Some(import_file_request::Part::Chunk(chunk.to_vec().into())) });
        parts.extend(chunks);
        let mut answers = client.import_file(tokio_stream::iter(parts)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            if let Some(import_file_response::Part::Result(result)) = answer.part {
                return Ok(result);
            }
        }
        Err(Status::internal("the answers ended without a result"))
    }

    pub(crate) async fn quarantine(&self, context: &CallContext, feed: &str) -> Vec<QuarantinedRow> {
        let request = ListQuarantineRequest { feed: feed.to_owned(), page_size: 1_000, ..ListQuarantineRequest::default() };
        self.ingest(context).list_quarantine(request).await.unwrap().into_inner().rows
    }

    pub(crate) fn ingest(&self, context: &CallContext) -> IngestClient<ActingBus> {
        IngestClient::new(bus(&self.warehouse).acting(context.clone())).max_encoding_message_size(64 << 20)
    }

    pub(crate) fn reading(&self, context: &CallContext) -> WarehouseClient<ActingBus> {
        WarehouseClient::new(bus(&self.warehouse).acting(context.clone()))
    }

    pub(crate) async fn query(&self, context: &CallContext, sql: &str) -> Result<Answer, Status> {
        self.ask(context, QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() }).await
    }

    pub(crate) async fn ask(&self, context: &CallContext, request: QueryRequest) -> Result<Answer, Status> {
        let mut client = self.reading(context);
        let mut answers = client.query(request).await?.into_inner();
        let (mut ipc, mut snapshot_id, mut rows) = (Vec::new(), 0, None);
        while let Some(answer) = answers.message().await? {
            snapshot_id = snapshot_id.max(answer.snapshot_id);
            ipc.extend_from_slice(&answer.ipc);
            rows = answer.statistics.map(|statistics| statistics.rows).or(rows);
        }
        let reader = StreamReader::try_new(ipc.as_slice(), None).unwrap();
        let schema = reader.schema();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        assert_eq!(rows, Some(batches.iter().map(|batch| batch.num_rows() as i64).sum()), "the last answer counts the rows");
        Ok(Answer { snapshot_id, schema, batches })
    }

    /// The only number of an answer.
    pub(crate) async fn number(&self, context: &CallContext, sql: &str) -> i64 {
        let answer = self.query(context, sql).await.unwrap();
        answer.batches.iter().find(|batch| batch.num_rows() > 0).unwrap().column(0).as_primitive::<Int64Type>().value(0)
    }

    /// The rows of an answer as text, cells joined by `|`.
    pub(crate) async fn table(&self, context: &CallContext, sql: &str) -> Vec<String> {
        self.query(context, sql).await.unwrap().lines()
    }
}

impl Answer {
    pub(crate) fn lines(&self) -> Vec<String> {
        let options = FormatOptions::default().with_null("null");
        let line = |batch: &RecordBatch, row: usize| {
            let cells = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string());
            cells.collect::<Vec<_>>().join("|")
        };
        self.batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| line(batch, row)).collect::<Vec<_>>()).collect()
    }
}

async fn open(settings: &WarehouseSettings, clock: &Clock) -> Warehouse {
    std::fs::create_dir_all(&settings.dir).unwrap();
    let rows = RowStore::open(&settings.dir.join("rows.db")).await.unwrap();
    Warehouse::open(settings.clone(), rows, clock.clone()).await.unwrap()
}

/// The two services as the bus mounts them; the context travels in the request.
fn bus(warehouse: &Warehouse) -> BusClient {
    let bus = BusClient::default();
    let routes = Routes::new(IngestServer::new(warehouse.ingest_service())).add_service(WarehouseServer::new(warehouse.warehouse_service(bus.clone())));
    bus.bind(BusService::new(move |context, mut request| {
        request.extensions_mut().insert(context);
        let routes = routes.clone();
        async move { routes.oneshot(request).await.unwrap() }
    }));
    bus
}

/// A caller with permissions, each in the given cities.
pub(crate) fn caller(id: &str, grants: &[(&str, &[&str])]) -> CallContext {
    let grants = grants.iter().map(|(permission, cities)| (permission.parse().unwrap(), cities.iter().map(|city| city.parse::<City>().unwrap()).collect()));
    CallContext {
        caller: Caller::Known(Principal { id: id.parse().unwrap(), kind: PrincipalKind::Service }),
        actor: None,
        rights: Arc::new(Rights::new(grants)),
        city: None,
        deadline: Instant::now() + Duration::from_secs(120),
        trace: TraceId([7; 16]),
        chain: Vec::new(),
    }
}

/// May do everything in one city.
pub(crate) fn city_caller(city: &str) -> CallContext {
    caller(&format!("all-{city}"), &[("*", &[city])])
}

pub(crate) fn province() -> CallContext {
    caller("central", &[("*", &["440000"])])
}

/// May query and read all datasets of one city, personal columns masked.
pub(crate) fn reader(city: &str) -> CallContext {
    caller(&format!("reader-{city}"), &[("warehouse.query", &[city]), ("dataset.read:*", &[city])])
}

pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

pub(crate) fn ipc(rows: &RecordBatch) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(rows).unwrap();
    writer.into_inner().unwrap()
}

/// Interactions with the columns that must be there: `count` of them, one a minute, on `page`.
pub(crate) fn interactions(prefix: &str, page: &str, count: usize) -> RecordBatch {
    let text = |value: &dyn Fn(usize) -> String| Arc::new(StringArray::from_iter_values((0..count).map(value))) as ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("event_id", text(&|row| format!("{prefix}-{row}"))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values((0..count).map(|row| NOW + row as i64 * 60_000_000)).with_timezone("UTC"))),
        ("session_id", text(&|_| format!("{prefix}-session"))),
        ("visitor_id", text(&|_| format!("{prefix}-visitor"))),
        ("channel_id", text(&|_| "web".to_owned())),
        ("page", text(&|_| page.to_owned())),
        ("action", text(&|_| "view".to_owned())),
        ("status", Arc::new(Int64Array::from_iter_values((0..count).map(|_| 200)))),
        ("ok", Arc::new(arrow_array::BooleanArray::from(vec![true; count]))),
        ("client_address", text(&|row| format!("83.149.{}.{}", row % 200, row % 250))),
    ];
    let fields = columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), false)).collect::<Vec<_>>();
    assert_eq!(fields[1].data_type(), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

/// A line of a combined log at `minute` of 17 May 2015, 10 o'clock UTC.
pub(crate) fn log_line(address: &str, minute: u32, request: &str, status: u16) -> String {
    format!("{address} - - [17/May/2015:{:02}:{:02}:03 +0000] \"{request}\" {status} 512 \"-\" \"Mozilla/5.0\"\n", 10 + minute / 60, minute % 60)
}
