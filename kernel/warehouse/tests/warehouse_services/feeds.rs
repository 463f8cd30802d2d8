use backplane_proto::ingest::v1::{FileHeader, ReplayQuarantineRequest};
use tonic::Code;

use crate::kernel::{Kernel, caller, city_caller, log_line, province, reason};

const FEED: &str = "portal.access";
const NAME: &str = "portal.access.440600.20150517.log";

/// Enough good lines that a few bad ones are within the contract's share.
fn good_lines(count: u32) -> String {
    (0..count).map(|minute| log_line("83.149.9.216", minute % 600, "GET /home?from=mail HTTP/1.1", 200)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_becomes_interactions_of_the_city_in_the_files_name() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let lines = [
        r#"83.149.9.216 - - [17/May/2015:18:05:03 +0800] "GET /a/b?x=1#y HTTP/1.1" 200 203023 "http://example.com/" "Mozilla/5.0 (X11)""#,
        r#"2001:db8::7 - ana maria [17/May/2015:23:59:59 +0000] "POST /order HTTP/2.0" 503 - "-" "-" 1234567"#,
        r#"66.249.73.135 - - [17/May/2015:10:05:40 +0000] "HEAD http://portal.example/x HTTP/1.1" 301 0 "-" "An \"odd\" agent \\ \x22""#,
        r#"10.0.0.1 - - [17/May/2015:10:06:00 +0000] "-" 408 - "-" "-""#,
    ];
    // CRLF ends, an empty line, and no end after the last line.
    let file = format!("{}\r\n{}\r\n\r\n{}\r\n{}", lines[0], lines[1], lines[2], lines[3]);
    let taken = kernel.import(&foshan, FEED, NAME, file.as_bytes()).await.unwrap();
    assert_eq!((taken.lines, taken.rows_taken, taken.rows_quarantined, taken.city.as_str()), (5, 4, 0, "440600"));
    let sql = "select at, day, method, page, action, status, ok, bytes, latency_ms, referrer, user_agent, client_address from interaction order by event_id";
    assert_eq!(
        kernel.table(&foshan, sql).await,
        [
            "2015-05-17T10:05:03Z|2015-05-17|GET|/a/b|view|200|true|203023|null|http://example.com/|Mozilla/5.0 (X11)|83.149.9.216",
            "2015-05-17T23:59:59Z|2015-05-18|POST|/order|submit|503|false|null|1234|null|null|2001:db8::7",
            r#"2015-05-17T10:05:40Z|2015-05-17|HEAD|/x|view|301|true|0|null|null|An "odd" agent \ \x22|66.249.73.135"#,
            "2015-05-17T10:06:00Z|2015-05-17|null|-|view|408|false|null|null|null|null|10.0.0.1",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_lines_are_quarantined_with_line_column_reason_and_text() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let mut file = good_lines(600).into_bytes();
    let long = format!("83.149.9.216 - - [17/May/2015:10:05:03 +0000] \"GET /{} HTTP/1.1\" 200 5 \"-\" \"-\"", "x".repeat(70_000));
    let bad: &[&[u8]] = &[
        b"not a log line",
        br#"1.1.1.1 - - [32/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#,
        br#"1.1.1.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" abc 5 "-" "-""#,
        br#"1.1.1.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "no closing quote"#,
        b"1.1.1.1 - - [17/May/2015:10:05:03 +0000] \"\x16\x03\x01\" 200 5 \"-\" \"-\"",
        br#"1.1.1.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5 "-" "-" extra"#,
        long.as_bytes(),
        br#"1.1.1.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 99999999999999999999 "-" "-""#,
    ];
    for line in bad {
        file.extend_from_slice(line);
        file.push(b'\n');
    }
    let taken = kernel.import(&foshan, FEED, NAME, &file).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_quarantined), (600, 8));
    let found: Vec<_> = kernel.quarantine(&foshan, FEED).await.into_iter().map(|row| (row.line, row.reason, row.column)).collect();
    let expected = [
        (601, "LINE_MALFORMED", ""),
        (602, "TIME_INVALID", "at"),
        (603, "NUMBER_INVALID", "status"),
        (604, "LINE_MALFORMED", ""),
        (605, "REQUEST_INVALID", ""),
        (606, "LINE_MALFORMED", ""),
        (607, "LINE_TOO_LONG", ""),
        (608, "NUMBER_INVALID", "bytes"),
    ];
    let mut found = found;
    found.sort();
    assert_eq!(found, expected.map(|(line, reason, column)| (line, reason.to_owned(), column.to_owned())));
    assert_eq!(taken.quarantine_reasons.iter().map(|count| (count.reason.as_str(), count.rows)).collect::<Vec<_>>().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_after_half_an_hour_and_do_not_begin_for_lines_out_of_order() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let minutes = [0, 20, 10, 50, 49, 81, 80];
    let mut file: String = minutes.iter().map(|minute| log_line("1.1.1.1", *minute, "GET / HTTP/1.1", 200)).collect();
    file.push_str(&log_line("2.2.2.2", 5, "GET / HTTP/1.1", 200));
    kernel.import(&foshan, FEED, NAME, file.as_bytes()).await.unwrap();
    let rows = kernel.table(&foshan, "select count(*) from interaction group by session_id order by 1").await;
    // 0, 20, 10, 50 (30 after 20), 49 together; 81 is 31 after 50 and begins anew, 80 stays in it.
    assert_eq!(rows, ["1", "2", "5"]);
    assert_eq!(kernel.number(&foshan, "select count(distinct visitor_id) from interaction where length(visitor_id) = 16").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_taken_is_recognised_and_changes_nothing() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let first = kernel.import(&foshan, FEED, NAME, good_lines(10).as_bytes()).await.unwrap();
    let again = kernel.import(&foshan, FEED, "portal.access.440600.20150518.log", good_lines(10).as_bytes()).await.unwrap();
    assert_eq!((first.duplicate_file, again.duplicate_file), (false, true));
    assert_eq!((again.rows_taken, again.snapshot_id, again.lines), (first.rows_taken, first.snapshot_id, first.lines));
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, 10);
    // For another city it is another file.
    kernel.import(&city_caller("441900"), FEED, "portal.log", good_lines(10).as_bytes()).await.unwrap();
    assert_eq!(kernel.number(&province(), "select count(*) from interaction").await, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_sent_several_times_at_once_is_taken_once() {
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 50).await;
    let foshan = city_caller("440600");
    let file = good_lines(500);
    let results = futures::future::join_all((0..5).map(|_| kernel.import(&foshan, FEED, NAME, file.as_bytes()))).await;
    assert!(results.iter().all(|result| result.as_ref().is_ok_and(|result| result.rows_taken == 500)), "{results:?}");
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_too_many_bad_rows_is_stopped_and_says_why() {
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 1_000).await;
    let foshan = city_caller("440600");
    let file = format!("{}{}{}", good_lines(1_500), "junk\n".repeat(200), good_lines(300));
    let status = kernel.import(&foshan, FEED, NAME, file.as_bytes()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "FILE_TOO_BAD"));
    assert!(status.message().contains("LINE_MALFORMED 200 times, first in line 1501"), "{}", status.message());
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, 0, "what was committed before is taken back");
    let statuses = kernel.statuses(&foshan, "portal.access").await;
    assert_eq!((statuses.len(), statuses[0].files, statuses[0].files_unfinished), (1, 0, 0));
    assert!(statuses[0].last_error.contains("too bad"), "{}", statuses[0].last_error);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_the_feed_is_refused() {
    let kernel = Kernel::start_with(|settings| settings.file_bytes_max = 10_000).await;
    let foshan = city_caller("440600");
    let both = caller("both", &[("*", &["440600", "441900"])]);
    let line = log_line("1.1.1.1", 1, "GET / HTTP/1.1", 200);
    let refused = [
        (foshan.clone(), "no.such", NAME, "FEED_UNKNOWN"),
        (foshan.clone(), FEED, "../portal.access.440600.20150517.log", "FILE_REFUSED"),
        (foshan.clone(), FEED, "", "FILE_REFUSED"),
        (foshan.clone(), FEED, "portal.access.441900.20150517.log", "PERMISSION_MISSING"),
        (foshan.clone(), FEED, "portal.access.999999.20150517.log", "CITY_UNKNOWN"),
        (both.clone(), FEED, "portal.log", "CITY_REQUIRED"),
        (both.narrowed("440600".parse().unwrap()), FEED, "portal.access.441900.20150517.log", "FILE_REFUSED"),
    ];
    for (context, feed, name, expected) in refused {
        let status = kernel.import(&context, feed, name, line.as_bytes()).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{feed} {name}: {}", status.message());
    }
    let header = |size_bytes, sha256: &str| FileHeader {
        feed: FEED.to_owned(),
        file_name: NAME.to_owned(),
        size_bytes,
        sha256: sha256.to_owned(),
        ..FileHeader::default()
    };
    let size = line.len() as i64;
    for header in [header(size, &"0".repeat(64)), header(size + 1, ""), header(size - 1, ""), header(-1, ""), header(1 << 40, "")] {
        let status = kernel.import_parts(&foshan, header.clone(), line.as_bytes()).await.unwrap_err();
        assert_eq!(reason(&status), "FILE_REFUSED", "{header:?}");
    }
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, 0);
    let left = std::fs::read_dir(kernel.settings.dir.join("inbox")).unwrap().count();
    assert_eq!(left, 0, "nothing of a refused file stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn replaying_takes_what_can_be_read_once() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let file = format!("{}{}junk\n", good_lines(200), r#"9.9.9.9 - - [32/May/2015:10:05:03 +0000] "GET /late HTTP/1.1" 200 5 "-" "-""#.to_owned() + "\n");
    kernel.import(&foshan, FEED, NAME, file.as_bytes()).await.unwrap();
    let waiting = kernel.quarantine(&foshan, FEED).await;
    assert_eq!(waiting.len(), 2);
    let replay = |ids: Vec<String>, corrected: &str| {
        let request = ReplayQuarantineRequest { feed: FEED.to_owned(), quarantine_ids: ids, corrected_text: corrected.to_owned() };
        let mut client = kernel.ingest(&foshan);
        async move { client.replay_quarantine(request).await.map(|response| response.into_inner()) }
    };
    let as_it_is = replay(Vec::new(), "").await.unwrap();
    assert_eq!((as_it_is.rows_taken, as_it_is.rows_still_bad), (0, 2));
    let id = waiting.iter().find(|row| row.reason == "TIME_INVALID").unwrap().quarantine_id.clone();
    let text = r#"9.9.9.9 - - [30/May/2015:10:05:03 +0000] "GET /late HTTP/1.1" 200 5 "-" "-""#;
    for expected in [1, 0, 0] {
        let replayed = replay(vec![id.clone()], text).await.unwrap();
        assert_eq!((replayed.rows_taken, replayed.rows_still_bad), (expected, 0));
    }
    assert_eq!(kernel.table(&foshan, "select page, right(session_id, 5) from interaction where page = '/late'").await, ["/late|-r201"]);
    assert_eq!(kernel.quarantine(&foshan, FEED).await.len(), 1);
    let statuses = kernel.statuses(&foshan, "portal.access").await;
    assert_eq!((statuses[0].rows_taken, statuses[0].rows_quarantined, statuses[0].rows_waiting, statuses[0].files), (201, 2, 1, 1));
    assert_eq!(reason(&replay(vec!["nothing".to_owned()], "").await.unwrap_err()), "RESOURCE_NOT_FOUND");
    assert_eq!(reason(&replay(Vec::new(), text).await.unwrap_err()), "FIELD_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantine_and_status_of_another_city_are_not_seen() {
    let kernel = Kernel::start().await;
    let file = format!("{}junk\n", good_lines(100));
    kernel.import(&city_caller("440600"), FEED, NAME, file.as_bytes()).await.unwrap();
    let dongguan = city_caller("441900");
    assert!(kernel.quarantine(&dongguan, FEED).await.is_empty());
    assert!(kernel.statuses(&dongguan, "").await.iter().all(|status| status.city == "441900" && status.files == 0 && status.rows_quarantined == 0));
    let id = kernel.quarantine(&province(), FEED).await[0].quarantine_id.clone();
    let request = ReplayQuarantineRequest { feed: FEED.to_owned(), quarantine_ids: vec![id], corrected_text: log_line("1.1.1.1", 1, "GET / HTTP/1.1", 200) };
    assert_eq!(reason(&kernel.ingest(&dongguan).replay_quarantine(request).await.unwrap_err()), "RESOURCE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_counts_lines_right_through_quoted_line_breaks_and_open_quotes() {
    let kernel = Kernel::start().await;
    let header = "\u{feff}name_en,city,province,name_zh,latitude,longitude\r\n";
    let good = format!("{header}\"Fo\r\nshan\",440600,440000,\"佛山\"\"市\",23.02,113.11\r\n\r\nDongguan,441900,440000,东莞市,23.05,113.74");
    kernel.import(&province(), "ref.city", "cities.csv", good.as_bytes()).await.unwrap_err();
    let named = "ref.city.440000.20260101.csv";
    let taken = kernel.import(&province(), "ref.city", named, good.as_bytes()).await.unwrap();
    assert_eq!((taken.lines, taken.rows_taken), (5, 2));
    assert_eq!(
        kernel.table(&province(), "select replace(name_en, chr(10), '/'), name_zh from city order by city").await,
        ["Fo/shan|佛山\"市", "Dongguan|东莞市"]
    );
    let cases = [
        ("x,440600,440000,佛山市,23.02\n", "FIELD_COUNT 1 times, first in line 2"),
        ("x,123456,440000,佛山市,23.02,1\n", "CITY_UNKNOWN 1 times, first in line 2"),
        ("x,440600,440000,佛山市,NaN,1\n", "NUMBER_INVALID 1 times, first in line 2"),
        (",440600,440000,佛山市,1,1\n", "VALUE_MISSING 1 times, first in line 2"),
        ("\"open,440600,440000,佛山市,1,1\nx,441900,440000,东莞市,23.05,1\n", "QUOTE_OPEN 1 times, first in line 2"),
    ];
    for (rows, expected) in cases {
        let status = kernel.import(&province(), "ref.city", named, format!("{header}{rows}").as_bytes()).await.unwrap_err();
        assert_eq!(reason(&status), "FILE_TOO_BAD");
        assert!(status.message().contains(expected), "{} lacks {expected}", status.message());
    }
    let status = kernel.import(&province(), "ref.city", named, "town,province\nx,y\n".as_bytes()).await.unwrap_err();
    assert_eq!(reason(&status), "FILE_REFUSED");
    assert!(status.message().contains("lacks the column 'city'"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_taken_with_no_rows() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let taken = kernel.import(&foshan, FEED, NAME, b"").await.unwrap();
    assert_eq!((taken.lines, taken.rows_taken, taken.duplicate_file), (0, 0, false));
    assert!(kernel.import(&foshan, FEED, NAME, b"").await.unwrap().duplicate_file);
}

/// Of the excerpt of a real log that the repository carries, or of the log that BACKPLANE_REAL_LOG names.
#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_a_real_log_is_taken_or_quarantined() {
    let excerpt = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/portal-log/access-200.log");
    let file = std::fs::read(std::env::var_os("BACKPLANE_REAL_LOG").unwrap_or_else(|| excerpt.into())).unwrap();
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let began = std::time::Instant::now();
    let taken = kernel.import(&foshan, FEED, NAME, &file).await.unwrap();
    eprintln!("{} rows taken of {} lines in {:?}; quarantined: {:?}", taken.rows_taken, taken.lines, began.elapsed(), taken.quarantine_reasons);
    for row in kernel.quarantine(&foshan, FEED).await {
        eprintln!("line {} {} {}: {}", row.line, row.reason, row.column, row.message);
    }
    assert_eq!(taken.rows_taken + taken.rows_quarantined, taken.lines);
    assert_eq!(kernel.number(&foshan, "select count(*) from interaction").await, taken.rows_taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_to_the_disk_while_it_comes_in_is_taken_whole() {
    const LINES: u64 = 400_000;
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let line = |number: u64| format!("10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /page HTTP/1.1\" 200 {number} \"-\" \"Mozilla/5.0\"\n");
    let log: String = (1..=LINES).map(line).collect();
    assert!(log.len() > 32 << 20, "several times what is brought to the disk at least");
    let taken = kernel.import(&foshan, "portal.access", "access.log", log.as_bytes()).await.unwrap();
    assert_eq!(taken.rows_taken, LINES.cast_signed());
    assert_eq!(kernel.table(&foshan, "select count(*), sum(bytes) from interaction").await, [format!("{LINES}|{}", LINES * (LINES + 1) / 2)]);
}
