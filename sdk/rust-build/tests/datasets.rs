//! What is made of the contracts of datasets: rows with the columns that the plugin writes, or an error with the file.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;

use backplane_build::{BuildError, dataset_rows};

fn rows(contract: &str) -> Result<String, BuildError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.visit_count.yaml");
    fs::write(&path, contract).unwrap();
    dataset_rows(&[path])
}

const CONTRACT: &str = r#"
name: shop.visit_count
purpose: How many came.
owner: shop
mode: latest
visibility: city
key: [hall_id, month]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: "The city"}
  - {name: hall_id, type: text, nullable: false, class: internal, meaning: "The hall, `hall.hall_id`"}
  - {name: month, type: day, unit: month, nullable: false, class: public, meaning: "First day of the month"}
  - {name: opened_on, type: day, nullable: true, class: public, meaning: "When it opened"}
  - {name: closed_in, type: day, unit: month, nullable: true, class: public, meaning: "When it closed"}
  - {name: seen_at, type: instant, nullable: true, class: public, meaning: "The last one"}
  - {name: type, type: text, nullable: true, class: public, meaning: "What it is"}
  - {name: visits, type: integer, nullable: false, class: public, meaning: "Visits"}
  - {name: paid_fen, type: integer, unit: fen, nullable: false, class: public, meaning: "Paid"}
  - {name: owed_fen, type: integer, unit: fen, nullable: true, class: public, meaning: "Owed"}
  - {name: share, type: real, nullable: true, class: public, meaning: "Share of all"}
  - {name: withdrawn, type: boolean, nullable: false, class: public, meaning: "Gone"}
  - {name: revision, type: integer, nullable: false, class: public, meaning: "Set by the kernel"}
"#;

fn has(code: &str, parts: &[&str]) {
    let flat = |text: &str| text.split_whitespace().collect::<String>().replace(",}", "}").replace(",)", ")");
    parts.iter().for_each(|part| assert!(flat(code).contains(&flat(part)), "{part} is not in\n{code}"));
}

#[test]
fn a_contract_becomes_a_row_with_the_columns_that_its_plugin_writes() {
    let code = rows(CONTRACT).unwrap();
    has(
        &code,
        &[
            "/// A row of `shop.visit_count`.\n///\n/// How many came.",
            "pub(crate) struct VisitCountRow { /// The hall, `hall.hall_id`\n pub(crate) hall_id: String,",
            "pub(crate) month: backplane_sdk::Month,",
            "pub(crate) opened_on: Option<backplane_sdk::Day>,",
            "pub(crate) closed_in: Option<backplane_sdk::Month>,",
            "pub(crate) seen_at: Option<i64>,",
            "pub(crate) r#type: Option<String>,",
            "pub(crate) visits: i64,",
            "pub(crate) paid_fen: backplane_sdk::Fen,",
            "pub(crate) owed_fen: Option<backplane_sdk::Fen>,",
            "pub(crate) share: Option<f64>,",
            "pub(crate) withdrawn: bool,\n}",
            "impl backplane_sdk::warehouse::Row for VisitCountRow",
            "const DATASET: &'static str = \"shop.visit_count\";",
            r#"= "\"hall_id\", \"month\", \"opened_on\", \"closed_in\", CAST(\"seen_at\" AS BIGINT) AS \"seen_at\", \"type\", \"visits\", \"paid_fen\", \"owed_fen\", \"share\", \"withdrawn\"";"#,
            ".text(\"hall_id\", |row| row.hall_id.as_str())",
            ".day(\"month\", |row| row.month.first_day())",
            ".optional_day(\"opened_on\", |row| row.opened_on)",
            ".optional_day(\"closed_in\", |row| row.closed_in.map(|value| value.first_day()))",
            ".optional_instant(\"seen_at\", |row| row.seen_at)",
            ".optional_text(\"type\", |row| row.r#type.as_deref())",
            ".money(\"paid_fen\", |row| row.paid_fen)",
            ".optional_money(\"owed_fen\", |row| row.owed_fen)",
            ".optional_real(\"share\", |row| row.share)",
        ],
    );
    assert!(!code.contains("revision") && !code.contains("city"), "the kernel sets them:\n{code}");
}

#[test]
fn the_day_beside_an_instant_is_the_kernels_and_a_revision_of_rows_that_never_change_is_not() {
    let columns = "columns:\n  - {name: at, type: instant, nullable: false, meaning: m}\n  - {name: day, type: day, nullable: false, meaning: m}\n  - {name: revision, type: integer, nullable: false, meaning: m}\n";
    let code = rows(&format!("name: shop.visit\npurpose: p\nmode: append\n{columns}")).unwrap();
    has(&code, &["pub(crate) struct VisitRow { /// m\n pub(crate) at: i64, /// m\n pub(crate) revision: i64,\n}"]);
}

#[test]
fn what_is_no_contract_is_named_by_its_file() {
    for (from, to, expected) in [("type: real", "type: decimal", "'share' is of type 'decimal'"), ("purpose: How many came.", "", "purpose")] {
        let error = rows(&CONTRACT.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains("shop.visit_count.yaml") && error.contains(expected), "{error}");
    }
}
