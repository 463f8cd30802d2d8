use backplane_proto::ingest::v1::FileHeader;
use tonic::Code;

use crate::{
    kernel::{Kernel, city_caller, reason},
    platform::{Sent, gzip, number, numbers, usage},
};

const NAME: &str = "misc.usage.440600.20260102.txt.gz";

fn some_usage() -> Sent {
    Sent::new(NAME, &(1..=4).map(|customer| usage(number(customer), "a", "20260102", customer)).collect::<String>())
}

/// What is sent, and what the refusal says.
fn cases() -> Vec<(&'static str, FileHeader, Vec<u8>, &'static str)> {
    let sent = some_usage();
    let (header, bytes, sha256) = (sent.header(), sent.bytes.clone(), sent.sha256());
    let with = |control: String| FileHeader { control_file: control, ..header.clone() };
    let of_bytes = |bytes: &[u8], rows: u64| Sent { bytes: bytes.to_vec(), rows, ..some_usage() };
    let cut = of_bytes(&bytes[..bytes.len() - 9], 4);
    let plain = of_bytes(usage(number(1), "a", "20260102", 1).as_bytes(), 1);
    let rubbish = of_bytes(&gzip(&[0, 159, 146, 150, 0, 10, 255, 254, 13, 10]), 2);
    let other_name = Sent { name: "usage-of-friday.txt.gz".to_owned(), ..some_usage() };
    let (cut_bytes, plain_bytes, rubbish_bytes) = (cut.bytes.clone(), plain.bytes.clone(), rubbish.bytes.clone());
    vec![
        ("too long", with(format!("{NAME}|4|{sha256}|20260102{}", " ".repeat(2_000))), bytes.clone(), "expected one line"),
        ("none", with(String::new()), bytes.clone(), "sends a control file with each: send misc.usage.440600.20260102.txt.gz.ctl with it"),
        ("too few rows", with(format!("{NAME}|3|{sha256}|20260102")), bytes.clone(), "it has 4 rows, and its control file says 3"),
        ("too many rows", with(format!("{NAME}|5|{sha256}|20260102")), bytes.clone(), "it has 4 rows, and its control file says 5"),
        ("another digest", with(format!("{NAME}|4|{}|20260102", "ab".repeat(32))), bytes.clone(), "it was cut off or changed, send it again"),
        ("another file", with(format!("misc.usage.440600.20260103.txt.gz|4|{sha256}|20260102")), bytes.clone(), "is for 'misc.usage.440600.20260103.txt.gz'"),
        ("another day", with(format!("{NAME}|4|{sha256}|20260103")), bytes.clone(), "its name says the period 20260102, and its control file 20260103"),
        ("a month", with(format!("{NAME}|4|{sha256}|202601")), bytes.clone(), "its name says the period 20260102, and its control file 202601"),
        ("no number", with(format!("{NAME}|four|{sha256}|20260102")), bytes.clone(), "expected a number of rows; found 'four'"),
        ("a negative number", with(format!("{NAME}|-4|{sha256}|20260102")), bytes.clone(), "expected a number of rows; found '-4'"),
        ("a field short", with(format!("{NAME}|4|{sha256}")), bytes.clone(), "found 3"),
        ("two lines", with(format!("{NAME}|4|{sha256}|20260102\n{NAME}|4|{sha256}|20260102")), bytes.clone(), "expected one line"),
        ("cut off, as the control file knows", FileHeader { size_bytes: cut_bytes.len() as i64, ..header.clone() }, cut_bytes.clone(), "cut off or changed"),
        ("cut off before it was counted", cut.header(), cut_bytes, "its gzip stream ends early: the file was cut off, send it again"),
        ("not compressed", plain.header(), plain_bytes, "it is no sound gzip file"),
        ("a period that the call denies", FileHeader { period: "20260103".to_owned(), ..header.clone() }, bytes.clone(), "the call is for 20260103"),
        ("a name without a period", FileHeader { control_file: String::new(), ..other_name.header() }, bytes, "sends a control file with each"),
        ("something else altogether", rubbish.header(), rubbish_bytes, "is too bad: 2 of 2 rows could not be read"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_its_control_file_says_is_refused_whole() {
    let foshan = city_caller("440600");
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 3).await;
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    for (what, header, bytes, expected) in cases() {
        let status = kernel.import_parts(&foshan, header, &bytes).await.unwrap_err();
        assert!(status.message().contains(expected), "{what}: {}", status.message());
        let wanted = if expected.contains("too bad") { (Code::FailedPrecondition, "FILE_TOO_BAD") } else { (Code::InvalidArgument, "FILE_REFUSED") };
        assert_eq!((status.code(), reason(&status).as_str()), wanted, "{what}");
        assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 0, "{what}");
        assert!(kernel.quarantine(&foshan, "misc.usage").await.is_empty(), "{what}");
        assert_eq!(std::fs::read_dir(kernel.settings.dir.join("inbox")).unwrap().count(), 0, "{what}");
        // Who sends may be a program that nobody watches: the feed's status tells as well.
        let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
        assert!(status.last_error.contains(expected), "{what}: {}", status.last_error);
        assert_eq!((status.files, status.rows_taken, status.files_unfinished), (0, 0, 0), "{what}");
        kernel.clock.advance(1);
    }
    kernel.clock.advance(1_000_000);
    let taken = kernel.send(&foshan, &some_usage()).await.unwrap();
    assert_eq!((taken.rows_taken, taken.duplicate_file, taken.period.as_str()), (4, false, "20260102"));
    let last_error = async || kernel.statuses(&foshan, "misc.usage").await.remove(0).last_error;
    assert_eq!(last_error().await, "", "an error that a later file did not have is over");

    // Again and without its papers, twice: told once. Then as it was: what is in is sound.
    kernel.clock.advance(1);
    let snapshot = kernel.query(&foshan, "select 1").await.unwrap().snapshot_id;
    for _ in 0..2 {
        let header = FileHeader { control_file: String::new(), ..some_usage().header() };
        kernel.import_parts(&foshan, header, &some_usage().bytes).await.unwrap_err();
    }
    assert!(last_error().await.contains("sends a control file with each"));
    assert_eq!(kernel.query(&foshan, "select 1").await.unwrap().snapshot_id, snapshot + 1);
    kernel.clock.advance(1);
    assert!(kernel.send(&foshan, &some_usage()).await.unwrap().duplicate_file);
    assert_eq!(last_error().await, "", "an error is over when the file that is in came again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_with_more_text_than_a_file_may_have_is_refused_whole() {
    let kernel = Kernel::start_with(|settings| (settings.file_bytes_max, settings.chunk_lines) = (20_000, 100)).await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    let bomb = Sent::new(NAME, &(0..1_000).map(|events| usage(number(1), "a", "20260102", events)).collect::<String>());
    assert!(bomb.bytes.len() < 20_000, "{} bytes compressed", bomb.bytes.len());
    let status = kernel.send(&foshan, &bomb).await.unwrap_err();
    assert_eq!(reason(&status), "FILE_REFUSED", "{status:?}");
    assert!(status.message().contains("its text has more than the 20000 bytes that a file may have: split it"), "{}", status.message());
    assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 0, "the chunks before were taken back");
    assert_eq!(std::fs::read_dir(kernel.settings.dir.join("inbox")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_file_gives_the_period_that_the_name_does_not() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    let name = "usage-of-friday.txt.gz";
    let control = format!("\u{feff}{name}|4|{}|20260102\r\n", some_usage().sha256().to_uppercase());
    let header = FileHeader { file_name: name.to_owned(), control_file: control, ..some_usage().header() };
    let taken = kernel.import_parts(&foshan, header, &some_usage().bytes).await.unwrap();
    assert_eq!((taken.rows_taken, taken.period.as_str(), taken.part), (4, "20260102", 0));
    // It stands for that day: one with the day in its name restates it.
    let restated = kernel.send(&foshan, &Sent::new(NAME, &usage(number(1), "a", "20260102", 9))).await.unwrap();
    assert_eq!((restated.rows_taken, restated.rows_restated), (1, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_counted_without_blank_lines_and_with_bad_ones() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.allow_bad_rows("misc.usage").await;
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    let text =
        format!("\u{feff}\r\n{}\r\n \r\nbad\r\n\r\n{}", usage(number(1), "a", "20260102", 1).trim_end(), usage(number(2), "a", "20260102", 1).trim_end());
    let sent = Sent { rows: 3, ..Sent::new(NAME, &text) };
    let taken = kernel.send(&foshan, &sent).await.unwrap();
    assert_eq!((taken.rows_taken, taken.rows_quarantined), (2, 1));
    assert_eq!(kernel.quarantine(&foshan, "misc.usage").await[0].line, 4);
}
