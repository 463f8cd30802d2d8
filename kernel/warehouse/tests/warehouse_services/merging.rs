use std::time::Duration;

use backplane_proto::warehouse::v1::QueryRequest;
use kernel_base::CallContext;
use tokio::time::timeout;

use crate::{
    kernel::{Kernel, city_caller},
    platform::{Sent, enrolment, number, numbers, usage},
};

const USAGE: &str = "select customer_id, product_id, events from usage order by 1, 2, 3";
const ENROLMENTS: &str = "select enrolment_id, package_id, status, revision from enrolment order by 1";

async fn pinned(kernel: &Kernel, context: &CallContext, sql: &str, snapshot_id: i64) -> Vec<String> {
    let request = QueryRequest { sql: sql.to_owned(), snapshot_id, ..QueryRequest::default() };
    kernel.ask(context, request).await.unwrap().lines()
}

async fn newest(kernel: &Kernel, context: &CallContext) -> i64 {
    kernel.query(context, "select 1").await.unwrap().snapshot_id
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_merged_when_no_more_come_and_nobody_sees_other_rows() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    let day = |day: u64| Sent::new(&format!("misc.usage.440600.202601{day:02}.txt.gz"), &usage(number(day), "a", &format!("202601{day:02}"), day));
    let month = |period: &str, package: &str| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &enrolment("e1", 1, package, "1"));
    let mut last = 0;
    for number in 1..=5 {
        last = kernel.send(&foshan, &day(number)).await.unwrap().snapshot_id;
    }
    let (first, second) = (month("202601", "p1"), month("202602", "p2"));
    kernel.send(&foshan, &first).await.unwrap();
    let replaced = kernel.send(&foshan, &second).await.unwrap().snapshot_id;

    // It was never at rest; now it is at once.
    let kernel = kernel.restarted(|settings| settings.rest = Duration::from_millis(1)).await;
    // One snapshot for the days of usage, one for the month of which nothing is left.
    let merged = async {
        while newest(&kernel, &foshan).await < replaced + 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), merged).await.expect("files are merged at rest");
    let days = ["1|a|1", "2|a|2", "3|a|3", "4|a|4", "5|a|5"];
    assert_eq!(kernel.table(&foshan, USAGE).await, days);
    assert_eq!(pinned(&kernel, &foshan, USAGE, last).await, days);
    assert_eq!(pinned(&kernel, &foshan, USAGE, last - 1).await, days[..4]);
    assert_eq!(pinned(&kernel, &foshan, ENROLMENTS, replaced - 1).await, ["e1|p1|active|1"]);
    assert!(kernel.table(&city_caller("440100"), USAGE).await.is_empty());

    // What came as a file leaves as one, and what it had replaced returns.
    assert_eq!(kernel.retract(&foshan, &day(2)).await.unwrap().rows_removed, 1);
    assert_eq!(kernel.table(&foshan, USAGE).await, ["1|a|1", "3|a|3", "4|a|4", "5|a|5"]);
    let gone = kernel.retract(&foshan, &second).await.unwrap();
    assert_eq!((gone.rows_removed, gone.rows_restored), (1, 1));
    let kernel = kernel.restarted(|_| {}).await;
    assert_eq!(kernel.table(&foshan, ENROLMENTS).await, ["e1|p1|active|3"]);
    assert!(kernel.send(&foshan, &day(3)).await.unwrap().duplicate_file);
}
