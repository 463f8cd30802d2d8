use backplane_proto::warehouse::v1::QueryRequest;
use kernel_base::CallContext;

use crate::kernel::{Kernel, caller, city_caller, interactions, log_line, province, reader, reason};

/// Foshan has 30 rows on /foshan, Dongguan 50 on /dongguan.
async fn two_cities() -> Kernel {
    let kernel = Kernel::start().await;
    kernel.append(&city_caller("440600"), "k", &interactions("f", "/foshan", 30)).await.unwrap();
    kernel.append(&city_caller("441900"), "k", &interactions("d", "/dongguan", 50)).await.unwrap();
    kernel
}

#[tokio::test(flavor = "multi_thread")]
async fn a_city_sees_its_own_rows_in_every_kind_of_query() {
    let kernel = two_cities().await;
    let foshan = reader("440600");
    let cases = [
        ("select count(*) from interaction", "30"),
        ("select count(1) from interaction where city = '441900'", "0"),
        ("select count(*) from interaction where city <> '440600' or true", "30"),
        ("select min(page) || max(page) from interaction", "/foshan/foshan"),
        ("select count(distinct city) from interaction", "1"),
        ("select count(*) from interaction a join interaction b on a.city = b.city", "900"),
        ("select count(*) from interaction a cross join interaction b", "900"),
        ("select (select count(*) from interaction)", "30"),
        ("select count(*) from interaction where page in (select page from interaction where city = '441900')", "0"),
        ("with all_rows as (select * from interaction) select count(*) from all_rows", "30"),
        ("select count(*) from (select * from interaction union all select * from interaction) t", "60"),
        ("select count(*) from (select * from interaction limit 40) t", "30"),
        ("select count(*) from (select distinct event_id from interaction order by event_id desc limit 50 offset 20) t", "10"),
        ("select sum(c) from (select count(*) over (partition by page) c from interaction) t", "900"),
        ("select count(*) from interaction where exists (select 1 from interaction x where x.city = '441900')", "0"),
        ("select count(*) from backplane.public.interaction", "30"),
        ("select count(*) from interaction where not (city = '440600')", "0"),
        ("select count(*) from interaction where event_id = 'd-1'", "0"),
        ("select count(*) from interaction where event_id between 'd-0' and 'd-9'", "0"),
        ("select coalesce(max(status), 0) from interaction where page = '/dongguan'", "0"),
    ];
    for (sql, expected) in cases {
        assert_eq!(kernel.table(&foshan, sql).await, [expected], "{sql}");
    }
    assert_eq!(kernel.table(&province(), "select count(*) from interaction").await, ["80"]);
    assert_eq!(kernel.table(&province().narrowed("441900".parse().unwrap()), "select count(*) from interaction").await, ["50"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_a_running_query_do_not_tell_values_of_another_city() {
    let kernel = two_cities().await;
    let foshan = reader("440600");
    // Whether rows of Dongguan are touched must not be told by a failure: the same text fails or not by Foshan's rows alone.
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction where page = '/dongguan' and cast(page as int) > 0").await, 0);
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction where case when page = '/dongguan' then 1 / 0 = 1 else true end").await, 30);
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction where event_id = 'd-7' and 1 / (length(event_id) - 3) > 0").await, 0);
    for sql in [
        "select cast(page as int) from interaction",
        "select count(*) from interaction where cast(visitor_id as int) > 0",
        "select 1 / (status - 200) from interaction",
    ] {
        let status = kernel.query(&foshan, sql).await.unwrap_err();
        assert_eq!(reason(&status), "QUERY_FAILED", "{sql}: {}", status.message());
        for value in ["dongguan", "foshan", "visitor"] {
            assert!(!status.message().contains(value), "{sql}: {}", status.message());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_file_that_is_half_in_are_not_seen_where_files_are_looked_into() {
    let kernel = Kernel::start_with(|settings| {
        settings.chunk_lines = 3;
        settings.held_rows = 0;
        (settings.query.looked_into_rows, settings.query.one_core_rows) = (0, 0);
    })
    .await;
    let first = kernel.append(&city_caller("440600"), "k", &interactions("f", "/foshan", 30)).await.unwrap().snapshot_id;
    let queries = [
        "select city, sum(status) as total, count(*) as n from interaction where status > 3 group by city",
        "select client_address, page from interaction where status > 3 and ok order by 1, 2 limit 5",
        "select page, client_address, event_id from interaction where at >= timestamp '2000-01-01T00:00:00Z'",
        "select count(*) from interaction where page = '/foshan' and status is not null",
    ];
    let text: String = (0..10).map(|minute| log_line("83.149.9.216", minute, "GET /half HTTP/1.1", 200)).collect();
    kernel.import(&city_caller("440600"), "portal.access", "portal.access.440600.20150517.log", text.as_bytes()).await.unwrap();
    let newest = kernel.query(&province(), "select 1").await.unwrap().snapshot_id;
    assert!(newest >= first + 4, "a snapshot for each three lines");
    for context in [province(), reader("440600")] {
        for sql in queries {
            let at = async |snapshot_id: i64| {
                let mut lines = kernel.ask(&context, QueryRequest { sql: sql.to_owned(), snapshot_id, ..QueryRequest::default() }).await.unwrap().lines();
                lines.sort();
                lines
            };
            let before = at(first).await;
            for snapshot_id in first + 1..newest {
                assert_eq!(at(snapshot_id).await, before, "{sql}");
            }
        }
        assert_eq!(kernel.number(&context, "select count(*) from interaction where status > 3").await, 40);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_looks_like_what_is_not_there() {
    let kernel = two_cities().await;
    let only_city = caller("only-city", &[("warehouse.query", &["440600"]), ("dataset.read:city", &["440600"])]);
    let shape = |status: tonic::Status, name: &str| (reason(&status), status.message().replace(name, "X"));
    let missing = shape(kernel.query(&only_city, "select * from nothing_here").await.unwrap_err(), "nothing_here");
    let hidden = shape(kernel.query(&only_city, "select * from interaction").await.unwrap_err(), "interaction");
    assert_eq!(missing, hidden);
    for kernel_table in
        ["kernel.batch", "backplane.kernel.quarantine", "information_schema.tables", "information_schema.columns", "main.interaction", "lake.main.interaction"]
    {
        let status = kernel.query(&province(), &format!("select * from {kernel_table}")).await.unwrap_err();
        assert_eq!(reason(&status), "SQL_INVALID", "{kernel_table}: {}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_granted_columns_exist() {
    let kernel = two_cities().await;
    let narrow = caller("narrow", &[("warehouse.query", &["440600"]), ("dataset.read:interaction(at,page)", &["440600"])]);
    let answer = kernel.query(&narrow, "select * from interaction").await.unwrap();
    let names: Vec<String> = answer.batches[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["at", "page"]);
    assert_eq!(kernel.number(&narrow, "select count(*) from interaction").await, 30);
    for column in ["city", "client_address", "_source", "_ingested_at"] {
        for sql in [format!("select {column} from interaction"), format!("select count(*) from interaction where {column} is not null")] {
            assert_eq!(reason(&kernel.query(&narrow, &sql).await.unwrap_err()), "SQL_INVALID", "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_columns_are_masked_everywhere_unless_unmasked() {
    let kernel = two_cities().await;
    let masked = reader("440600");
    let whole = |context: CallContext| {
        let kernel = &kernel;
        async move { kernel.table(&context, "select client_address from interaction where event_id = 'f-7'").await }
    };
    assert_eq!(whole(masked.clone()).await, ["83.149.*.*"]);
    for sql in [
        "select count(*) from interaction where client_address = '83.149.7.7'",
        "select count(*) from interaction where client_address in ('83.149.7.7', 'x')",
        "select count(*) from interaction where client_address like '%7.7'",
        "select count(*) from interaction where client_address between '83.149.7.6' and '83.149.7.8'",
        "select count(*) from interaction a where not (client_address <> '83.149.7.7')",
    ] {
        assert_eq!(kernel.number(&masked, sql).await, 0, "{sql}");
    }
    assert_eq!(kernel.number(&masked, "select count(distinct client_address) from interaction").await, 1);
    let unmasked = caller("unmasked", &[("warehouse.query", &["440600"]), ("dataset.read:*", &["440600"]), ("dataset.unmask:interaction", &["440600"])]);
    assert_eq!(whole(unmasked.clone()).await, ["83.149.7.7"]);
    assert_eq!(kernel.number(&unmasked, "select count(*) from interaction where client_address = '83.149.7.7'").await, 1);
    let elsewhere = caller(
        "elsewhere",
        &[("warehouse.query", &["440600", "441900"]), ("dataset.read:*", &["440600", "441900"]), ("dataset.unmask:interaction", &["441900"])],
    );
    assert_eq!(whole(elsewhere).await, ["83.149.*.*"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_row_came_from_is_seen_by_those_who_ask_and_may() {
    let kernel = two_cities().await;
    let foshan = reader("440600");
    assert_eq!(kernel.table(&foshan, "select _source, count(*) from interaction group by 1").await, ["append/all-440600|30"]);
    assert_eq!(kernel.table(&foshan, "select count(*) from interaction where _Ingested_at = '2026-01-01T00:00:00Z' and _source like 'append/%'").await, ["30"]);
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction where _source = 'append/all-441900'").await, 0);
    let columns =
        async |sql: &str| kernel.query(&foshan, sql).await.unwrap().batches[0].schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let (usual, asked) = (columns("select * from interaction limit 1").await, columns("select * from interaction where _source <> '' limit 1").await);
    assert_eq!(asked[..usual.len()], usual);
    assert_eq!(asked[usual.len()..], ["_source", "_ingested_at"]);
    // A text is no name of a column.
    assert_eq!(columns("select * from interaction where page <> '_source' limit 1").await, usual);
    // By name, where columns are granted by name.
    let sql = "select count(distinct _source) from interaction";
    let granted = |columns: &str| caller("some", &[("warehouse.query", &["440600"]), (&format!("dataset.read:interaction({columns})"), &["440600"])]);
    assert_eq!(reason(&kernel.query(&granted("page"), sql).await.unwrap_err()), "SQL_INVALID");
    assert_eq!(kernel.table(&granted("page,_source"), sql).await, ["1"]);
    // A file of a feed names itself.
    let sent = crate::platform::numbers(2);
    kernel.send(&city_caller("440600"), &sent).await.unwrap();
    let source = format!("feed/boss.number/202512/0000/{}", &sent.sha256()[..32]);
    assert_eq!(kernel.table(&foshan, "select distinct _source from number_assignment").await, [source]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_has_packages_of_its_own_besides_those_of_the_province() {
    let kernel = Kernel::start().await;
    let package = |id: &str, name: &str| format!("{id}|{name}|1|20260101|20261231|10000|12|2400|12|20260101|\\N\n");
    let file = |city: &str, rows: &[String]| crate::platform::Sent::new(&format!("boss.package.{city}.20260101.txt.gz"), &rows.concat());
    kernel.send(&province(), &file("440000", &[package("P1", "全省套餐")])).await.unwrap();
    // The code of another city's package is no matter to them.
    kernel.send(&city_caller("440600"), &file("440600", &[package("B1", "佛山套餐"), package("P1", "佛山版")])).await.unwrap();
    kernel.send(&city_caller("441900"), &file("441900", &[package("B1", "东莞套餐")])).await.unwrap();
    let sql = "select city, package_id, name_zh from package order by 1, 2";
    assert_eq!(kernel.table(&reader("440600"), sql).await, ["440000|P1|全省套餐", "440600|B1|佛山套餐", "440600|P1|佛山版"]);
    assert_eq!(kernel.table(&reader("441900"), sql).await, ["440000|P1|全省套餐", "441900|B1|东莞套餐"]);
    assert_eq!(kernel.number(&province(), "select count(*) from package").await, 4);
}
