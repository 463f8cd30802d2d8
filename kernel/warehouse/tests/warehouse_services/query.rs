use std::time::{Duration, Instant};

use backplane_proto::warehouse::v1::{DescribeDatasetRequest, ListDatasetsRequest, Parameter, QueryRequest, parameter};
use tonic::Code;

use crate::kernel::{Kernel, NOW, caller, city_caller, interactions, province, reader, reason};

/// Counts for ever, in little memory.
const ENDLESS: &str = "with recursive numbers as (select 1 as n union all select n + 1 from numbers where n > 0) select max(n) from numbers";

#[tokio::test(flavor = "multi_thread")]
async fn parameters_take_their_places_and_a_missing_one_is_named() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k", &interactions("a", "/home", 10)).await.unwrap();
    let value = |value| Parameter { value: Some(value) };
    let request = QueryRequest {
        sql: "select count(*) from interaction where page = $1 and at >= $2 and day = $3 and ok = $4".to_owned(),
        parameters: vec![
            value(parameter::Value::Text("/home".to_owned())),
            value(parameter::Value::InstantMicros(NOW + 4 * 60_000_000)),
            value(parameter::Value::Day(20_454)),
            value(parameter::Value::Boolean(true)),
        ],
        ..QueryRequest::default()
    };
    assert_eq!(kernel.ask(&foshan, request.clone()).await.unwrap().lines(), ["6"]);
    let fewer = QueryRequest { parameters: request.parameters[..2].to_vec(), ..request };
    let status = kernel.ask(&foshan, fewer).await.unwrap_err();
    assert_eq!(reason(&status), "FIELD_INVALID");
    assert!(status.message().contains('$'), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn question_marks_are_places_in_their_order() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let ask = async |sql: &str, values: &[i64]| {
        let parameters = values.iter().map(|value| Parameter { value: Some(parameter::Value::Integer(*value)) }).collect();
        kernel.ask(&foshan, QueryRequest { sql: sql.to_owned(), parameters, ..QueryRequest::default() }).await
    };
    // Not those within texts, names and comments.
    let sql = "select cast(? as bigint) * 100 + cast(? as bigint) as \"?\" -- ?\nfrom (values ('?')) as texts (text) where text = '?'";
    assert_eq!(ask(sql, &[7, 8]).await.unwrap().lines(), ["708"]);
    let mixed = ask("select cast(? as bigint) + cast($1 as bigint)", &[7, 8]).await.unwrap_err();
    assert!(reason(&mixed) == "SQL_INVALID" && mixed.message().contains("not both"), "{}", mixed.message());
    let fewer = ask("select cast(? as bigint) + cast(? as bigint)", &[7]).await.unwrap_err();
    assert!(reason(&fewer) == "FIELD_INVALID" && fewer.message().contains("$2"), "{}", fewer.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_snapshot_gives_the_same_rows_however_much_comes_later() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let first = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    kernel.append(&foshan, "k2", &interactions("b", "/home", 4)).await.unwrap();
    let pinned = |snapshot_id| QueryRequest { sql: "select count(*) from interaction".to_owned(), snapshot_id, ..QueryRequest::default() };
    let answer = kernel.ask(&foshan, pinned(first.snapshot_id)).await.unwrap();
    assert_eq!((answer.snapshot_id, answer.lines()), (first.snapshot_id, vec!["3".to_owned()]));
    assert_eq!(kernel.ask(&foshan, pinned(0)).await.unwrap().lines(), ["7"]);
    for unknown in [-1, 1_000_000] {
        let status = kernel.ask(&foshan, pinned(unknown)).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "SNAPSHOT_UNKNOWN"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_query_says_how_far_it_is_to_who_asks() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k", &interactions("a", "/home", 3_000)).await.unwrap();
    // Nine million pairs, long after their rows were read.
    let pairs = "select count(distinct a.event_id || b.event_id) from interaction a cross join interaction b";
    let counting = "with recursive numbers as (select 1 as n union all select n + 1 from numbers where n < 20000) select count(*) as n from numbers";
    let told = async |sql: &str, tells_progress| {
        let request = QueryRequest { sql: sql.to_owned(), tells_progress, memory_bytes_max: 1 << 30, ..QueryRequest::default() };
        let mut answers = kernel.reading(&foshan).query(request).await.unwrap().into_inner();
        let (mut told, mut rows) = (Vec::new(), 0);
        while let Some(answer) = answers.message().await.unwrap() {
            if let Some(progress) = answer.progress {
                assert!(answer.ipc.is_empty() && rows == 0 && progress.elapsed_micros >= 250_000, "{progress:?}");
                told.push(progress.permille);
            }
            rows += answer.statistics.map_or(0, |statistics| statistics.rows);
        }
        assert_eq!(rows, 1);
        told
    };
    let permille = told(pairs, true).await;
    assert!(permille.last() == Some(&1_000) && permille.is_sorted(), "{permille:?}");
    let permille = told(counting, true).await;
    assert!(!permille.is_empty() && permille.iter().all(|permille| *permille == 0), "nobody knows how many rows there are: {permille:?}");
    assert_eq!(told(pairs, false).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_select_is_run() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let refused = [
        "create table t (a int)",
        "create view v as select 1",
        "create external table t stored as csv location '/etc/passwd'",
        "insert into interaction (page) values ('/x')",
        "delete from interaction",
        "update interaction set page = '/x'",
        "drop table interaction",
        "copy interaction to '/tmp/stolen.csv'",
        "set datafusion.execution.batch_size = 1",
        "explain select * from interaction",
        "explain analyze select * from interaction",
        "show tables",
        "describe interaction",
        "select 1; select 2",
        "select page into t from interaction",
        "prepare p as select 1",
        "begin",
    ];
    for sql in refused {
        let status = kernel.query(&foshan, sql).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "SQL_REFUSED"), "{sql}: {}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_sql_says_what_is_wrong_and_where() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let wrong = [
        ("", "no statement"),
        ("selec 1", "Line: 1"),
        ("select page from interaction where", "an expression"),
        ("select colour from interaction", "colour"),
        ("select * from generate_series(1, 10)", "generate_series"),
        ("select * from range(1, 10)", "range"),
        ("select * from '/etc/passwd'", "not found"),
        ("select * from read_parquet('/x')", "read_parquet"),
        ("select no_such_function(page) from interaction", "no_such_function"),
    ];
    for (sql, expected) in wrong {
        let status = kernel.query(&foshan, sql).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "SQL_INVALID"), "{sql}: {}", status.message());
        assert!(status.message().contains(expected), "{sql}: {} lacks {expected}", status.message());
    }
    let deep = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(reason(&kernel.query(&foshan, &deep).await.unwrap_err()), "SQL_INVALID");
    let long = format!("select '{}'", "x".repeat(1 << 20));
    assert_eq!(reason(&kernel.query(&foshan, &long).await.unwrap_err()), "FIELD_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_outgrows_its_rows_memory_or_time_fails_and_says_so() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k", &interactions("a", "/home", 2_000)).await.unwrap();
    let sql = |sql: &str| QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() };
    let rows = kernel.ask(&foshan, QueryRequest { rows_max: 1_999, ..sql("select event_id from interaction") }).await.unwrap_err();
    assert_eq!((rows.code(), reason(&rows).as_str()), (Code::ResourceExhausted, "QUERY_ROWS_EXCEEDED"));
    assert!(kernel.ask(&foshan, QueryRequest { rows_max: 2_000, ..sql("select event_id from interaction") }).await.is_ok());
    let memory = QueryRequest { memory_bytes_max: 20_000, ..sql("select event_id, count(*) from interaction group by 1 order by 1") };
    let memory = kernel.ask(&foshan, memory).await.unwrap_err();
    assert_eq!((memory.code(), reason(&memory).as_str()), (Code::ResourceExhausted, "QUERY_MEMORY_EXCEEDED"), "{}", memory.message());
    let mut hasty = foshan.clone();
    hasty.deadline = Instant::now() + Duration::from_millis(300);
    let began = Instant::now();
    let late = kernel.query(&hasty, ENDLESS).await.unwrap_err();
    assert_eq!((late.code(), reason(&late).as_str()), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let negative = kernel.ask(&foshan, QueryRequest { rows_max: -1, ..sql("select 1") }).await.unwrap_err();
    assert_eq!(reason(&negative), "FIELD_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn different_values_of_several_columns_are_counted_in_each_group() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    for (prefix, page, count) in [("a", "/home", 300), ("b", "/home", 120), ("c", "/help", 7)] {
        kernel.append(&foshan, prefix, &interactions(prefix, page, count)).await.unwrap();
    }
    for (sql, expected) in [
        // Addresses repeat between the appends and not within one; nobody has a customer_id.
        (
            "select page, count(distinct client_address), count(distinct session_id), count(distinct customer_id), count(*), sum(status) from interaction group by page order by page",
            vec!["/help|7|1|0|7|1400", "/home|300|2|0|420|84000"],
        ),
        ("select count(distinct event_id) as events, customer_id, count(distinct page) as pages from interaction group by customer_id", vec!["427|null|2"]),
        (
            "select upper(page) as p, count(distinct length(event_id)) as l, count(distinct ok) as o, count(distinct ok) + 1 from interaction where session_id <> 'b-session' group by upper(page) having count(distinct ok) = 1 order by 1",
            vec!["/HELP|1|1|2", "/HOME|3|1|2"],
        ),
        (
            "select page, day, count(distinct session_id), count(distinct visitor_id) filter (where session_id like 'a%') from interaction group by page, day order by 1",
            vec!["/help|2026-01-01|1|0", "/home|2026-01-01|2|1"],
        ),
        (
            "select page, count(distinct session_id), count(distinct ok) from interaction where page in (select page from interaction where status = 200) group by page order by 1",
            vec!["/help|1|1", "/home|2|1"],
        ),
    ] {
        assert_eq!(kernel.table(&foshan, sql).await, expected, "{sql}");
        assert_eq!(kernel.table(&foshan, sql).await, expected, "again: {sql}");
    }
    // What is not the same each time, or not there twice, is counted in one go.
    let random =
        "select sum(n) from (select substr(uuid(), 1, 1) as g, count(*) as n, count(distinct page), count(distinct session_id) from interaction group by 1) r";
    assert_eq!(kernel.table(&foshan, random).await, ["427"]);
    let recursive = "with recursive t as (select page, session_id, 1 as n from interaction union all
        select page, max(session_id), count(distinct session_id) + count(distinct n) from t where n = 1 group by page) select page, max(n) from t group by page order by 1";
    assert_eq!(kernel.table(&foshan, recursive).await, ["/help|2", "/home|3"]);
    let many: Vec<String> = (0..40).map(|more| format!("count(distinct status + {more})")).collect();
    assert_eq!(kernel.table(&foshan, &format!("select page, {} from interaction group by page order by 1 limit 1", many.join(", "))).await.len(), 1);
}

/// Files that queries have on disk.
fn spilled(kernel: &Kernel) -> usize {
    let folders = std::fs::read_dir(kernel.settings.dir.join("spill")).unwrap().map(|folder| folder.unwrap().path());
    folders.map(|folder| std::fs::read_dir(folder).unwrap().count()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_query_holds_beyond_its_memory_goes_to_disk_while_it_runs() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k", &interactions("a", "/home", 1_000)).await.unwrap();
    // A million different texts, some sixty megabytes of them.
    let pairs = "select a.event_id || '-' || b.event_id || '-long-enough-to-be-kept-apart' as pair from interaction a cross join interaction b where a.page = '/home' and b.page = '/home'";
    let grouped = format!("select count(*) from (select pair, count(*) as n from ({pairs}) p group by pair) g where n = 1");
    let sorted = format!("select count(*) from (select pair, row_number() over (order by pair desc) as place from ({pairs}) p) s where place > 10");
    // Not of a cross join, whose rows come in pieces of tens of megabytes.
    for piece in 0..60 {
        kernel.append(&foshan, &format!("l{piece}"), &interactions(&format!("long-{piece}"), "/long", 20_000)).await.unwrap();
    }
    let long = "select event_id || '-long-enough-to-be-kept-apart-from-all-the-others' as name from interaction where page = '/long'";
    let joined = format!("select count(*) from ({long}) x join ({long}) y on x.name = y.name");
    for (sql, memory_bytes_max, expected) in [(grouped, 48 << 20, "1000000"), (sorted, 48 << 20, "999990"), (joined, 200 << 20, "1200000")] {
        let query = QueryRequest { sql: sql.clone(), memory_bytes_max, ..QueryRequest::default() };
        let answering = kernel.ask(&foshan, query);
        let mut seen = 0;
        let answer = {
            tokio::pin!(answering);
            loop {
                tokio::select! {
                    answer = &mut answering => break answer,
                    () = tokio::task::yield_now() => seen = seen.max(spilled(&kernel)),
                }
            }
        };
        assert_eq!(answer.unwrap().lines(), [expected], "{sql}");
        assert!(seen > 0, "nothing went to disk: {sql}");
        assert_eq!(spilled(&kernel), 0, "what went to disk is gone with the query: {sql}");
    }
    let left = kernel.settings.dir.join("spill/of-a-crash");
    std::fs::write(&left, "rows").unwrap();
    let kernel = kernel.restarted(|_| {}).await;
    assert!(!left.exists() && kernel.settings.dir.join("spill").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_frees_the_turn_of_its_query() {
    let kernel = Kernel::start_with(|settings| settings.query.running_max = 1).await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k", &interactions("a", "/home", 2_000)).await.unwrap();
    let mut client = kernel.reading(&foshan);
    let answers = client.query(QueryRequest { sql: ENDLESS.to_owned(), ..QueryRequest::default() }).await.unwrap().into_inner();
    drop(answers);
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, 2_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn datasets_are_described_as_the_caller_may_see_them() {
    let kernel = Kernel::start().await;
    kernel.append(&city_caller("440600"), "k", &interactions("a", "/home", 3)).await.unwrap();
    kernel.append(&city_caller("441900"), "k", &interactions("b", "/home", 4)).await.unwrap();
    let describe = |context| {
        let kernel = &kernel;
        async move { kernel.reading(&context).describe_dataset(DescribeDatasetRequest { dataset: "interaction".to_owned() }).await.map(tonic::Response::into_inner) }
    };
    let foshan = describe(reader("440600")).await.unwrap();
    assert_eq!((foshan.rows, foshan.mode.as_str()), (3, "append"));
    assert!(foshan.columns.iter().any(|column| column.name == "client_address" && column.masked));
    assert!(foshan.columns.iter().all(|column| !column.name.starts_with('_')));
    assert_eq!(describe(province()).await.unwrap().rows, 7);
    let narrow = caller("narrow", &[("warehouse.query", &["440600"]), ("dataset.read:interaction(at,page)", &["440600"])]);
    let columns: Vec<String> = describe(narrow.clone()).await.unwrap().columns.into_iter().map(|column| column.name).collect();
    assert_eq!(columns, ["at", "page"]);
    let nobody = caller("nobody", &[("warehouse.query", &["440600"])]);
    assert_eq!(reason(&describe(nobody).await.unwrap_err()), "RESOURCE_NOT_FOUND");
    let mut client =
        kernel.reading(&caller("two", &[("warehouse.query", &["440600"]), ("dataset.read:interaction", &["440600"]), ("dataset.read:city", &["440600"])]));
    let page = client.list_datasets(ListDatasetsRequest { page_size: 1, page_token: String::new() }).await.unwrap().into_inner();
    assert_eq!(page.datasets.iter().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), ["city"]);
    let rest = client.list_datasets(ListDatasetsRequest { page_size: 1, page_token: page.next_page_token }).await.unwrap().into_inner();
    assert_eq!((rest.datasets[0].name.as_str(), rest.next_page_token.as_str()), ("interaction", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_its_time_does_not_keep_others_from_asking() {
    let kernel = Kernel::start_with(|settings| settings.query.running_max = 1).await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k", &interactions("a", "/home", 2_000)).await.unwrap();
    let mut client = kernel.reading(&foshan);
    // Far more than lies between a query and its reader: it waits for this reader, which has seen the first piece and takes no more.
    let sql = "select a.event_id, b.session_id, b.client_address from interaction a cross join interaction b".to_owned();
    let mut answers = client.query(QueryRequest { sql, ..QueryRequest::default() }).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let other = tokio::time::timeout(Duration::from_secs(20), kernel.number(&foshan, "select count(*) from interaction"));
    assert_eq!(other.await.expect("the turn was given back"), 2_000);
    assert!(answers.message().await.unwrap().is_some(), "and the slow reader's query goes on");
}
