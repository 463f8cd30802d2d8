//! What the kernel keeps is read by others: DuckDB, with its own implementation of DuckLake, finds the rows that the kernel answers.

use backplane_tests::{Kernel, python, repository};
use serde_json::Value;

/// Every dataset that has rows, now and half of the snapshots ago.
pub(crate) fn duckdb_reads_what_the_kernel_answers(kernel: &Kernel) {
    let answers = tempfile::tempdir().unwrap();
    let newest: Value = serde_json::from_str(&kernel.cli_ok(&["query", "select 1", "--json"])).unwrap();
    let newest = newest["snapshot_id"].as_i64().unwrap();
    let datasets: Value = serde_json::from_str(&kernel.cli_ok(&["tables", "--json"])).unwrap();
    let mut written = 0;
    for dataset in datasets["datasets"].as_array().unwrap().iter().filter(|dataset| dataset["rows"] != "0") {
        let name = dataset["name"].as_str().unwrap();
        // In a snapshot before its first rows DuckDB has no table.
        for snapshot in [newest, newest / 2].into_iter().filter(|snapshot| *snapshot == newest || has_rows(kernel, name, *snapshot)) {
            let file = answers.path().join(format!("main.{name}@{snapshot}.parquet"));
            let sql = format!("select * from \"{name}\"");
            kernel.cli_ok(&["query", &sql, "--snapshot", &snapshot.to_string(), "--format", "parquet", "--output", file.to_str().unwrap()]);
            written += 1;
        }
    }
    let script = repository().join("tests/independent/duckdb_reads.py");
    let output = python().arg(script).arg(kernel.dir().join("warehouse")).arg(answers.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(&format!("{written} answers with ")), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(written > 40, "{said}");
}

fn has_rows(kernel: &Kernel, dataset: &str, snapshot: i64) -> bool {
    let counted = kernel.cli_ok(&["query", &format!("select count(*) as n from \"{dataset}\""), "--snapshot", &snapshot.to_string(), "--json"]);
    serde_json::from_str::<Value>(&counted).unwrap()["rows"][0]["n"] != 0
}
