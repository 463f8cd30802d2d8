use backplane_proto::ingest::v1::{Completeness, ListCompletenessRequest};
use kernel_base::CallContext;

use crate::{
    kernel::{Kernel, city_caller, province, reason},
    platform::{Sent, enrolment, number, numbers, usage},
};

const SECOND: i64 = 1_000_000;

async fn completeness(kernel: &Kernel, context: &CallContext, month: &str, feeds: &[&str]) -> Vec<Completeness> {
    let request = ListCompletenessRequest { month: month.to_owned(), feeds: feeds.iter().map(|feed| (*feed).to_owned()).collect() };
    kernel.ingest(context).list_completeness(request).await.unwrap().into_inner().rows
}

fn december(day: u32) -> Sent {
    Sent::new(&format!("misc.usage.440600.202512{day:02}.txt.gz"), &usage(number(1), "a", &format!("202512{day:02}"), 1))
}

/// The clock stands at 8 o'clock of 1 January in Shanghai: the file of 31 December is due, and not late by a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_missing_until_its_file_is_in_and_late_when_its_time_has_passed() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(1)).await.unwrap();
    let all = completeness(&kernel, &foshan, "202512", &["misc.usage"]).await.remove(0);
    assert_eq!((all.feed.as_str(), all.city.as_str(), all.complete, all.missing.len(), all.late.len()), ("misc.usage", "440600", false, 31, 30));
    for day in (1..=31).filter(|day| ![7, 31].contains(day)) {
        kernel.send(&foshan, &december(day)).await.unwrap();
    }
    let some = completeness(&kernel, &foshan, "202512", &["misc.usage"]).await.remove(0);
    assert_eq!((some.complete, some.missing, some.late), (false, vec!["20251207".to_owned(), "20251231".to_owned()], vec!["20251207".to_owned()]));
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert_eq!((status.newest_period.as_str(), status.late_seconds), ("20251230", 0));

    kernel.clock.advance(90 * SECOND);
    let status = kernel.statuses(&foshan, "misc.usage").await.remove(0);
    assert_eq!(status.late_seconds, 90, "the file of 31 December is overdue");
    assert_eq!(completeness(&kernel, &foshan, "202512", &["misc.usage"]).await[0].late, ["20251207", "20251231"]);

    kernel.send(&foshan, &december(31)).await.unwrap();
    assert_eq!(kernel.statuses(&foshan, "misc.usage").await[0].late_seconds, 0);
    // A day without a use is a file without a row.
    kernel.send(&foshan, &Sent::new("misc.usage.440600.20251207.txt.gz", "")).await.unwrap();
    let complete = completeness(&kernel, &foshan, "202512", &["misc.usage"]).await.remove(0);
    assert_eq!((complete.complete, complete.missing.len(), complete.late.len()), (true, 0, 0));
    // One that is taken back is missing again.
    kernel.retract(&foshan, &december(3)).await.unwrap();
    assert_eq!(completeness(&kernel, &foshan, "202512", &["misc.usage"]).await[0].missing, ["20251203"]);
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(completeness(&kernel, &foshan, "202512", &["misc.usage"]).await[0].missing, ["20251203"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_not_complete_while_a_file_that_restates_one_of_its_days_comes_in() {
    // A commit a line: half a minute and more.
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 1).await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(1)).await.unwrap();
    for day in 1..=31 {
        kernel.send(&foshan, &december(day)).await.unwrap();
    }
    assert!(completeness(&kernel, &foshan, "202512", &["misc.usage"]).await[0].complete);
    let rows: String = (0..5_000).map(|row| usage(number(1), &format!("p{row}"), "20251207", 1)).collect();
    let restating = Sent::new("misc.usage.440600.20251207.txt.gz", &rows);
    let seen = async {
        let mut looks = tokio::time::interval(std::time::Duration::from_millis(5));
        while kernel.statuses(&foshan, "misc.usage").await[0].files_unfinished == 0 {
            looks.tick().await;
        }
        assert_eq!(kernel.number(&foshan, "select count(*) from usage").await, 31, "the rows of the file before are seen until its end");
        completeness(&kernel, &foshan, "202512", &["misc.usage"]).await.remove(0)
    };
    let found = tokio::select! {
        _ = kernel.send(&foshan, &restating) => panic!("the file is in before anybody looked"),
        found = seen => found,
    };
    assert_eq!((found.complete, found.missing), (false, vec!["20251207".to_owned()]), "other rows are about to count");
    kernel.warehouse.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_never_sent_a_file_is_in_the_status_of_those_who_expect_it() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.clock.advance(60 * SECOND);
    let silent = kernel.statuses(&foshan, "misc.usage").await;
    assert_eq!(silent.len(), 1, "{silent:?}");
    assert_eq!((silent[0].city.as_str(), silent[0].files, silent[0].late_seconds), ("440600", 0, 60), "the file of 31 December");
    assert_eq!(kernel.statuses(&foshan, "boss.package").await, [], "it comes when a package is made");
    // The province does not expect files of cities that are not there yet.
    assert_eq!(kernel.statuses(&province(), "misc.usage").await, []);
    kernel.send(&foshan, &numbers(1)).await.unwrap();
    let of_province = kernel.statuses(&province(), "misc.usage").await;
    assert_eq!(of_province.iter().map(|status| (status.city.as_str(), status.late_seconds)).collect::<Vec<_>>(), [("440600", 0)], "the next is due tomorrow");
    kernel.clock.advance(10 * 86_400 * SECOND);
    assert_eq!(kernel.statuses(&foshan, "misc.usage").await[0].late_seconds, 9 * 86_400 + 60, "since the day after the city's first file");
    // What came for the province by mistake is late for nobody.
    let mistaken = Sent::new("misc.usage.440000.20260102.txt.gz", "");
    kernel
        .import_parts(&province(), backplane_proto::ingest::v1::FileHeader { control_file: String::new(), ..mistaken.header() }, &mistaken.bytes)
        .await
        .unwrap_err();
    let of_province = kernel.statuses(&province(), "misc.usage").await.remove(0);
    assert_eq!((of_province.city.as_str(), of_province.late_seconds, of_province.last_error.is_empty()), ("440000", 0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_month_may_come_within_its_hours() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let month = |period: &str| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &enrolment("e1", 1, "p1", "1"));
    kernel.send(&foshan, &month("202511")).await.unwrap();
    let missing = completeness(&kernel, &foshan, "202512", &["boss.enrolment"]).await.remove(0);
    assert_eq!((missing.complete, missing.missing, missing.late.len()), (false, vec!["202512".to_owned()], 0));
    // 120 hours after the month's end is midnight of 6 January in Shanghai, 112 hours from now.
    kernel.clock.advance((112 * 3_600 + 5) * SECOND);
    let late = completeness(&kernel, &foshan, "202512", &["boss.enrolment"]).await.remove(0);
    assert_eq!(late.late, ["202512"]);
    assert_eq!(kernel.statuses(&foshan, "boss.enrolment").await[0].late_seconds, 5);
    // The same rows as in November, so that nothing but the month is new.
    let unchanged = Sent::new("boss.enrolment.440600.202512.txt.gz", &format!("{}\n", enrolment("e1", 1, "p1", "1")));
    kernel.send(&foshan, &unchanged).await.unwrap();
    assert!(completeness(&kernel, &foshan, "202512", &["boss.enrolment"]).await[0].complete);
    assert_eq!(kernel.statuses(&foshan, "boss.enrolment").await[0].late_seconds, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_city_sees_whether_its_own_files_are_in() {
    let kernel = Kernel::start().await;
    let (foshan, dongguan) = (city_caller("440600"), city_caller("441900"));
    kernel.send(&foshan, &numbers(1)).await.unwrap();
    kernel.send(&dongguan, &Sent::new("boss.number.441900.202512.txt.gz", "13800000001|9|20200101|\\N\n")).await.unwrap();
    kernel.send(&foshan, &december(1)).await.unwrap();
    let missing = |rows: Vec<Completeness>| rows.into_iter().map(|row| (row.city, row.missing.len())).collect::<Vec<_>>();
    let of = |city: &str, missing: usize| (city.to_owned(), missing);
    assert_eq!(missing(completeness(&kernel, &foshan, "202512", &["misc.usage"]).await), [of("440600", 30)]);
    assert_eq!(missing(completeness(&kernel, &dongguan, "202512", &["misc.usage"]).await), [of("441900", 31)]);
    // The province is asked of the cities from which anything has come.
    assert_eq!(missing(completeness(&kernel, &province(), "202512", &["misc.usage"]).await), [of("440600", 30), of("441900", 31)]);
    // Without names: all feeds that expect files, and no others.
    let all = completeness(&kernel, &foshan, "202512", &[]).await;
    let feeds: Vec<&str> = all.iter().map(|row| row.feed.as_str()).collect();
    assert!(
        feeds.contains(&"boss.charge") && feeds.contains(&"service.ticket") && !feeds.contains(&"ref.city") && !feeds.contains(&"boss.package"),
        "{feeds:?}"
    );
    // A feed that expects none is always complete.
    let reference = completeness(&kernel, &foshan, "202512", &["ref.city"]).await.remove(0);
    assert_eq!((reference.city.as_str(), reference.complete, reference.missing.len()), ("440000", true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn completeness_is_asked_of_a_month_and_of_known_feeds() {
    let kernel = Kernel::start().await;
    for (month, feed, expected) in [
        ("", "misc.usage", "FIELD_INVALID"),
        ("20251201", "misc.usage", "FIELD_INVALID"),
        ("202513", "misc.usage", "FIELD_INVALID"),
        ("202512", "x", "FEED_UNKNOWN"),
    ] {
        let request = ListCompletenessRequest { month: month.to_owned(), feeds: vec![feed.to_owned()] };
        let status = kernel.ingest(&province()).list_completeness(request).await.unwrap_err();
        assert_eq!(reason(&status), expected, "{month} {feed}");
    }
}
