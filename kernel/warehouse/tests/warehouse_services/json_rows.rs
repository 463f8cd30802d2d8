//! Rows that come as JSON.

use backplane_proto::ingest::v1::AppendRequest;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::kernel::{Kernel, city_caller, interactions, ipc, reason};

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

async fn append(kernel: &Kernel, key: &str, rows_json: &str) -> Result<i64, Status> {
    let request = AppendRequest { dataset: "reading".to_owned(), idempotency_key: key.to_owned(), rows_json: rows_json.to_owned(), ..AppendRequest::default() };
    kernel.ingest(&city_caller("440600")).append(request).await.map(|answer| answer.into_inner().rows)
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_values_become_what_the_contract_says() {
    let kernel = with_every_type().await;
    let whole = json!({"id": "a", "count": -3, "share": 0.25, "ok": true, "at": "2026-03-31T09:00:00.5+08:00", "day": "2026-02-28", "note": "漫游 \"x\"\n"});
    // A whole number that no double holds, and a real that is whole.
    let large = r#"{"id": "b", "count": 9007199254740993, "share": 2, "note": null}"#;
    let text = format!("{whole}\n\n{large}\r\n{{\"id\": \"c\"}}");
    assert_eq!(append(&kernel, "k", &text).await.unwrap(), 3);
    let foshan = city_caller("440600");
    let rows = kernel.table(&foshan, "select city, id, count, share, ok, at, day, note from reading order by id").await;
    assert_eq!(
        rows,
        [
            "440600|a|-3|0.25|true|2026-03-31T01:00:00.500Z|2026-02-28|漫游 \"x\"\n",
            "440600|b|9007199254740993|2.0|null|null|null|null",
            "440600|c|null|null|null|null|null|null"
        ]
    );
    // The key knows the rows, however they are written.
    assert_eq!(append(&kernel, "k", &text.replace(": ", ":")).await.unwrap(), 3);
    assert_eq!(reason(&append(&kernel, "k", large).await.unwrap_err()), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(kernel.number(&foshan, "select count(*) from reading").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_its_column_is_named_and_nothing_is_taken() {
    let kernel = with_every_type().await;
    let cases: [(&str, Value, &str); 16] = [
        ("count", json!(19.9), "expected a whole number of 64 bits; found 19.9"),
        ("count", json!(u64::MAX), "found 18446744073709551615"),
        ("count", json!("7"), "found \"7\""),
        ("share", json!("0.5"), "expected a number; found \"0.5\""),
        ("ok", json!(1), "expected true or false; found 1"),
        ("at", json!("2026-03-31T09:00:00"), "expected an instant with its offset, such as 2026-03-31T09:00:00+08:00; found \"2026-03-31T09:00:00\""),
        ("at", json!(1_774_918_800), "expected an instant with its offset"),
        ("day", json!("2026-02-30"), "expected a day such as 2026-03-31; found \"2026-02-30\""),
        ("day", json!("2026-03-31T23:30:00-08:00"), "expected a day such as 2026-03-31"),
        ("day", json!("1899-12-31"), "expected a day such as 2026-03-31"),
        ("note", json!(1), "expected text; found 1"),
        ("note", json!([]), "expected text; found []"),
        ("note", json!({}), "expected text; found {}"),
        ("id", Value::Null, "null, and the contract says the column always has a value"),
        ("colour", json!("red"), "the dataset 'reading' has no such column; it has city, id, count"),
        ("city", json!("441900"), "expected 440600, the city of the call; leave the column out; found"),
    ];
    for (column, value, expected) in cases {
        let mut bad = json!({"id": "b"});
        bad[column] = value;
        let first = if column == "city" { json!({"id": "a", "city": "440600"}) } else { json!({"id": "a"}) };
        let status = append(&kernel, "k", &format!("{first}\n{bad}")).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "ROWS_INVALID"), "{status:?}");
        let place = format!("row 1, column '{column}': ");
        assert!(status.message().contains(&place) && status.message().contains(expected), "{} lacks {place}{expected}", status.message());
    }
    for (text, expected) in [
        ("{\"id\": \"a\"}\n[1]", "row 1: expected a line with one JSON object"),
        ("{\"id\": \"a\"} {\"id\": \"b\"}", "row 0: expected a line with one JSON object"),
        ("{}\n{}", "the rows name no column"),
    ] {
        let status = append(&kernel, "k", text).await.unwrap_err();
        assert!(reason(&status) == "ROWS_INVALID" && status.message().contains(expected), "{status:?}");
    }
    // Neither the depth of a value nor its length is built: it is no value of any column.
    for nested in [format!("{{\"note\": {}0{}}}", "[".repeat(100), "]".repeat(100)), format!("{{\"note\": [{}0]}}", "0,".repeat(1 << 20))] {
        let status = append(&kernel, "k", &nested).await.unwrap_err();
        assert!(status.message().contains("row 0, column 'note': expected text; found [") && status.message().len() < 200, "{status:?}");
    }
    let many = "{}\n".repeat(1_000_001);
    assert!(append(&kernel, "k", &many).await.unwrap_err().message().contains("more than 1000000 rows"));
    assert_eq!(kernel.number(&city_caller("440600"), "select count(*) from reading").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_one_form() {
    let kernel = Kernel::start().await;
    let both = AppendRequest {
        dataset: "interaction".to_owned(),
        ipc: ipc(&interactions("a", "/home", 1)).into(),
        idempotency_key: "k".to_owned(),
        rows_json: "{}".to_owned(),
    };
    let status = kernel.ingest(&city_caller("440600")).append(both).await.unwrap_err();
    assert_eq!(reason(&status), "FIELD_INVALID");
}
