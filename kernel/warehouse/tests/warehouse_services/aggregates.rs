//! Who may see no rows sees cells of many customers, and nothing of a query is computed of their rows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use backplane_proto::{
    ingest::v1::AppendRequest,
    warehouse::v1::{DescribeDatasetRequest, ListDatasetsRequest, QueryRequest},
};
use kernel_base::CallContext;
use proptest::prelude::*;

use crate::kernel::{Kernel, caller, city_caller, province, reader, reason};

const FOSHAN: &str = "440600";
const DONGGUAN: &str = "441900";

/// Sees cells of the province, and the rows of Foshan.
fn manager() -> CallContext {
    let province: &[&str] = &["440000"];
    caller("manager", &[("warehouse.query", province), ("dataset.aggregate:*", province), ("dataset.read:usage", &[FOSHAN])])
}

async fn append(kernel: &Kernel, city: &str, dataset: &str, key: &str, lines: impl Iterator<Item = serde_json::Value>) {
    let rows_json = lines.map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
    let request = AppendRequest { dataset: dataset.to_owned(), idempotency_key: key.to_owned(), rows_json, ..AppendRequest::default() };
    kernel.ingest(&city_caller(city)).append(request).await.unwrap();
}

/// Uses of a product by customers on a day, `fee` fen each.
async fn uses(kernel: &Kernel, city: &str, key: &str, rows: &[(i64, &str, &str, i64)]) {
    let lines = rows.iter().map(|(customer, product, day, fee)| {
        serde_json::json!({
            "customer_id": customer, "product_id": product, "day": day, "source_feed": key, "events": 1, "quantity": 0, "seconds": 0, "kb": 0,
            "fee_fen": fee, "ok_events": 1, "failed_events": 0
        })
    });
    append(kernel, city, "usage", key, lines).await;
}

/// In Foshan twelve customers use P1 on two days and three P2, in Dongguan nine P1 and twenty P3.
async fn two_cities() -> Kernel {
    let kernel = Kernel::start().await;
    let first = |customers: std::ops::Range<i64>, product: &'static str, day: &'static str| customers.map(move |customer| (customer, product, day, customer));
    let foshan: Vec<_> = first(0..12, "P1", "2026-01-05").chain(first(0..12, "P1", "2026-02-01")).chain(first(0..3, "P2", "2026-01-09")).collect();
    let dongguan: Vec<_> = first(100..109, "P1", "2026-01-05").chain(first(100..120, "P3", "2026-01-31")).collect();
    uses(&kernel, FOSHAN, "f", &foshan).await;
    uses(&kernel, DONGGUAN, "d", &dongguan).await;
    kernel
}

#[tokio::test(flavor = "multi_thread")]
async fn cells_of_few_customers_are_not_there_and_others_are_like_rows() {
    let kernel = two_cities().await;
    let cases: [(&str, &[&str]); 18] = [
        // Of Dongguan's P1 there are nine customers, of P2 three.
        (
            "select city, product_id, month, row_count, customer_count, events, fee_fen from aggregates.usage order by 1, 2, 3",
            &["440600|P1|2026-01-01|12|12|12|66", "440600|P1|2026-02-01|12|12|12|66", "441900|P3|2026-01-01|20|20|20|2190"],
        ),
        ("select count(*) from aggregates.usage", &["3"]),
        ("select count(*) from aggregates.usage where product_id = 'P2' or city = '441900' and product_id = 'P1'", &["0"]),
        ("select city from aggregates.usage where product_id = 'P3'", &["441900"]),
        ("select fee_fen from aggregates.usage where city in ('441900', '440100') and month < '2026-02-01'", &["2190"]),
        ("select month from aggregates.usage where fee_fen < 100 order by 1", &["2026-01-01", "2026-02-01"]),
        ("select cast(sum(fee_fen) as bigint), cast(sum(row_count) as bigint) from aggregates.usage", &["2322|44"]),
        (
            "select product_id, grouping(product_id), cast(sum(row_count) as bigint) from aggregates.usage group by rollup (product_id) order by 1 nulls first",
            &["null|1|44", "P1|0|24", "P3|0|20"],
        ),
        ("select max(customer_count), min(fee_fen) from aggregates.usage", &["20|66"]),
        ("select distinct city from aggregates.usage where row_count > 10 order by city limit 1", &["440600"]),
        // The city's own rows beside the province's cells.
        (
            "select mine.product_id, mine.n, cast(everywhere.n as bigint) from (select product_id, count(*) as n from usage group by 1) as mine \
             left join (select product_id, sum(row_count) as n from aggregates.usage group by 1) as everywhere using (product_id) order by 1",
            &["P1|24|24", "P2|3|null"],
        ),
        ("select count(*) from aggregates.usage a join aggregates.usage b on a.city = b.city", &["5"]),
        (
            "select count(*) from usage where exists (select 1 from aggregates.usage where product_id = 'P2') or fee_fen = (select min(fee_fen) from aggregates.usage)",
            &["0"],
        ),
        ("select count(*) from usage where product_id not in (select product_id from aggregates.usage)", &["3"]),
        ("with cells as (select * from aggregates.usage) select count(*) from cells union all select count(*) from backplane.aggregates.usage", &["3", "3"]),
        // Fails on rows and cells that are not there, if on any.
        ("select count(*) from aggregates.usage where 1 / (fee_fen - 5) < 9 and 1 / (row_count - 3) < 9 and 1 / (customer_count - 9) < 9", &["3"]),
        ("select count(*) from aggregates.usage where product_id = 'P2' and 1 / (fee_fen - 3) < 9 and 1 / 0 = 1", &["0"]),
        ("select product_id, count(*) from aggregates.usage where product_id = 'P2' group by product_id having 1 / 0 = 1", &[]),
    ];
    for (sql, expected) in cases {
        assert_eq!(kernel.table(&manager(), sql).await, expected, "{sql}");
    }
    // Narrowed to a city they are the city's.
    let narrowed = manager().narrowed(DONGGUAN.parse().unwrap());
    assert_eq!(kernel.table(&narrowed, "select product_id, row_count from aggregates.usage").await, ["P3|20"]);
    // Those of the administrator are no others.
    assert_eq!(kernel.number(&province(), "select count(*) from aggregates.usage").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_few_customers_have_a_part_in_is_not_said() {
    let kernel = Kernel::start().await;
    let document = |least: &str| {
        format!(
            "name: answer\npurpose: p\nowner: o\nmode: append\nvisibility: city\nkey: [answer_id]\naggregated_by: [kind]\n{least}columns:\n\
             \x20 - {{name: city, type: text, nullable: false, class: public, meaning: m}}\n\
             \x20 - {{name: answer_id, type: integer, nullable: false, class: internal, meaning: m}}\n\
             \x20 - {{name: customer_id, type: integer, nullable: true, class: internal, meaning: m}}\n\
             \x20 - {{name: kind, type: text, nullable: false, class: internal, meaning: m}}\n\
             \x20 - {{name: score, type: integer, nullable: true, class: internal, meaning: m}}\n\
             \x20 - {{name: phone, type: integer, nullable: true, class: personal, mask: all, meaning: m}}\n"
        )
    };
    kernel.put_dataset(&document(""), 0).await.unwrap();
    // Of kind `one` a single customer gave a score, and twice; of kind `many` ten did; of kind `nobody` no row has a customer.
    let line = |id: i64, customer: Option<i64>, kind: &str, score: Option<i64>| serde_json::json!({"answer_id": id, "customer_id": customer, "kind": kind, "score": score, "phone": 1});
    let one = (0..12).map(|id| line(id, Some(id % 11), "one", (id % 11 == 0).then_some(7)));
    let many = (20..32).map(|id| line(id, Some(id), "many", (id < 30).then_some(1)));
    let nobody = (40..60).map(|id| line(id, None, "nobody", Some(3)));
    append(&kernel, FOSHAN, "answer", "k", one.chain(many).chain(nobody)).await;
    let sql = "select kind, row_count, customer_count, score from aggregates.answer order by kind";
    assert_eq!(kernel.table(&manager(), sql).await, ["many|12|12|10", "one|12|11|null"]);
    kernel.put_dataset(&document("minimum_group: 12\n"), 1).await.unwrap();
    assert_eq!(kernel.table(&manager(), sql).await, ["many|12|12|null"]);
    for hidden in ["phone", "customer_id", "answer_id", "_source"] {
        let status = kernel.query(&manager(), &format!("select {hidden} from aggregates.answer")).await.unwrap_err();
        assert_eq!(reason(&status), "SQL_INVALID", "{hidden}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_granted_or_has_no_cells_is_not_there() {
    let kernel = two_cities().await;
    let unknown = async |context: &CallContext, sql: &str| {
        let status = kernel.query(context, sql).await.err().unwrap_or_else(|| panic!("{sql} was answered"));
        assert_eq!(reason(&status), "SQL_INVALID", "{sql}: {}", status.message());
    };
    unknown(&reader(FOSHAN), "select count(*) from aggregates.usage").await;
    // An interaction is aggregated by nothing.
    unknown(&manager(), "select count(*) from aggregates.interaction").await;
    // Its rows are no more to be had than before.
    let cells = caller("cells", &[("warehouse.query", &["440000"]), ("dataset.aggregate:usage", &["440000"])]);
    for sql in ["select count(*) from usage", "select count(*) from changes.usage", "select day from aggregates.usage", "select count(*) from aggregates.order"]
    {
        unknown(&cells, sql).await;
    }
    // Who has not all columns by which it is aggregated has none of it; sums are those that are granted.
    let with = |columns: &str| caller("some", &[("warehouse.query", &["440000"]), (&format!("dataset.aggregate:usage({columns})"), &["440000"])]);
    unknown(&with("city,day,fee_fen"), "select * from aggregates.usage").await;
    let some = kernel.query(&with("city,day,product_id,fee_fen"), "select * from aggregates.usage").await.unwrap();
    let names: Vec<_> = some.schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["city", "product_id", "month", "row_count", "customer_count", "fee_fen"]);

    let client = || kernel.reading(&cells);
    let usage = client().describe_dataset(DescribeDatasetRequest { dataset: "usage".to_owned() }).await.unwrap().into_inner();
    assert_eq!((usage.rows, usage.minimum_group, usage.aggregates_only), (0, 10, true));
    let described: Vec<_> = usage.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(described[..6], ["city", "product_id", "month", "row_count", "customer_count", "events"]);
    let listed = client().list_datasets(ListDatasetsRequest { page_size: 1_000, ..ListDatasetsRequest::default() }).await.unwrap().into_inner();
    assert_eq!(listed.datasets.iter().map(|dataset| dataset.name.as_str()).collect::<Vec<_>>(), ["usage"]);
    let both = kernel.reading(&province()).describe_dataset(DescribeDatasetRequest { dataset: "usage".to_owned() }).await.unwrap().into_inner();
    assert_eq!((both.rows, both.aggregates_only), (56, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_day_has_its_month_and_earlier_snapshots_their_cells() {
    let kernel = two_cities().await;
    let before = kernel.query(&manager(), "select 1").await.unwrap().snapshot_id;
    for (key, day) in [("far", "2999-12-31"), ("old", "1969-12-31")] {
        uses(&kernel, FOSHAN, key, &(0..10).map(|customer| (customer, "P9", day, 1)).collect::<Vec<_>>()).await;
    }
    let months = kernel.table(&manager(), "select month, fee_fen from aggregates.usage where product_id = 'P9' order by month").await;
    assert_eq!(months, ["1969-12-01|10", "2999-12-01|10"]);
    // A sum that came later is not there earlier, and the rest is.
    let wider = format!("{}  - {{name: bonus, type: integer, nullable: true, class: internal, meaning: m}}\n", include_str!("../../datasets/usage.yaml"));
    kernel.put_dataset(&wider, 1).await.unwrap();
    assert_eq!(kernel.table(&manager(), "select bonus, row_count from aggregates.usage where product_id = 'P3'").await, ["null|20"]);
    let at = |sql: &str| QueryRequest { sql: sql.to_owned(), snapshot_id: before, ..QueryRequest::default() };
    assert_eq!(kernel.ask(&manager(), at("select row_count from aggregates.usage where product_id = 'P3'")).await.unwrap().lines(), ["20"]);
    assert_eq!(reason(&kernel.ask(&manager(), at("select bonus from aggregates.usage")).await.unwrap_err()), "SQL_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_other_cells_are_not_read() {
    let kernel = Kernel::start_with(|settings| settings.held_rows = 0).await;
    let of_city = |customers: std::ops::Range<i64>| customers.map(|customer| (customer, "P1", "2026-01-05", 1)).collect::<Vec<_>>();
    let files = || -> BTreeSet<PathBuf> { parquet_files(&kernel.settings.dir.join("data/main/usage")) };
    uses(&kernel, FOSHAN, "f", &of_city(0..12)).await;
    let of_foshan = files();
    uses(&kernel, DONGGUAN, "d", &of_city(100..112)).await;
    let of_dongguan = files().difference(&of_foshan).cloned().collect::<Vec<_>>();
    assert_eq!(of_dongguan.len(), 1);
    std::fs::remove_file(&of_dongguan[0]).unwrap();
    kernel.query(&manager(), "select row_count from aggregates.usage").await.unwrap_err();
    assert_eq!(kernel.table(&manager(), "select row_count from aggregates.usage where city = '440600'").await, ["12"]);
}

fn parquet_files(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(inner) = folders.pop() {
        for path in std::fs::read_dir(inner).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path);
            }
        }
    }
    files
}

/// A row of the random tables: city, whose, which product, which day, how much.
type Row = ((usize, i64, usize, usize), i64);

const CITIES: [&str; 2] = [FOSHAN, DONGGUAN];
const PRODUCTS: [&str; 3] = ["P1", "P2", "P3"];
const DAYS: [(&str, &str); 3] = [("2026-01-01", "2026-01-01"), ("2026-01-31", "2026-01-01"), ("2026-02-01", "2026-02-01")];

/// The cells as they have to be, of ten customers or more.
fn expected(rows: &[Row]) -> Vec<String> {
    let mut cells: BTreeMap<_, (i64, BTreeSet<i64>, i64)> = BTreeMap::new();
    for ((city, customer, product, day), fee) in rows {
        let (count, customers, sum) = cells.entry((CITIES[*city], PRODUCTS[*product], DAYS[*day].1)).or_default();
        (*count, *sum) = (*count + 1, *sum + fee);
        customers.insert(*customer);
    }
    let large = cells.into_iter().filter(|(_, (_, customers, _))| customers.len() >= 10);
    large.map(|((city, product, month), (count, customers, sum))| format!("{city}|{product}|{month}|{count}|{}|{sum}", customers.len())).collect()
}

#[test]
fn any_rows_make_the_cells_that_they_should() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let rows = prop::collection::btree_map((0_usize..2, 0_i64..16, 0_usize..3, 0_usize..3), 0_i64..50, 60..220);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 12, ..ProptestConfig::default() });
    let outcome = runner.run(&rows, |rows| {
        let rows: Vec<Row> = rows.into_iter().collect();
        runtime.block_on(async {
            // From files, on both cores; a cell is in several files.
            let kernel = Kernel::start_with(|settings| (settings.held_rows, settings.query.looked_into_rows, settings.query.one_core_rows) = (0, 0, 0)).await;
            for (index, city) in CITIES.iter().enumerate() {
                let of_city = rows.iter().filter(|((at, ..), _)| *at == index);
                let sent: Vec<_> = of_city.map(|((_, customer, product, day), fee)| (*customer, PRODUCTS[*product], DAYS[*day].0, *fee)).collect();
                for (part, sent) in sent.chunks(sent.len().div_ceil(3).max(1)).enumerate() {
                    uses(&kernel, city, &format!("k{part}"), sent).await;
                }
            }
            let cells = expected(&rows);
            let sql = "select city, product_id, month, row_count, customer_count, fee_fen from aggregates.usage";
            assert_eq!(kernel.table(&manager(), &format!("{sql} order by 1, 2, 3")).await, cells);
            let places = kernel.table(&manager(), "select city, product_id, month from aggregates.usage order by 1, 2, 3").await;
            assert_eq!(places, cells.iter().map(|cell| cell.split('|').take(3).collect::<Vec<_>>().join("|")).collect::<Vec<_>>());
            for product in PRODUCTS {
                let of_product: Vec<_> = cells.iter().filter(|cell| cell.contains(product)).cloned().collect();
                assert_eq!(kernel.table(&manager(), &format!("{sql} where product_id = '{product}' order by 1, 2, 3")).await, of_product);
            }
        });
        Ok(())
    });
    outcome.unwrap();
}
