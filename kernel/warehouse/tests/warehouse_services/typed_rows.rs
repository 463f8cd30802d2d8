//! Rows that come as plain objects.

use backplane_proto::ingest::v1::AppendRequest;
use prost_types::{ListValue, Struct, Value, value::Kind};
use tonic::{Code, Status};

use crate::kernel::{Kernel, city_caller, interactions, ipc, reason};

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

/// A dataset with a column of each type.
async fn with_every_type() -> Kernel {
    let kernel = Kernel::start().await;
    let columns = ["count, type: integer", "share, type: real", "ok, type: boolean", "at, type: instant", "day, type: day", "note, type: text"];
    let columns: String = columns.iter().map(|column| format!("  - {{name: {column}, nullable: true, class: internal, meaning: m}}\n")).collect();
    let document = format!(
        "name: reading\npurpose: p\nowner: o\nmode: append\nvisibility: city\nkey: [id]\ncolumns:\n  - {{name: city, type: text, nullable: false, class: public, meaning: m}}\n  \
         - {{name: id, type: text, nullable: false, class: internal, meaning: m}}\n{columns}"
    );
    kernel.put_dataset(&document, 0).await.unwrap();
    kernel
}

async fn append(kernel: &Kernel, key: &str, rows: &[&[(&str, Kind)]]) -> Result<i64, Status> {
    let row = |cells: &&[(&str, Kind)]| {
        let cell = |(name, kind): &(&str, Kind)| ((*name).to_owned(), Value { kind: Some(kind.clone()) });
        Struct { fields: cells.iter().map(cell).collect() }
    };
    let rows = rows.iter().map(row).collect();
    let request = AppendRequest { dataset: "reading".to_owned(), idempotency_key: key.to_owned(), rows, ..AppendRequest::default() };
    kernel.ingest(&city_caller("440600")).append(request).await.map(|answer| answer.into_inner().rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_values_become_what_the_contract_says() {
    let kernel = with_every_type().await;
    let whole: &[(&str, Kind)] = &[
        ("id", text("a")),
        ("count", Kind::NumberValue(-3.0)),
        ("share", Kind::NumberValue(0.25)),
        ("ok", Kind::BoolValue(true)),
        ("at", text("2026-03-31T09:00:00.5+08:00")),
        ("day", text("2026-02-28")),
        ("note", text("漫游 \"x\"")),
    ];
    let large: &[(&str, Kind)] = &[("id", text("b")), ("count", text("9007199254740993")), ("note", Kind::NullValue(0))];
    assert_eq!(append(&kernel, "k", &[whole, large, &[("id", text("c"))]]).await.unwrap(), 3);
    let foshan = city_caller("440600");
    let rows = kernel.table(&foshan, "select city, id, count, share, ok, at, day, note from reading order by id").await;
    assert_eq!(
        rows,
        [
            "440600|a|-3|0.25|true|2026-03-31T01:00:00.500Z|2026-02-28|漫游 \"x\"",
            "440600|b|9007199254740993|null|null|null|null|null",
            "440600|c|null|null|null|null|null|null"
        ]
    );
    // The key knows the rows, whatever form they came in.
    assert_eq!(append(&kernel, "k", &[whole, large, &[("id", text("c")), ("note", Kind::NullValue(0))]]).await.unwrap(), 3);
    assert_eq!(reason(&append(&kernel, "k", &[whole]).await.unwrap_err()), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(kernel.number(&foshan, "select count(*) from reading").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_its_column_is_named_and_nothing_is_taken() {
    let kernel = with_every_type().await;
    let good: &[(&str, Kind)] = &[("id", text("a"))];
    let list = Kind::ListValue(ListValue { values: Vec::new() });
    let cases = [
        ("count", Kind::NumberValue(19.9), "expected a whole number; beyond 2^53 it is written as text, such as \"9007199254740993\"; found 19.9"),
        ("count", Kind::NumberValue(1e17), "found 100000000000000000"),
        ("count", text("many"), "found 'many'"),
        ("share", text("0.5"), "expected a number; found '0.5'"),
        ("share", Kind::NumberValue(f64::NAN), "expected a number; found NaN"),
        ("ok", Kind::NumberValue(1.0), "expected true or false; found 1"),
        ("at", text("2026-03-31T09:00:00"), "expected an instant with its offset, such as 2026-03-31T09:00:00+08:00; found '2026-03-31T09:00:00'"),
        ("day", text("2026-02-30"), "expected a day such as 2026-03-31; found '2026-02-30'"),
        ("note", Kind::NumberValue(1.0), "expected text; found 1"),
        ("note", list, "expected text; found a list"),
        ("id", Kind::NullValue(0), "null, and the contract says the column always has a value"),
        ("colour", text("red"), "the dataset 'reading' has no such column; it has city, id, count"),
        ("city", text("441900"), "expected 440600, the city of the call; leave the column out; found '441900'"),
    ];
    for (column, kind, expected) in cases {
        let bad: Vec<(&str, Kind)> = if column == "id" { vec![(column, kind)] } else { vec![("id", text("b")), (column, kind)] };
        // Of a city given in one row alone the other lacks it.
        let rows: Vec<&[(&str, Kind)]> = if column == "city" { vec![&bad] } else { vec![good, &bad] };
        let status = append(&kernel, "k", &rows).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "ROWS_INVALID"), "{status:?}");
        let place = format!("row {}, column '{column}': ", rows.len() - 1);
        assert!(status.message().contains(&place) && status.message().contains(expected), "{} lacks {place}{expected}", status.message());
    }
    assert_eq!(kernel.number(&city_caller("440600"), "select count(*) from reading").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_one_form() {
    let kernel = Kernel::start().await;
    let rows = vec![Struct::default()];
    let both = AppendRequest {
        dataset: "interaction".to_owned(),
        ipc: ipc(&interactions("a", "/home", 1)).into(),
        idempotency_key: "k".to_owned(),
        rows: rows.clone(),
    };
    let foshan = city_caller("440600");
    let status = kernel.ingest(&foshan).append(both.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "FIELD_INVALID");
    let empty = kernel.ingest(&foshan).append(AppendRequest { ipc: Vec::new().into(), ..both }).await.unwrap_err();
    assert_eq!(reason(&empty), "ROWS_INVALID", "a row that names nothing: {empty:?}");
}
