//! SQL through the doors: what a city sees, what is refused, and the outputs.

use arrow_array::{cast::AsArray, types::Int64Type};
use backplane_proto::{
    auth::v1::{CreateRoleRequest, GrantRoleRequest, Role},
    ingest::v1::AppendRequest,
    warehouse::v1::{DescribeDatasetRequest, QueryRequest},
};
use backplane_tests::{Call, DONGGUAN, FOSHAN, Kernel, excerpt, reason};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::doors::post;

const READ: &[&str] = &["warehouse.query", "dataset.read:interaction"];

async fn with_both_cities() -> Kernel {
    let kernel = Kernel::start().await;
    let text = std::fs::read_to_string(excerpt()).unwrap();
    let half: usize = text.lines().take(120).map(|line| line.len() + 1).sum();
    for (city, part) in [(FOSHAN, &text[..half]), (DONGGUAN, &text[half..])] {
        let path = kernel.dir().join(format!("portal.access.{city}.20150517.log"));
        std::fs::write(&path, part).unwrap();
        kernel.cli_ok(&["feed", "import", "portal.access", path.to_str().unwrap(), "--city", city]);
    }
    kernel
}

async fn refused(call: &Call, request: QueryRequest) -> Status {
    let sql = request.sql.clone();
    match call.warehouse().query(request).await {
        Err(status) => status,
        Ok(answers) => {
            let mut answers = answers.into_inner();
            loop {
                match answers.message().await {
                    Err(status) => return status,
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("answered without an error: {sql}"),
                }
            }
        }
    }
}

fn sql(text: &str) -> QueryRequest {
    QueryRequest { sql: text.to_owned(), ..QueryRequest::default() }
}

#[tokio::test]
async fn a_city_sees_its_own_rows_whatever_it_asks() {
    let kernel = with_both_cities().await;
    let count = "select count(*) from interaction";
    let all = kernel.call.number(count).await.unwrap();
    let foshan = kernel.call.with_token(&kernel.account("foshan", READ, &[FOSHAN]).await);
    let dongguan = kernel.call.with_token(&kernel.account("dongguan", READ, &[DONGGUAN]).await);
    let (of_foshan, of_dongguan) = (foshan.number(count).await.unwrap(), dongguan.number(count).await.unwrap());
    assert!(of_foshan > 0 && of_dongguan > 0 && of_foshan + of_dongguan == all);
    for text in [
        "select count(*) from interaction where city = '441900'",
        "select count(*) from interaction where (city <> '440600' or 1 = 1) and city = '441900'",
        "select count(*) from (select * from interaction union all select * from interaction) where city like '4419%'",
        "select count(*) from interaction a join interaction b on a.event_id = b.event_id where b.city = '441900'",
    ] {
        assert_eq!(foshan.number(text).await.unwrap(), 0, "{text}");
    }
    let status = refused(&foshan.in_city(DONGGUAN), sql("select 1")).await;
    assert_eq!(reason(&status), "PERMISSION_MISSING");
}

#[tokio::test]
async fn a_table_that_is_not_granted_is_like_one_that_never_was() {
    let kernel = with_both_cities().await;
    let foshan = kernel.call.with_token(&kernel.account("foshan", READ, &[FOSHAN]).await);
    let hidden = refused(&foshan, sql("select * from city")).await;
    let missing = refused(&foshan, sql("select * from nope")).await;
    assert_eq!(hidden.code(), Code::InvalidArgument);
    assert_eq!(hidden.message().replace("city", "nope"), missing.message());
    let status = foshan.warehouse().describe_dataset(DescribeDatasetRequest { dataset: "city".to_owned() }).await.unwrap_err();
    assert_eq!(reason(&status), "RESOURCE_NOT_FOUND");
}

#[tokio::test]
async fn only_a_select_is_run() {
    let kernel = with_both_cities().await;
    for text in [
        "insert into interaction select * from interaction",
        "delete from interaction",
        "drop table interaction",
        "create table copied as select * from interaction",
        "copy interaction to '/tmp/leak.csv'",
        "set datafusion.execution.batch_size = 1",
        "explain select * from interaction",
        "select 1; select 2",
        "create external table passwords stored as csv location '/etc/passwd'",
    ] {
        let status = refused(&kernel.call, sql(text)).await;
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "SQL_REFUSED"), "{text}: {status:?}");
    }
    for text in ["selekt 1", "select nothing from interaction", "select * from information_schema.tables", "select * from '/etc/passwd'", ""] {
        let status = refused(&kernel.call, sql(text)).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{text}: {status:?}");
        assert!(!status.message().is_empty());
    }
}

#[tokio::test]
async fn personal_columns_are_masked_and_others_exist_only_when_granted() {
    let kernel = with_both_cities().await;
    let account = async |id: &str, permissions: &[&str]| kernel.call.with_token(&kernel.account(id, permissions, &[FOSHAN]).await);
    let masked = account("masked", READ).await;
    let shown = account("shown", &["warehouse.query", "dataset.read:interaction", "dataset.unmask:interaction"]).await;
    let whole = "select count(*) from interaction where client_address ~ '^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$'";
    assert_eq!(masked.number(whole).await.unwrap(), 0);
    assert!(shown.number(whole).await.unwrap() > 0);
    let page = account("page", &["warehouse.query", "dataset.read:interaction(page)"]).await;
    assert!(page.number("select count(page) from interaction").await.unwrap() > 0);
    assert_eq!(refused(&page, sql("select user_agent from interaction")).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_city_compares_itself_with_cells_of_the_province() {
    let kernel = Kernel::start().await;
    for (city, customers) in [(FOSHAN, 0..12), (DONGGUAN, 100..130), ("440100", 200..203)] {
        let use_of = |customer: i64| {
            json!({"customer_id": customer, "product_id": "P1", "day": "2026-01-05", "source_feed": "test", "events": 1, "quantity": 0, "seconds": 0, "kb": 0, "fee_fen": 5,
                   "ok_events": 1, "failed_events": 0})
            .to_string()
        };
        let rows_json = customers.map(use_of).collect::<Vec<_>>().join("\n");
        let request = AppendRequest { dataset: "usage".to_owned(), idempotency_key: city.to_owned(), rows_json, ..AppendRequest::default() };
        kernel.call.in_city(city).ingest().append(request).await.unwrap();
    }
    let cells = kernel.account("cells", &["warehouse.query", "dataset.aggregate:usage"], &["440000"]).await;
    let listed = kernel.cli_ok(&["tables", "--token", &cells]);
    assert!(listed.contains("aggregates.usage") && listed.contains("cells of 10 or more") && !listed.contains("interaction"), "{listed}");
    let described = kernel.cli_ok(&["tables", "usage", "--token", &cells]);
    assert!(described.contains("aggregates.usage: ") && described.contains("customer_count"), "{described}");
    let compared = "select city, row_count, fee_fen from aggregates.usage order by city";
    assert_eq!(kernel.cli_ok(&["query", compared, "--format", "csv", "--token", &cells]), "city,row_count,fee_fen\n440600,12,60\n441900,30,150\n");
    assert_eq!(refused(&kernel.call.with_token(&cells), sql("select count(*) from usage")).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn leaving_the_city_out_opens_no_city_that_naming_it_would_not() {
    let kernel = with_both_cities().await;
    let mut auth = kernel.call.auth();
    let token = kernel.account("mixed", &["dataset.read:interaction"], &[FOSHAN, DONGGUAN]).await;
    let role = Role { role_id: "query".to_owned(), display_name: String::new(), permissions: vec!["warehouse.query".to_owned()] };
    auth.create_role(CreateRoleRequest { role: Some(role) }).await.unwrap();
    let grant = GrantRoleRequest { principal_id: "mixed".to_owned(), role_id: "query".to_owned(), cities: vec![FOSHAN.to_owned()] };
    auth.grant_role(grant).await.unwrap();
    let mixed = kernel.call.with_token(&token);
    assert_eq!(reason(&refused(&mixed.in_city(DONGGUAN), sql("select 1")).await), "PERMISSION_MISSING");
    assert!(mixed.number("select count(*) from interaction").await.unwrap() > 0);
    assert_eq!(mixed.number("select count(*) from interaction where city = '441900'").await.unwrap(), 0);
}

#[tokio::test]
async fn functions_that_make_much_of_little_do_not_exist() {
    let kernel = with_both_cities().await;
    for text in
        ["select array_length(range(0, 1500000000))", "select repeat('x', 2000000000)", "select lpad('x', 2000000000)", "select * from generate_series(1, 9)"]
    {
        assert_eq!(refused(&kernel.call, sql(text)).await.code(), Code::InvalidArgument, "{text}");
    }
}

#[tokio::test]
async fn a_service_writes_rows_as_json_and_any_number_of_them_in_a_stream() {
    let kernel = Kernel::start().await;
    let event = |id: &str, page: &str| {
        json!({"event_id": id, "at": "2026-03-31T23:30:00+08:00", "session_id": "s", "visitor_id": "v", "channel_id": "web", "page": page, "action": "view",
               "status": 200, "ok": true})
    };
    let city = format!("backplane-city: {FOSHAN}");
    let append = |rows: &[Value]| {
        let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let request = json!({"dataset": "interaction", "idempotencyKey": "json", "rowsJson": rows}).to_string();
        post(&kernel, "backplane.ingest.v1.Ingest/Append", &[&city], &request)
    };
    let two = [event("a", "/hall"), event("b", "/hall")];
    let (status, answer) = append(&two);
    assert_eq!((status, &answer["rows"]), (200, &json!("2")), "{answer}");
    assert_eq!(append(&two).1["repeatedBatch"], true);
    let mut bad = event("c", "/hall");
    bad["status"] = json!("fine");
    let (status, answer) = append(&[event("d", "/hall"), bad]);
    assert_eq!(status, 400);
    assert!(answer["message"].as_str().unwrap().contains("row 1, column 'status': expected a whole number"), "{answer}");
    assert_eq!(kernel.call.number("select count(*) from interaction where city = '440600' and day = '2026-03-31'").await.unwrap(), 2);

    let request = move |number: i64| AppendRequest {
        dataset: "interaction".to_owned(),
        idempotency_key: format!("stream-{number}"),
        rows_json: event(&format!("e{number}"), "/stream").to_string(),
        ..AppendRequest::default()
    };
    let mut ingest = kernel.call.in_city(FOSHAN).ingest();
    let mut answers = ingest.append_stream(tokio_stream::iter((0..500).map(request))).await.unwrap().into_inner();
    let mut answered = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        answered += answer.rows;
    }
    assert_eq!((answered, kernel.call.number("select count(*) from interaction where page = '/stream'").await.unwrap()), (500, 500));
    let reader = kernel.call.with_token(&kernel.account("reader", READ, &[FOSHAN]).await);
    let status = reader.ingest().append_stream(tokio_stream::iter([request(1)])).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_MISSING");
}

#[tokio::test]
async fn a_query_beyond_its_limits_says_so() {
    let kernel = with_both_cities().await;
    let status = refused(&kernel.call, QueryRequest { rows_max: 10, ..sql("select * from interaction") }).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "QUERY_ROWS_EXCEEDED"));
    let status = refused(&kernel.call, QueryRequest { snapshot_id: 1 << 40, ..sql("select 1") }).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "SNAPSHOT_UNKNOWN"));
}

#[tokio::test]
async fn an_answer_can_be_kept_as_a_parquet_file() {
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    let kernel = with_both_cities().await;
    let (folder, text) = (tempfile::TempDir::new().unwrap(), "select city, day, at, ok, bytes from interaction order by event_id");
    let file = folder.path().join("answer.parquet");
    std::fs::write(&file, "what was there before").unwrap();
    let said = kernel.cli_ok(&["query", text, "--format", "parquet", "--output", file.to_str().unwrap()]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&file).unwrap()).unwrap();
    let types: Vec<String> = reader.schema().fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    assert_eq!(types, ["city Utf8", "day Date32", "at Timestamp(µs, \"UTC\")", "ok Boolean", "bytes Int64"]);
    let (mut cities, mut bytes) = (Vec::new(), Vec::new());
    for batch in reader.build().unwrap().map(Result::unwrap) {
        cities.extend(batch.column(0).as_string::<i32>().iter().map(|city| json!(city)));
        bytes.extend(batch.column(4).as_primitive::<Int64Type>().iter().map(|bytes| json!(bytes)));
    }
    let printed: Value = serde_json::from_str(&kernel.cli_ok(&["query", text, "--format", "json"])).unwrap();
    let column = |name: &str| printed["rows"].as_array().unwrap().iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!((cities, bytes), (column("city"), column("bytes")));
    let rows = column("city").len();
    assert!(said.starts_with(&format!("{rows} rows of snapshot")) && rows > 0, "{said}");

    let empty = folder.path().join("empty.parquet");
    kernel.cli_ok(&["query", "select city from interaction where false", "--format", "parquet", "--output", empty.to_str().unwrap()]);
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&empty).unwrap()).unwrap();
    assert_eq!((reader.schema().fields().len(), reader.metadata().file_metadata().num_rows()), (1, 0));

    let csv = folder.path().join("answer.csv");
    kernel.cli_ok(&["query", "select count(*) as requests from interaction", "--format", "csv", "--output", csv.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&csv).unwrap(), format!("requests\n{rows}\n"));
    let said = kernel.cli_ok(&["query", "select 1 as one", "--json", "--output", csv.to_str().unwrap()]);
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["rows"], 1);
    assert_eq!(serde_json::from_str::<Value>(&std::fs::read_to_string(&csv).unwrap()).unwrap()["rows"], json!([{"one": 1}]));
    kernel.cli_ok(&["query", "select 1", "--format", "csv", "--output", "/dev/null"]);
    assert!(!std::path::Path::new("/dev/null").is_file(), "a device stays one");
    assert!(kernel.cli_err(&["query", "select 1", "--json", "--format", "csv"]).contains("--json and --format"));
    let nowhere = folder.path().join("nowhere").join("answer.csv");
    let failed = kernel.cli_err(&["query", "select 1", "--output", nowhere.to_str().unwrap()]);
    assert!(failed.contains("nowhere/answer.csv cannot be written"), "{failed}");
}

#[tokio::test]
async fn the_command_line_follows_what_changed() {
    let kernel = with_both_cities().await;
    let query = |options: &[&str]| -> Value {
        let sql = "select count(*) as n, sum(_change) as came from changes.interaction";
        serde_json::from_str(&kernel.cli_ok(&[&["query", sql, "--json"], options].concat())).unwrap()
    };
    let all = query(&[]);
    assert!(all["rows"][0]["n"].as_i64().unwrap() > 0 && all["rows"][0]["n"] == all["rows"][0]["came"], "{all}");
    let read = all["snapshot_id"].to_string();
    let since = query(&["--changes-after", &read]);
    assert_eq!(since["rows"][0]["n"], 0, "{since}");
    let future = kernel.cli_err(&["query", "select 1 from changes.interaction", "--changes-after", "100000"]);
    assert!(future.contains("there is no snapshot 100000"), "{future}");
}

#[tokio::test]
async fn the_command_line_prints_tables_csv_and_json() {
    let kernel = with_both_cities().await;
    let text = "select city, count(*) as requests from interaction group by city order by city";
    let table = kernel.cli_ok(&["query", text]);
    assert!(table.contains("| requests |") && table.contains("2 rows") && table.contains("snapshot"), "{table}");
    let csv = kernel.cli_ok(&["query", text, "--format", "csv"]);
    assert!(csv.starts_with("city,requests\n440600,"), "{csv}");
    let json: Value = serde_json::from_str(&kernel.cli_ok(&["query", text, "--format", "json"])).unwrap();
    assert_eq!(json["rows"][1]["city"], DONGGUAN);
    let json: Value = serde_json::from_str(&kernel.cli_ok(&["tables", "interaction", "--json"])).unwrap();
    assert!(json["columns"].as_array().unwrap().iter().any(|column| column["name"] == "page"));
    assert!(kernel.cli_ok(&["tables"]).contains("interaction"));
    assert!(kernel.cli_ok(&["tables", "--format", "csv"]).starts_with("dataset,rows"));
}
