//! A catalog that fails in the middle of a commit: triggers refuse a statement.

use sqlx::{Connection, SqliteConnection};
use tonic::Code;
use tonic_types::StatusExt;

use crate::kernel::{Kernel, city_caller, log_line};

const FEED: &str = "portal.access";
const ROWS: &str = "select count(*) from interaction";

async fn catalog(kernel: &Kernel) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}", kernel.settings.dir.join("catalog.db").display())).await.unwrap()
}

async fn run(catalog: &mut SqliteConnection, sql: String) {
    sqlx::query(sqlx::AssertSqlSafe(sql)).execute(catalog).await.unwrap();
}

/// Two good lines and a bad one; each number makes another file.
fn file(number: u32) -> (String, String) {
    let day = number % 28 + 1;
    let name = format!("portal.access.440600.2015{:02}{day:02}.log", number / 28 + 1);
    (name, format!("{}{}junk\n", log_line("1.1.1.1", number, "GET /a HTTP/1.1", 200), log_line("1.1.1.1", number, "GET /b HTTP/1.1", 200)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_statement_fails_leaves_nothing_and_is_made_again() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.allow_bad_rows(FEED).await;
    let (name, text) = file(0);
    kernel.import(&foshan, FEED, &name, text.as_bytes()).await.unwrap();
    let mut catalog = catalog(&kernel).await;
    let tables: Vec<(String,)> =
        sqlx::query_as("select name from sqlite_master where type = 'table' and name like 'ducklake%' order by name").fetch_all(&mut catalog).await.unwrap();
    let mut failed = Vec::new();
    for (number, (table,)) in (1..).zip(&tables) {
        for verb in ["insert", "update", "delete"] {
            run(&mut catalog, format!("create trigger refuse_{verb} before {verb} on \"{table}\" begin select raise(abort, 'injected'); end")).await;
        }
        let (rows, waiting) = (kernel.number(&foshan, ROWS).await, kernel.quarantine(&foshan, FEED).await.len());
        let (name, text) = file(number);
        let first = kernel.import(&foshan, FEED, &name, text.as_bytes()).await;
        if let Err(status) = &first {
            assert_eq!(
                (status.code(), status.get_error_details().error_info().map(|info| info.reason.as_str())),
                (Code::Internal, Some("STORAGE_FAILED")),
                "{table}: {status:?}"
            );
            let there = (kernel.number(&foshan, ROWS).await, kernel.quarantine(&foshan, FEED).await.len());
            assert_eq!(there, (rows, waiting), "{table}: what failed left something");
            failed.push(table.as_str());
        }
        for verb in ["insert", "update", "delete"] {
            run(&mut catalog, format!("drop trigger refuse_{verb}")).await;
        }
        let again = kernel.import(&foshan, FEED, &name, text.as_bytes()).await.unwrap();
        assert_eq!((again.rows_taken, again.rows_quarantined, again.duplicate_file), (2, 1, first.is_ok()), "{table}");
        let there = (kernel.number(&foshan, ROWS).await, kernel.quarantine(&foshan, FEED).await.len());
        assert_eq!(there, (rows + 2, waiting + 1), "{table}: rows are there once");
    }
    for table in ["ducklake_snapshot", "ducklake_snapshot_changes", "ducklake_data_file", "ducklake_file_column_stats"] {
        assert!(failed.contains(&table), "{table} is written by every commit; those that failed: {failed:?}");
    }
}
