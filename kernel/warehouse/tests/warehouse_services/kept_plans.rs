//! Plans are kept between queries, which no answer may show.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use backplane_proto::warehouse::v1::{Parameter, QueryRequest, parameter};
use kernel_base::CallContext;

use crate::{
    contracts::VISIT,
    kernel::{Kernel, NOW, city_caller, interactions, ipc, province, reader, reason},
};

/// A value, and how it is written in SQL.
#[derive(Clone)]
struct Value(parameter::Value, String);

fn text(text: &str) -> Value {
    Value(parameter::Value::Text(text.to_owned()), format!("'{text}'"))
}

fn integer(number: i64) -> Value {
    Value(parameter::Value::Integer(number), number.to_string())
}

fn real(number: f64) -> Value {
    Value(parameter::Value::Real(number), format!("CAST({number:?} AS DOUBLE)"))
}

fn truth(truth: bool) -> Value {
    Value(parameter::Value::Boolean(truth), truth.to_string())
}

fn day(number: i32) -> Value {
    Value(parameter::Value::Day(number), format!("CAST(CAST({number} AS INT) AS DATE)"))
}

fn minute(minute: i64) -> Value {
    Value(parameter::Value::InstantMicros(NOW + minute * 60_000_000), format!("TIMESTAMP '2026-01-01T00:{minute:02}:00Z'"))
}

impl Kernel {
    async fn with_values(&self, caller: &CallContext, sql: &str, values: &[Value]) -> Vec<String> {
        let parameters = values.iter().map(|value| Parameter { value: Some(value.0.clone()) }).collect();
        let answer = self.ask(caller, QueryRequest { sql: sql.to_owned(), parameters, ..QueryRequest::default() }).await;
        answer.unwrap_or_else(|status| panic!("{sql}: {status}")).lines()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_answers_with_each_value_as_if_it_were_written_into_it() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.append(&foshan, "k1", &interactions("a", "/home", 20)).await.unwrap();
    kernel.append(&foshan, "k2", &interactions("b", "/pay", 10)).await.unwrap();
    let (home, pay, none) = (text("/home"), text("/pay"), text("/none"));
    // A query is planned with its first values. The others meet the plan that is kept, or one that does not fit them.
    let queries: Vec<(&str, Vec<Vec<Value>>)> = vec![
        ("select event_id from interaction where page = $1 order by event_id", vec![vec![home.clone()], vec![pay.clone()], vec![none.clone()]]),
        ("select count(*) from interaction where page = $1 or page = $2", vec![vec![home.clone(), none.clone()], vec![pay.clone(), home.clone()]]),
        ("select count(*) from interaction where status > $1", vec![vec![real(199.5)], vec![integer(200)], vec![real(200.5)], vec![integer(-1)]]),
        ("select count(*) from interaction where ($1 = '' or page = $1)", vec![vec![text("")], vec![pay.clone()], vec![none.clone()]]),
        (
            "select count(*) from interaction where at between $1 and $2",
            vec![vec![minute(0), minute(4)], vec![minute(9), minute(12)], vec![minute(5), minute(1)]],
        ),
        (
            "select count(*) from interaction where day = $1 and ok = $2",
            vec![vec![day(20_454), truth(true)], vec![day(20_455), truth(true)], vec![day(20_454), truth(false)]],
        ),
        ("select count(*) from interaction where $1 and status = 200", vec![vec![truth(true)], vec![truth(false)]]),
        (
            "select page, count(*) from interaction where ok = $1 group by page having count(*) > $2 order by page",
            vec![vec![truth(true), integer(15)], vec![truth(true), integer(1)], vec![truth(false), integer(0)]],
        ),
        (
            "select event_id from interaction where page in ($1, $2) and status in ($3) order by at desc, event_id limit 3",
            vec![vec![home.clone(), pay.clone(), integer(200)], vec![pay.clone(), none.clone(), integer(200)], vec![pay.clone(), pay.clone(), integer(404)]],
        ),
        ("select event_id from interaction order by event_id limit $1 offset $2", vec![vec![integer(2), integer(0)], vec![integer(5), integer(3)]]),
        (
            "select event_id, $1 as said from interaction where event_id = $2",
            vec![vec![text("x"), text("a-1")], vec![integer(7), text("b-2")], vec![text("y"), text("b-2")]],
        ),
        (
            "select case when page = $1 then 'first' else 'other' end as what, count(*) from interaction group by 1 order by 1",
            vec![vec![home.clone()], vec![pay.clone()], vec![none.clone()]],
        ),
        ("select count(*) from interaction where coalesce(referrer, $1) = $1", vec![vec![text("direct")], vec![text("other")]]),
        ("select count(*) from interaction where page like $1", vec![vec![text("/h%")], vec![text("%a%")]]),
        (
            "select count(*) from interaction where status + $1 = $2",
            vec![vec![integer(1), integer(201)], vec![integer(2), integer(201)], vec![real(1.0), real(201.0)]],
        ),
        (
            "select count(*) from interaction where page in (select page from interaction where event_id = $1)",
            vec![vec![text("a-1")], vec![text("b-1")], vec![none.clone()]],
        ),
        (
            "select count(*) from interaction where at > (select min(at) from interaction where page = $1 and at > $2)",
            vec![vec![home.clone(), minute(3)], vec![pay.clone(), minute(8)]],
        ),
        (
            "select a.event_id from interaction a join interaction b on a.at = b.at where a.page = $1 and b.page = $2 order by 1",
            vec![vec![home.clone(), pay.clone()], vec![pay.clone(), home.clone()], vec![home.clone(), none.clone()]],
        ),
        (
            "select event_id from interaction where page = $1 and at < $2 union all select page from interaction where event_id = $3 order by 1",
            vec![vec![home, minute(3), text("b-3")], vec![pay.clone(), minute(1), text("a-3")]],
        ),
        (
            "with chosen as (select * from interaction where page = $1) select count(*), max(at) from chosen where status = $2",
            vec![vec![pay, integer(200)], vec![none, integer(200)]],
        ),
        ("select count(*) from interaction having $1 = 'x'", vec![vec![text("x")], vec![text("y")]]),
        ("select page, count(*) from interaction group by rollup(page) having $1 = 'x' order by 1", vec![vec![text("x")], vec![text("y")]]),
        (
            "with t as (select count(*) as n from interaction) select n from t where $1 = 'x' union all select -n from t where $1 = 'y'",
            vec![vec![text("x")], vec![text("y")]],
        ),
        (
            "select event_id, (select count(*) + $1 from interaction b where b.page = a.page) from interaction a order by 1 limit 1",
            vec![vec![integer(1)], vec![integer(2)]],
        ),
        ("select event_id from interaction order by event_id limit $1 + 1", vec![vec![integer(2)], vec![integer(4)]]),
        ("select count(*) from (select random() as r from interaction where status = $1) t where r < 1", vec![vec![integer(200)], vec![integer(404)]]),
    ];
    for (sql, all_values) in queries {
        for values in all_values.iter().chain(&all_values) {
            let mut written = sql.to_owned();
            for (index, value) in values.iter().enumerate() {
                written = written.replace(&format!("${}", index + 1), &value.1);
            }
            let expected = kernel.table(&foshan, &written).await;
            assert_eq!(kernel.with_values(&foshan, sql, values).await, expected, "{written}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_of_others_shows_what_they_may_see() {
    let kernel = Kernel::start().await;
    let (foshan, dongguan) = (city_caller("440600"), city_caller("441900"));
    kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    kernel.append(&dongguan, "k2", &interactions("b", "/home", 2)).await.unwrap();
    let sql = "select event_id, client_address from interaction where page = $1 order by event_id limit 1";
    let ask = async |caller: &CallContext| kernel.with_values(caller, sql, &[text("/home")]).await.join(" ");
    for _ in 0..2 {
        assert_eq!(ask(&foshan).await, "a-0|83.149.0.0");
        assert_eq!(ask(&dongguan).await, "b-0|83.149.0.0");
        assert_eq!(ask(&province()).await, "a-0|83.149.0.0");
        let masked = ask(&reader("441900")).await;
        assert!(masked.starts_with("b-0|") && !masked.contains("83.149.0.0"), "{masked}");
        assert_eq!(kernel.table(&province(), "select count(*) from interaction").await, ["5"]);
        assert_eq!(kernel.table(&reader("440600"), "select count(*) from interaction").await, ["3"]);
        let nobody = crate::kernel::caller("nobody", &[("warehouse.query", &["440600"])]);
        let status = kernel.ask(&nobody, QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() }).await.unwrap_err();
        assert_eq!(reason(&status), "SQL_INVALID");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_later_shows_later_rows_and_columns_and_another_time() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.put_dataset(VISIT, 0).await.unwrap();
    let sql = "select * from hall_visit where visit_id >= $1 order by visit_id";
    let ask = async |snapshot_id: i64| {
        let parameters = vec![Parameter { value: Some(text("v").0) }];
        kernel.ask(&foshan, QueryRequest { sql: sql.to_owned(), parameters, snapshot_id, ..QueryRequest::default() }).await.unwrap()
    };
    let visit = |id: &str| {
        let at = TimestampMicrosecondArray::from(vec![NOW]).with_timezone("UTC");
        let columns: [(&str, ArrayRef); 2] = [("visit_id", Arc::new(StringArray::from(vec![id]))), ("at", Arc::new(at))];
        ipc(&RecordBatch::try_from_iter(columns).unwrap())
    };
    assert!(ask(0).await.lines().is_empty(), "before the first rows there is no table");
    kernel.append_bytes(&foshan, "hall_visit", "k1", visit("v1")).await.unwrap();
    let first = ask(0).await;
    assert_eq!(first.lines(), ["440600|v1|2026-01-01T00:00:00Z|2026-01-01|null"]);
    kernel.append_bytes(&foshan, "hall_visit", "k2", visit("v2")).await.unwrap();
    assert_eq!(ask(0).await.lines().len(), 2);
    assert_eq!(ask(first.snapshot_id).await.lines(), first.lines());
    let wider = format!("{VISIT}  - {{name: weather, type: text, nullable: true, class: internal, meaning: How it was}}\n");
    kernel.put_dataset(&wider, 1).await.unwrap();
    assert_eq!(ask(0).await.lines()[0], "440600|v1|2026-01-01T00:00:00Z|2026-01-01|null|null");
    assert_eq!(ask(first.snapshot_id).await.lines(), first.lines(), "the table had fewer columns then");
    assert_eq!(ask(0).await.lines().len(), 2);
    let columns = async |snapshot_id: i64| {
        let request = QueryRequest { sql: "select * from hall_visit limit 0".to_owned(), snapshot_id, ..QueryRequest::default() };
        kernel.ask(&foshan, request).await.unwrap().schema.fields().len()
    };
    assert_eq!([columns(0).await, columns(first.snapshot_id).await, columns(0).await], [6, 5, 6]);

    let now = kernel.table(&foshan, "select now()").await;
    assert_ne!(kernel.table(&foshan, "select now()").await, now);
}
