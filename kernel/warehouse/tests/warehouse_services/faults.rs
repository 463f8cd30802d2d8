//! A catalog that fails in the middle of a commit, since triggers refuse a statement, and files that cannot be written.

use backplane_proto::ingest::v1::AppendRequest;
use futures::future::join_all;
use sqlx::{Connection, SqliteConnection};
use tonic::Code;
use tonic_types::StatusExt;

use crate::kernel::{Kernel, city_caller, interactions, log_line};

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

/// Appends that are committed together: the folder of one dataset cannot be written.
#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_whose_files_cannot_be_written_fails_alone() {
    const APPENDS: usize = 40;
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let document = "name: other\npurpose: p\nowner: o\nmode: append\nvisibility: city\nkey: [id]\ncolumns:\n
  - {name: city, type: text, nullable: false, class: public, meaning: m}
  - {name: id, type: integer, nullable: false, class: internal, meaning: m}\n";
    kernel.put_dataset(document, 0).await.unwrap();
    let other = async |id: usize| {
        let (dataset, rows_json) = ("other".to_owned(), format!("{{\"id\": {id}}}"));
        let request = AppendRequest { dataset, rows_json, idempotency_key: format!("other-{id}"), ..AppendRequest::default() };
        kernel.ingest(&foshan).append(request).await
    };
    let event = async |index: usize| kernel.append(&foshan, &format!("event-{index}"), &interactions(&format!("e{index}"), "/home", 1)).await;
    other(0).await.unwrap();
    event(0).await.unwrap();
    let folder = kernel.settings.dir.join("data/main/other");
    let aside = kernel.settings.dir.join("other");
    std::fs::rename(&folder, &aside).unwrap();
    std::fs::write(&folder, "no folder").unwrap();
    let (others, events) = tokio::join!(join_all((1..APPENDS).map(other)), join_all((1..APPENDS).map(event)));
    assert!(events.iter().all(Result::is_ok), "{events:?}");
    for other in &others {
        let status = other.as_ref().unwrap_err();
        assert_eq!((status.code(), status.get_error_details().error_info().map(|info| info.reason.as_str())), (Code::Internal, Some("STORAGE_FAILED")));
    }
    assert_eq!(kernel.number(&foshan, ROWS).await as usize, APPENDS);

    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&aside, &folder).unwrap();
    assert_eq!(kernel.number(&foshan, "select count(*) from other").await, 1, "nothing of what failed is there");
    let again = join_all((1..APPENDS).map(other)).await;
    assert!(again.iter().all(|answer| answer.as_ref().is_ok_and(|answer| !answer.get_ref().repeated_batch)));
    assert_eq!(kernel.number(&foshan, "select count(*) from other").await as usize, APPENDS);
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
