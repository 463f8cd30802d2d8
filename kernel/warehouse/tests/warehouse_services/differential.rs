//! What the guard shows is what a warehouse shows that has nothing else: random SQL, on guarded tables and on a copy of what the caller may see.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use backplane_proto::warehouse::v1::{Parameter, QueryRequest, parameter};
use kernel_base::CallContext;
use kernel_warehouse::WarehouseSettings;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::kernel::{Kernel, NOW, city_caller, ipc, province, reader, reason};

const VISIT: &str = "name: visit
purpose: Columns of every type and class.
owner: tests
mode: append
visibility: city
key: [visit_id]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: City}
  - {name: visit_id, type: text, nullable: false, class: internal, meaning: Number}
  - {name: at, type: instant, nullable: false, class: internal, meaning: When}
  - {name: day, type: day, nullable: false, class: internal, meaning: The day of at}
  - {name: n, type: integer, nullable: true, class: internal, meaning: A number}
  - {name: r, type: real, nullable: true, class: internal, meaning: A real number}
  - {name: word, type: text, nullable: true, class: internal, meaning: A word}
  - {name: flag, type: boolean, nullable: true, class: internal, meaning: Yes or no}
  - {name: phone, type: text, nullable: true, class: personal, mask: msisdn, meaning: A service number}
  - {name: note, type: text, nullable: true, class: personal, mask: text, meaning: Free text}
  - {name: score, type: integer, nullable: true, class: personal, mask: all, meaning: A personal number}
  - {name: pin, type: text, nullable: true, class: secret, meaning: What nobody sees}
";

/// Rows that are replaced: the guard stands above what is left.
const MEMBER: &str = "name: member
purpose: The newest of each word.
owner: tests
mode: latest
visibility: city
key: [word]
columns:
  - {name: city, type: text, nullable: false, class: public, meaning: City}
  - {name: word, type: text, nullable: false, class: internal, meaning: A word}
  - {name: at, type: instant, nullable: false, class: internal, meaning: When}
  - {name: v, type: integer, nullable: true, class: internal, meaning: A number}
  - {name: revision, type: integer, nullable: false, class: internal, meaning: How often it was replaced}
";

const FOSHAN: &str = "440600";
const DONGGUAN: &str = "441900";
const PROVINCE: &str = "440000";
/// Words and numbers of one city only are what a leak would show: `1 / (n - 13)` fails on Dongguan's rows alone.
const WORDS: [Option<&str>; 6] = [Some("a"), Some("b"), Some("12"), Some("x9"), None, Some("")];

/// A row of `visit`.
struct Visit {
    id: String,
    minute: i64,
    n: Option<i64>,
    word: Option<&'static str>,
}

fn visits(city: &str, batch: usize) -> Vec<Visit> {
    let visit = |index: usize| {
        let mixed = (index * 7 + batch * 3) % 11;
        let (n, word) = match city {
            DONGGUAN if mixed.is_multiple_of(3) => (Some(13), Some("hidden")),
            _ => ((mixed != 4).then_some(mixed as i64 - 3), WORDS[mixed % 6]),
        };
        Visit { id: format!("{city}-{batch}-{index}"), minute: (index * 5 + batch) as i64, n, word }
    };
    (0..20).map(visit).collect()
}

/// The rows, as they are or as the masks of the contract leave them.
fn rows(visits: &[Visit], masked: bool) -> RecordBatch {
    let digits = |visit: &Visit| (visit.minute % 7, 1_000 + visit.minute);
    let phone = |visit: &Visit| match (digits(visit), masked) {
        ((middle, last), false) => format!("138{middle:04}{last}"),
        ((_, last), true) => format!("138****{last}"),
    };
    let note = |visit: &Visit| if masked { "call ** at *".to_owned() } else { format!("call {} at {}", 10 + visit.minute % 80, visit.minute % 7) };
    let columns: [(&str, ArrayRef); 9] = [
        ("visit_id", Arc::new(StringArray::from_iter_values(visits.iter().map(|visit| &visit.id)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(visits.iter().map(|visit| NOW + visit.minute * 60_000_000)).with_timezone("UTC"))),
        ("n", Arc::new(visits.iter().map(|visit| visit.n).collect::<Int64Array>())),
        ("r", Arc::new(visits.iter().map(|visit| visit.n.map(|n| n as f64 / 4.0)).collect::<Float64Array>())),
        ("word", Arc::new(visits.iter().map(|visit| visit.word).collect::<StringArray>())),
        ("flag", Arc::new(visits.iter().map(|visit| (visit.minute % 4 != 0).then_some(visit.minute % 3 == 0)).collect::<BooleanArray>())),
        ("phone", Arc::new(visits.iter().map(|visit| (visit.minute % 6 != 0).then(|| phone(visit))).collect::<StringArray>())),
        ("note", Arc::new(visits.iter().map(|visit| Some(note(visit))).collect::<StringArray>())),
        ("score", Arc::new(visits.iter().map(|visit| (!masked).then_some(visit.minute)).collect::<Int64Array>())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn members(city: &str, batch: i64) -> RecordBatch {
    let words: Vec<&str> = if city == DONGGUAN { vec!["a", "hidden", "x9"] } else { vec!["a", "b", "12"] };
    let columns: [(&str, ArrayRef); 3] = [
        ("word", Arc::new(StringArray::from(words.clone()))),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![NOW + batch; words.len()]).with_timezone("UTC"))),
        ("v", Arc::new(Int64Array::from(vec![batch * 10 + city[2..4].parse::<i64>().unwrap(); words.len()]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

struct Rows {
    kernel: Kernel,
    /// The snapshot that has the first file of each city.
    begun_at: i64,
}

/// A warehouse with the rows of these cities, each in several files.
async fn warehouse(cities: &[&str], masked: bool, change: impl FnOnce(&mut WarehouseSettings)) -> Rows {
    let kernel = Kernel::start_with(change).await;
    kernel.put_dataset(VISIT, 0).await.unwrap();
    kernel.put_dataset(MEMBER, 0).await.unwrap();
    let mut begun_at = 0;
    for batch in 0..3 {
        for city in cities {
            let writer = if *city == PROVINCE { province().narrowed(PROVINCE.parse().unwrap()) } else { city_caller(city) };
            let bytes = ipc(&rows(&visits(city, batch), masked));
            kernel.append_bytes(&writer, "visit", &format!("visit-{city}-{batch}"), bytes).await.unwrap();
            let members = ipc(&members(city, batch as i64));
            let appended = kernel.append_bytes(&writer, "member", &format!("member-{city}-{batch}"), members).await.unwrap();
            if batch == 0 {
                begun_at = appended.snapshot_id;
            }
        }
    }
    Rows { kernel, begun_at }
}

/// SQL in which values that could be sent as parameters stand between `⟦` and `⟧`.
fn value() -> impl Strategy<Value = String> {
    (-5_i64..16).prop_map(|number| format!("⟦{number}⟧"))
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "12", "x9", "hidden", "", "138****1001", "13800001001", "call ** at *"]).prop_map(|word| format!("⟦'{word}'⟧"))
}

fn column(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(names).prop_map(|name| format!("a.{name}"))
}

fn number() -> BoxedStrategy<String> {
    let leaf = prop_oneof![3 => column(&["n", "score"]), 1 => (-3_i64..14).prop_map(|number| number.to_string()), 1 => text_column().prop_map(|text| format!("length({text})"))];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), prop::sample::select(vec!["+", "-", "*"]), inner.clone()).prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("coalesce({a}, {b})")),
            (condition_leaf(), inner.clone(), inner.clone()).prop_map(|(c, a, b)| format!("(case when {c} then {a} else {b} end)")),
            inner.prop_map(|a| format!("abs({a})")),
        ]
    })
    .boxed()
}

fn text_column() -> BoxedStrategy<String> {
    column(&["word", "phone", "note", "visit_id", "city"]).boxed()
}

fn text() -> BoxedStrategy<String> {
    text_column()
        .prop_recursive(2, 6, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} || {b})")),
                (inner.clone(), 1_usize..9, 1_usize..4).prop_map(|(a, from, count)| format!("substr({a}, {from}, {count})")),
                inner.clone().prop_map(|a| format!("upper({a})")),
                inner.clone().prop_map(|a| format!("coalesce({a}, 'none')")),
                (condition_leaf(), inner.clone(), inner).prop_map(|(c, a, b)| format!("(case when {c} then {a} else {b} end)")),
            ]
        })
        .boxed()
}

fn condition_leaf() -> BoxedStrategy<String> {
    let comparison = || prop::sample::select(vec!["=", "<>", "<", "<=", ">", ">="]);
    prop_oneof![
        3 => (column(&["n", "score"]), comparison(), value()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        3 => (text_column(), comparison(), word()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => (column(&["n", "r"]), column(&["n", "r"])).prop_map(|(a, b)| format!("{a} > {b}")),
        1 => (text_column(), prop::collection::vec(word(), 1..4)).prop_map(|(a, list)| format!("{a} in ({})", list.join(", "))),
        1 => (column(&["n", "score"]), value(), value()).prop_map(|(a, low, high)| format!("{a} between {low} and {high}")),
        1 => (text_column(), prop::sample::select(vec!["%1%", "a%", "138%", "%hidden%"])).prop_map(|(a, like)| format!("{a} like '{like}'")),
        1 => (column(&["n", "word", "flag", "phone", "score", "r"]), prop::sample::select(vec!["is null", "is not null"])).prop_map(|(a, is)| format!("{a} {is}")),
        1 => Just("a.flag".to_owned()),
        1 => (0_i64..90).prop_map(|minute| format!("a.at < timestamp '2026-01-01T{:02}:{:02}:00Z'", minute / 60, minute % 60)),
        1 => prop::sample::select(vec![FOSHAN, DONGGUAN, PROVINCE]).prop_map(|city| format!("a.city = ⟦'{city}'⟧")),
        1 => of_values(),
    ]
    .boxed()
}

/// A condition of no column: a switch.
fn of_values() -> BoxedStrategy<String> {
    prop_oneof![value().prop_map(|v| format!("{v} < 5")), word().prop_map(|word| format!("{word} = 'a'"))].boxed()
}

fn condition() -> BoxedStrategy<String> {
    let subquery = prop_oneof![
        condition_leaf().prop_map(|c| format!("a.word in (select a.word from visit a where {c})")),
        value().prop_map(|v| format!("a.word in (select b.word from member b where b.v > {v})")),
        value().prop_map(|v| format!("a.word not in (select b.word from member b where b.v > {v})")),
        value().prop_map(|v| format!("exists (select 1 from member b where b.word = a.word and b.v <> {v})")),
        value().prop_map(|v| format!("a.n < (select max(b.v) from member b where b.v > {v})")),
    ];
    let leaf = prop_oneof![8 => condition_leaf(), 1 => subquery, 1 => (number(), number()).prop_map(|(a, b)| format!("{a} < {b}")), 1 => (text(), text()).prop_map(|(a, b)| format!("{a} = {b}"))];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
    .boxed()
}

fn aggregate() -> BoxedStrategy<String> {
    prop_oneof![
        Just("count(*)".to_owned()),
        text().prop_map(|a| format!("count(distinct {a})")),
        number().prop_map(|a| format!("sum({a})")),
        (prop::sample::select(vec!["min", "max"]), text()).prop_map(|(f, a)| format!("{f}({a})")),
        (prop::sample::select(vec!["min", "max"]), number()).prop_map(|(f, a)| format!("{f}({a})")),
        Just("avg(a.r)".to_owned()),
        condition_leaf().prop_map(|c| format!("count(*) filter (where {c})")),
        Just("max(a.at)".to_owned()),
    ]
    .boxed()
}

/// A query of tables, or of what changed in them.
fn query() -> impl Strategy<Value = String> {
    let of_changes = |sql: String| sql.replace("from visit a", "from changes.visit a").replace(" member b", " changes.member b");
    (of_tables(), prop::bool::weighted(0.25)).prop_map(move |(sql, is_of_changes)| if is_of_changes { of_changes(sql) } else { sql })
}

/// A query whose answer has one order, or none that matters.
fn of_tables() -> BoxedStrategy<String> {
    let shown = || prop_oneof![number(), text(), Just("a.day".to_owned()), Just("a.r".to_owned()), Just("a.flag".to_owned())];
    // What can fail: on the rows that it is asked for, and on no others.
    let fails = || prop::sample::select(vec!["10 / a.n", "10 / (a.n - 13)", "cast(a.word as int)", "10 % (a.n - 2)", "cast(a.phone as bigint)", "1 / a.score"]);
    prop_oneof![
        4 => (shown(), shown(), condition()).prop_map(|(x, y, c)| format!("select a.visit_id, {x} as x, {y} as y from visit a where {c}")),
        1 => condition().prop_map(|c| format!("select * from visit a where {c}")),
        3 => (text(), aggregate(), aggregate(), condition()).prop_map(|(g, x, y, c)| format!("select {g} as g, {x} as x, {y} as y from visit a where {c} group by 1")),
        1 => (text(), aggregate(), value()).prop_map(|(g, x, v)| format!("select {g} as g, {x} as x from visit a group by 1 having count(*) > {v}")),
        1 => (aggregate(), condition()).prop_map(|(x, c)| format!("select {x} as x from visit a where {c}")),
        1 => (aggregate(), condition(), of_values()).prop_map(|(x, c, switch)| format!("select {x} as x from visit a where {c} having {switch}")),
        1 => (aggregate(), of_values(), of_values()).prop_map(|(x, c, d)| format!("with t as (select {x} as x from visit a) select x from t where {c} union all select x from t where {d} and x is not null")),
        1 => (value(), value()).prop_map(|(v, w)| format!("select a.visit_id, (select count(*) from member b where b.word = a.word and b.v > {v}) as c from visit a where a.n < {w}")),
        1 => (value(), value()).prop_map(|(v, w)| format!("select b.word, b.v from member b where b.v > {v} or b.v = {w}")),
        2 => (prop::sample::select(vec!["join", "left join", "full join"]), shown(), condition()).prop_map(|(join, x, c)| format!("select a.visit_id, {x} as x, b.word as w, b.v from visit a {join} member b on a.word = b.word where {c}")),
        1 => (shown(), condition(), condition()).prop_map(|(x, c, d)| format!("select {x} as x from visit a where {c} union all select {x} from visit a where {d}")),
        1 => (text(), condition(), prop::sample::select(vec!["union", "except", "intersect"])).prop_map(|(x, c, op)| format!("select {x} as x from visit a where {c} {op} select b.word from member b")),
        1 => (text(), number(), condition()).prop_map(|(p, x, c)| format!("select a.visit_id, row_number() over (partition by {p} order by a.visit_id) as k, sum({x}) over (partition by a.word) as s from visit a where {c}")),
        1 => (shown(), condition(), 0_usize..9, 0_usize..5).prop_map(|(x, c, limit, offset)| format!("select * from (select a.visit_id, {x} as x from visit a where {c} order by a.visit_id desc limit {limit} offset {offset}) t")),
        1 => (text(), condition()).prop_map(|(x, c)| format!("select distinct {x} as x from visit a where {c}")),
        1 => (aggregate(), condition()).prop_map(|(x, c)| format!("with chosen as (select * from visit a where {c}) select a.city, {x} as x from chosen a group by 1")),
        2 => (fails(), condition_leaf()).prop_map(|(x, c)| format!("select a.visit_id, {x} as x from visit a where {c}")),
        1 => fails().prop_map(|x| format!("select count(*) from visit a where {x} > 1")),
        1 => prop::sample::select(vec!["a.pin", "a._source", "b.v"]).prop_map(|x| format!("select {x} from visit a")),
    ]
    .boxed()
}

/// The columns and the rows of an answer, or the reason why there is none.
type Outcome = Result<(Vec<String>, Vec<String>), String>;

async fn ask(rows: &Rows, caller: &CallContext, sql: String, parameters: Vec<Parameter>) -> Outcome {
    let answer = rows.kernel.ask(caller, QueryRequest { sql, parameters, changes_after: rows.begun_at, ..QueryRequest::default() }).await;
    answer.map_err(|status| reason(&status)).map(|answer| {
        let mut lines = answer.lines();
        lines.sort();
        (answer.schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect(), lines)
    })
}

/// The SQL with its values in it.
fn written(sql: &str) -> String {
    sql.replace(['⟦', '⟧'], "")
}

/// The SQL with places for its values, and the values.
fn with_places(sql: &str) -> (String, Vec<Parameter>) {
    let (mut placed, mut parameters) = (String::new(), Vec::new());
    for (index, piece) in sql.split('⟦').enumerate() {
        let Some((value, rest)) = piece.split_once('⟧').filter(|_| index > 0) else {
            placed.push_str(piece);
            continue;
        };
        let value = match value.parse::<i64>() {
            Ok(number) => parameter::Value::Integer(number),
            Err(_) => parameter::Value::Text(value.trim_matches('\'').to_owned()),
        };
        parameters.push(Parameter { value: Some(value) });
        placed.push_str(&format!("${}{rest}", parameters.len()));
    }
    (placed, parameters)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guard_shows_what_a_warehouse_shows_that_has_nothing_else() {
    let all = [FOSHAN, DONGGUAN, PROVINCE];
    let in_memory = warehouse(&all, false, |_| {}).await;
    let in_files = warehouse(&all, false, |settings| settings.held_rows = 0).await;
    // As files of more rows are read.
    let in_large_files = warehouse(&all, false, |settings| {
        settings.held_rows = 0;
        (settings.query.looked_into_rows, settings.query.one_core_rows) = (0, 0);
    });
    let guarded = [in_memory, in_files, in_large_files.await];
    let copy = warehouse(&[FOSHAN, PROVINCE], true, |settings| settings.held_rows = 0).await;
    let (masked, whole) = (reader(FOSHAN), city_caller(FOSHAN));
    let handle = tokio::runtime::Handle::current();
    // `make fuzz` sets PROPTEST_CASES.
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::default() });
    let outcome = tokio::task::block_in_place(|| {
        runner.run(&query(), |sql| {
            handle.block_on(async {
                let expected = ask(&copy, &whole, written(&sql), Vec::new()).await;
                let (placed, parameters) = with_places(&sql);
                // The second time the plan is kept.
                for (form, sql, parameters) in
                    [("written", written(&sql), Vec::new()), ("with places", placed.clone(), parameters.clone()), ("again", placed, parameters)]
                {
                    for rows in &guarded {
                        prop_assert_eq!(ask(rows, &masked, sql.clone(), parameters.clone()).await, expected.clone(), "{}: {}", form, sql);
                    }
                }
                Ok(())
            })
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
