use backplane_proto::{
    ingest::v1::{FileHeader, ImportFileRequest, import_file_request},
    warehouse::v1::QueryRequest,
};

use crate::kernel::{Kernel, city_caller, interactions, log_line, province};

const FEED: &str = "portal.access";

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_rows_keys_files_quarantine_and_visitors() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let appended = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    let mut file: String = (0..100).map(|minute| log_line("83.149.9.216", minute, "GET / HTTP/1.1", 200)).collect();
    file.push_str("junk\n");
    let taken = kernel.import(&foshan, FEED, "portal.access.440600.20150517.log", file.as_bytes()).await.unwrap();
    let visitors = "select distinct visitor_id from interaction where page = '/'";
    let before = kernel.table(&foshan, visitors).await;
    let key = std::fs::metadata(kernel.settings.dir.join("visitor.key")).unwrap();
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&key.permissions()) & 0o777, 0o600);
    assert_eq!(key.len(), 32);
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, 103);
    let again = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap();
    assert_eq!((again.snapshot_id, again.repeated_batch), (appended.snapshot_id, true));
    let again = kernel.import(&foshan, FEED, "portal.access.440600.20150517.log", file.as_bytes()).await.unwrap();
    assert_eq!((again.duplicate_file, again.snapshot_id, again.rows_quarantined), (true, taken.snapshot_id, 1));
    assert_eq!(kernel.quarantine(&foshan, FEED).await.len(), 1);
    assert_eq!(kernel.table(&foshan, visitors).await, before);
}

/// What is committed of the feed's files, seen or not.
async fn rows_taken(kernel: &Kernel) -> i64 {
    kernel.statuses(&province(), FEED).await.iter().map(|status| status.rows_taken).sum()
}

/// The file is uploaded, the kernel goes away after some commits, and what follows gives the same rows as one uninterrupted import.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_goes_on_and_every_row_is_there_once() {
    let file: String =
        (0..3_000u32).map(|line| log_line(&format!("10.0.{}.{}", line % 7, line % 50), line % 700, &format!("GET /p{} HTTP/1.1", line % 13), 200)).collect();
    let foshan = city_caller("440600");
    let whole = Kernel::start().await;
    whole.import(&foshan, FEED, "portal.access.440600.20150517.log", file.as_bytes()).await.unwrap();
    let sql = "select count(*), count(distinct event_id), count(distinct visitor_id), count(distinct session_id) from interaction";
    let expected = whole.table(&foshan, sql).await[0].split('|').map(str::to_owned).collect::<Vec<_>>();

    let mut kernel = Kernel::start_with(|settings| settings.chunk_lines = 100).await;
    let mut interrupted = 0;
    for round in 0..100 {
        if round == 0 {
            let header = FileHeader {
                feed: FEED.to_owned(),
                file_name: "portal.access.440600.20150517.log".to_owned(),
                size_bytes: file.len() as i64,
                ..FileHeader::default()
            };
            let mut parts = vec![ImportFileRequest { part: Some(import_file_request::Part::Header(header)) }];
            parts
                .extend(file.as_bytes().chunks(100_000).map(|chunk| ImportFileRequest { part: Some(import_file_request::Part::Chunk(chunk.to_vec().into())) }));
            // The answers are dropped at once: the upload is complete, so the import goes on.
            drop(kernel.ingest(&foshan).import_file(tokio_stream::iter(parts)).await.unwrap());
        } else if kernel.warehouse.resume_imports().await.unwrap() == 0 {
            break;
        }
        let before = rows_taken(&kernel).await;
        while rows_taken(&kernel).await < (before + 300).min(3_000) {
            tokio::task::yield_now().await;
        }
        let seen = kernel.number(&foshan, "select count(*) from interaction").await;
        assert!([0, 3_000].contains(&seen), "{seen} rows of a file that has 3000 are seen");
        interrupted += 1;
        // Another size of chunks each time: what counts is the line up to which rows are committed.
        kernel = kernel.restarted(|settings| settings.chunk_lines = 70 + round * 10).await;
    }
    assert!(interrupted > 2, "{interrupted} interruptions");
    let mut found = kernel.table(&foshan, sql).await[0].split('|').map(str::to_owned).collect::<Vec<_>>();
    // Visitor ids differ between the two installations, their number does not.
    assert_eq!(std::mem::take(&mut found), expected);
    let statuses = kernel.statuses(&province(), "portal.access").await;
    assert_eq!((statuses[0].files, statuses[0].files_unfinished, statuses[0].rows_taken), (1, 0, 3_000));
    assert_eq!(std::fs::read_dir(kernel.settings.dir.join("inbox")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_dropped_without_closing_loses_nothing_that_was_acknowledged() {
    let mut kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    for round in 0..5 {
        kernel.append(&foshan, &format!("k{round}"), &interactions(&format!("r{round}"), "/home", 10)).await.unwrap();
        kernel = kernel.restarted(|_| {}).await;
        assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, (round + 1) * 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_from_before_a_restart_is_what_it_was() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let mut pins = Vec::new();
    for round in 1..=3 {
        pins.push(kernel.append(&foshan, &format!("k{round}"), &interactions(&format!("r{round}"), "/home", 10)).await.unwrap().snapshot_id);
    }
    let kernel = kernel.restarted(|_| {}).await;
    pins.push(kernel.append(&foshan, "k4", &interactions("r4", "/home", 10)).await.unwrap().snapshot_id);
    let sql = "select count(*) from interaction";
    for (round, pin) in pins.into_iter().enumerate() {
        let pinned = QueryRequest { sql: sql.to_owned(), snapshot_id: pin, ..QueryRequest::default() };
        assert_eq!(kernel.ask(&foshan, pinned).await.unwrap().lines(), [format!("{}", 10 * (round + 1))]);
    }
}
