use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray};
use backplane_proto::warehouse::v1::QueryRequest;
use kernel_base::CallContext;
use tonic::{Code, Status};

use crate::{
    kernel::{Answer, Kernel, caller, city_caller, interactions, ipc, province, reader, reason},
    platform::{Sent, enrolment, number, numbers, usage},
};

async fn changes(kernel: &Kernel, context: &CallContext, sql: &str, changes_after: i64, snapshot_id: i64) -> Result<Answer, Status> {
    kernel.ask(context, QueryRequest { sql: sql.to_owned(), changes_after, snapshot_id, ..QueryRequest::default() }).await
}

async fn lines(kernel: &Kernel, context: &CallContext, sql: &str, changes_after: i64) -> Vec<String> {
    changes(kernel, context, sql, changes_after, 0).await.unwrap().lines()
}

/// The rows of some columns at each snapshot, 0 and those of merges included, are those at any earlier one with the changes in between. Gives how many rows changed
/// from one snapshot to the next.
async fn changes_add_up(kernel: &Kernel, context: &CallContext, dataset: &str, columns: &str) -> Vec<usize> {
    let newest = kernel.query(context, "select 1").await.unwrap().snapshot_id;
    let mut rows: Vec<BTreeMap<String, i64>> = vec![BTreeMap::new()];
    for snapshot_id in 1..=newest {
        let request = QueryRequest { sql: format!("select {columns} from {dataset}"), snapshot_id, ..QueryRequest::default() };
        let mut there = BTreeMap::new();
        for line in kernel.ask(context, request).await.unwrap().lines() {
            *there.entry(line).or_default() += 1;
        }
        rows.push(there);
    }
    let mut steps = Vec::new();
    for after in 0..=newest {
        for until in after.max(1)..=newest {
            let found = changes(kernel, context, &format!("select {columns}, _change from changes.{dataset}"), after, until).await.unwrap();
            assert_eq!(found.snapshot_id, until);
            let mut sum = rows[after as usize].clone();
            for line in found.lines() {
                let (row, change) = line.rsplit_once('|').unwrap();
                *sum.entry(row.to_owned()).or_default() += change.parse::<i64>().unwrap();
            }
            sum.retain(|_, count| *count != 0);
            assert_eq!(sum, rows[until as usize], "{dataset} after {after} until {until}: {:?}", found.lines());
            if until == after + 1 {
                steps.push(found.lines().len());
            }
        }
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_the_changes_since_are_the_rows_of_any_later_snapshot() {
    let kernel = Kernel::start_with(|settings| settings.chunk_lines = 3).await;
    let foshan = city_caller("440600");
    kernel.send(&foshan, &numbers(9)).await.unwrap();
    let day = |part: &str, customers: RangeInclusive<u64>, events: u64| {
        let rows: String = customers.map(|customer| usage(number(customer), "a", "20260102", events)).collect();
        Sent::new(&format!("misc.usage.440600.20260102.{part}.txt.gz"), &rows)
    };
    // In four commits, restated in three, with a second part whose first keys do not count until the first part is gone.
    let (first, restating, part) = (day("01", 1..=9, 1), day("01", 3..=8, 2), day("02", 7..=9, 3));
    for sent in [&first, &restating, &part] {
        kernel.send(&foshan, sent).await.unwrap();
    }
    let kernel = kernel.restarted(|settings| settings.chunk_lines = 2).await;
    kernel.retract(&foshan, &restating).await.unwrap();
    kernel.send(&foshan, &first).await.unwrap();
    let month = |period: &str, rows: &[String]| Sent::new(&format!("boss.enrolment.440600.{period}.txt.gz"), &rows.concat());
    kernel.send(&foshan, &month("202601", &[enrolment("e1", 1, "p1", "1"), enrolment("e2", 2, "p1", "1")])).await.unwrap();
    let second = month("202602", &[enrolment("e1", 1, "p1", "3"), enrolment("e2", 2, "p1", "1"), enrolment("e3", 3, "p1", "1")]);
    kernel.send(&foshan, &second).await.unwrap();
    kernel.retract(&foshan, &second).await.unwrap();

    let steps = changes_add_up(&kernel, &foshan, "usage", "customer_id, product_id, events").await;
    let seen: Vec<usize> = steps.into_iter().filter(|rows| *rows > 0).collect();
    assert_eq!(seen.first(), Some(&9), "a file that came in parts comes at once: {seen:?}");
    assert_eq!(seen.get(1), Some(&15), "as does one that restates it, with what goes: {seen:?}");
    let steps = changes_add_up(&kernel, &foshan, "enrolment", "enrolment_id, package_id, status, revision").await;
    // Rows that replace others come one by one: e1 is corrected, e3 comes; then both are taken back.
    assert_eq!(steps.into_iter().filter(|rows| *rows > 0).collect::<Vec<_>>(), [2, 2, 1, 3]);
    assert!(changes_add_up(&kernel, &reader("441900"), "usage", "customer_id").await.into_iter().all(|rows| rows == 0), "of another city");
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_of_changes_are_differences_of_sums_beside_tables_that_are_whole() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let header = "city,province,name_zh,name_en,latitude,longitude\n";
    let cities = format!("{header}440600,440000,佛山市,Foshan,23.02,113.11\n");
    kernel.import(&province(), "ref.city", "ref.city.440000.20260101.csv", cities.as_bytes()).await.unwrap();
    let first = kernel.append(&foshan, "k1", &interactions("a", "/home", 3)).await.unwrap().snapshot_id;
    kernel.append(&foshan, "k2", &interactions("b", "/home", 4)).await.unwrap();
    kernel.append(&foshan, "k3", &interactions("c", "/help", 2)).await.unwrap();
    let by_page = "select page, sum(_change), sum(_change * status) from changes.interaction group by page order by page";
    assert_eq!(lines(&kernel, &foshan, by_page, first).await, ["/help|2|400", "/home|4|800"]);
    assert_eq!(lines(&kernel, &foshan, by_page, 0).await, ["/help|2|400", "/home|7|1400"], "all rows");
    let by_city = "select c.name_en, i.page, count(*) from changes.interaction i join city c on c.city = i.city where i._change > 0 and i.status = 200 group by 1, 2 order by 2";
    // The second time the plan is kept, and serves other snapshots.
    for (after, expected) in [(first, vec!["Foshan|/help|2", "Foshan|/home|4"]), (first + 1, vec!["Foshan|/help|2"]), (first + 2, vec![])] {
        assert_eq!(lines(&kernel, &foshan, by_city, after).await, expected);
    }
    let corrected = format!("{header}440600,440000,佛山市,Fatshan,23.02,113.11\n");
    kernel.import(&province(), "ref.city", "ref.city.440000.20260102.csv", corrected.as_bytes()).await.unwrap();
    let corrections = "select name_en, revision, _change from changes.city order by _change";
    assert_eq!(lines(&kernel, &foshan, corrections, first).await, ["Foshan|1|-1", "Fatshan|2|1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_guarded_as_the_rows_are() {
    let kernel = Kernel::start().await;
    let first = kernel.append(&city_caller("440600"), "k", &interactions("f", "/foshan", 3)).await.unwrap().snapshot_id;
    kernel.append(&city_caller("440600"), "k2", &interactions("g", "/foshan", 1)).await.unwrap();
    kernel.append(&city_caller("441900"), "k", &interactions("d", "/dongguan", 5)).await.unwrap();
    let foshan = reader("440600");
    for (after, expected) in [(0, "4"), (first, "1")] {
        for sql in [
            "select count(*) from changes.interaction",
            "select count(*) from backplane.changes.interaction where city <> '441900'",
            "select count(*) from changes.interaction where page <> '/dongguan' or cast(page as int) > 0",
        ] {
            assert_eq!(lines(&kernel, &foshan, sql, after).await, [expected], "{sql}");
        }
        assert_eq!(lines(&kernel, &foshan, "select distinct client_address from changes.interaction", after).await, ["83.149.*.*"]);
        assert_eq!(lines(&kernel, &foshan, "select count(*) from changes.interaction where client_address = '83.149.0.0'", after).await, ["0"]);
        let narrow = caller("narrow", &[("warehouse.query", &["440600"]), ("dataset.read:interaction(at,page)", &["440600"])]);
        let all = changes(&kernel, &narrow, "select * from changes.interaction", after, 0).await.unwrap();
        assert_eq!(all.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["at", "page", "_change"]);
        let status = changes(&kernel, &narrow, "select client_address from changes.interaction", after, 0).await.unwrap_err();
        assert_eq!(reason(&status), "SQL_INVALID");
    }
    let other = caller("other", &[("warehouse.query", &["440600"]), ("dataset.read:visitor", &["440600"])]);
    let hidden = changes(&kernel, &other, "select 1 from changes.interaction", 0, 0).await.unwrap_err().message().replace("interaction", "X");
    let missing = changes(&kernel, &other, "select 1 from changes.nothing", 0, 0).await.unwrap_err().message().replace("nothing", "X");
    assert_eq!(hidden, missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_have_the_columns_of_the_later_snapshot() {
    const NOTE: &str = "name: note
purpose: Notes.
owner: tests
mode: latest
visibility: city
key: [note_id]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: City}
  - {name: note_id, type: text, nullable: false, class: internal, meaning: Number}
  - {name: revision, type: integer, nullable: false, class: internal, meaning: How often it was replaced}
  - {name: snapshot_id, type: integer, nullable: true, class: internal, meaning: Named as columns that the library adds}
  - {name: change_type, type: text, nullable: true, class: internal, meaning: The same}
";
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    kernel.put_dataset(NOTE, 0).await.unwrap();
    let append = async |key: &str, columns: Vec<(&str, &str)>| {
        let columns = columns.into_iter().map(|(name, value)| (name, Arc::new(StringArray::from(vec![value])) as ArrayRef));
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        kernel.append_bytes(&foshan, "note", key, ipc(&rows)).await.unwrap().snapshot_id
    };
    let first = append("k1", vec![("note_id", "n1")]).await;
    kernel.put_dataset(&format!("{NOTE}  - {{name: text, type: text, nullable: true, class: internal, meaning: Text}}\n"), 1).await.unwrap();
    append("k2", vec![("note_id", "n1"), ("text", "more")]).await;
    let all = "select note_id, text, revision, _change from changes.note order by _change";
    assert_eq!(lines(&kernel, &foshan, all, first).await, ["n1|null|1|-1", "n1|more|2|1"]);
    assert_eq!(lines(&kernel, &foshan, all, 0).await, ["n1|more|2|1"]);
    let before = changes(&kernel, &foshan, "select * from changes.note", 0, first).await.unwrap();
    assert_eq!(before.lines(), ["440600|n1|1|null|null|1"], "as it was then");
    let status = kernel.put_dataset(&NOTE.replace("name: note\n", "name: other\n").replace("note_id", "rowid"), 0).await.unwrap_err();
    assert!(status.message().contains("rowid"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_changes_cannot_begin_at_are_refused() {
    let kernel = Kernel::start().await;
    let foshan = city_caller("440600");
    let first = kernel.append(&foshan, "k", &interactions("a", "/home", 3)).await.unwrap().snapshot_id;
    kernel.append(&foshan, "k2", &interactions("b", "/home", 3)).await.unwrap();
    let sql = "select count(*) from changes.interaction";
    for (after, snapshot_id, code, expected) in [
        (-1, 0, Code::NotFound, "SNAPSHOT_UNKNOWN"),
        (1_000_000, 0, Code::NotFound, "SNAPSHOT_UNKNOWN"),
        (first + 1, first, Code::InvalidArgument, "FIELD_INVALID"),
    ] {
        let status = changes(&kernel, &foshan, sql, after, snapshot_id).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{after}: {}", status.message());
    }
    assert_eq!(changes(&kernel, &foshan, sql, first, first).await.unwrap().lines(), ["0"]);
}
