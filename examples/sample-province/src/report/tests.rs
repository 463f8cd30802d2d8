use std::{fs, path::Path, sync::LazyLock};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    agents, arbitrage, complaints, delivery, dwell, exclusive,
    figure::Chart,
    flaws, index, kpi_drop, late_adjustments, late_file, moves,
    read_back::city_name,
    refunded_more, reused_numbers, silent_value,
    table::{Table, cells, yuan},
    terms,
};
use crate::{Options, generate};

/// One province for all tests: they read, but for the page.
static PROVINCE: LazyLock<TempDir> = LazyLock::new(|| {
    let out = tempfile::tempdir().expect("a folder");
    let options = Options { customers: 4_000, ..Options::default() };
    generate(&options, out.path(), &mut |_| {}).expect("the province is written");
    out
});

fn out() -> &'static Path {
    PROVINCE.path()
}

fn fact(name: &str) -> Value {
    let text = fs::read_to_string(out().join(format!("answer-key/{name}.json"))).expect("the answer key is there");
    serde_json::from_str(&text).expect("it is JSON")
}

fn rows(fact: &Value) -> &Vec<Value> {
    fact["rows"].as_array().expect("a fact has rows")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn has_row(table: &Table, cells: &[String]) -> bool {
    table.rows.iter().any(|row| cells.iter().all(|cell| row.contains(cell)))
}

/// Every row of the key is a row of the table; answers how many there are.
fn assert_shows(table: &Table, name: &str, cells: impl Fn(&Value) -> Vec<String>) -> usize {
    let fact = fact(name);
    for row in rows(&fact) {
        assert!(has_row(table, &cells(row)), "{name}: {:?}", cells(row));
    }
    assert!(!rows(&fact).is_empty(), "{name}");
    rows(&fact).len()
}

fn planted_leads(chart: &Chart) -> bool {
    match chart {
        Chart::Bars { bars, .. } => bars.first().is_some_and(|bar| bar.is_planted),
        Chart::Lines { series, .. } => {
            let peak = |is_planted: bool| {
                series.iter().filter(|series| series.is_planted == is_planted).flat_map(|series| &series.values).copied().fold(0.0, f64::max)
            };
            peak(true) > peak(false)
        }
    }
}

#[test]
fn the_files_themselves_show_what_is_planted() {
    for figure in [complaints::figure(out()), agents::figure(out()), dwell::figure(out()), delivery::figure(out())] {
        let figure = figure.expect("the files can be read back");
        assert!(planted_leads(&figure.chart), "{}: {:?}", figure.name, figure.chart);
    }
    let Chart::Lines { shaded, series, .. } = kpi_drop::figure(out()).expect("the files can be read back").chart else {
        panic!("the drop is a line");
    };
    let planted = series.iter().find(|series| series.is_planted).expect("one brand is the driver");
    let mean = |during: bool| {
        let values = planted.values.iter().zip(&shaded).filter(|(_, shaded)| **shaded == during).map(|(value, _)| *value).collect::<Vec<_>>();
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(mean(true) < mean(false) / 2.0, "{} against {}", mean(true), mean(false));
}

#[test]
fn every_month_books_something_for_what_was_not_used() {
    let Chart::Lines { series, x_labels, .. } = silent_value::figure(out()).expect("the files can be read back").chart else {
        panic!("the values are lines");
    };
    assert!(x_labels.len() >= 12);
    for (booked, silent) in series[0].values.iter().zip(&series[1].values) {
        assert!(0.0 < *silent && silent < booked, "{silent} of {booked}");
    }
}

#[test]
fn the_day_of_the_late_file_has_nothing_in_time() {
    let Chart::Lines { shaded, series, .. } = late_file::figure(out()).expect("the files can be read back").chart else {
        panic!("the rows of the days are lines");
    };
    let all_and_in_time = |place: usize| (series[0].values[place], series[1].values[place]);
    let key = fact("late-file");
    let late = ["rows_good", "rows_duplicate", "rows_corrupt", "rows_unknown_number"].map(|column| rows(&key)[0][column].as_f64().expect("a count"));
    for (place, is_late) in shaded.iter().enumerate() {
        let (all, in_time) = all_and_in_time(place);
        assert_eq!(in_time, if *is_late { 0.0 } else { all });
        assert!(!is_late || all == late.iter().sum::<f64>(), "{all} against {late:?}");
    }
    assert_eq!(shaded.iter().filter(|is_late| **is_late).count(), 1);
}

#[test]
fn tables_show_the_rows_of_the_answer_key() {
    let table = exclusive::table(out()).expect("the files can be read back");
    let count = assert_shows(&table, "exclusive", |row| {
        let columns = ["customer_id", "enrolment_id", "package_id", "other_enrolment_id", "other_package_id", "first_day", "last_day"];
        columns.iter().map(|column| text(&row[column])).chain([city(&row["city"])]).collect()
    });
    assert_eq!(count, table.rows.len());

    let table = moves::table(out()).expect("the files can be read back");
    let count = assert_shows(&table, "moves", |row| vec![text(&row["customer_id"]), city(&row["from_city"]), city(&row["to_city"]), text(&row["on"])]);
    assert_eq!(count, table.rows.len());

    let table = reused_numbers::table(out()).expect("the files can be read back");
    let columns = ["msisdn", "left_by", "taken_by", "taken_on"];
    let count = assert_shows(&table, "reused-numbers", |row| columns.iter().map(|column| text(&row[column])).collect());
    assert_eq!(count, table.rows.len());

    let table = late_adjustments::table(out()).expect("the files can be read back");
    let count = assert_shows(&table, "late-adjustments", |row| {
        let amount = yuan(row["amount_fen"].as_i64().expect("fen"));
        ["bill_id", "line_no", "month", "sent_in"]
            .iter()
            .map(|column| text(&row[column]))
            .chain([amount, row["enrolment_id"].as_str().unwrap_or("").to_owned()])
            .collect()
    });
    assert_eq!(count, table.rows.len());

    let table = arbitrage::table(out()).expect("the files can be read back");
    assert_shows(&table, "arbitrage", |row| {
        let ids = row["enrolments"].as_array().expect("ids").iter().map(text).collect::<Vec<_>>();
        vec![text(&row["customer_id"]), text(&row["package_id"]), ids.len().to_string(), ids.join(" ")]
    });

    let table = refunded_more::table(out()).expect("the files can be read back");
    assert_shows(&table, "refunded-more", |enrolment| vec![text(enrolment)]);
}

fn city(code: &Value) -> String {
    city_name(&text(code)).to_owned()
}

#[test]
fn flaws_are_counted_as_they_were_made() {
    let table = flaws::table(out()).expect("the files can be read back");
    let key = fact("flaws");
    let with_flaws = rows(&key).iter().filter(|row| ["duplicate", "corrupt", "unknown_number"].iter().any(|kind| row[kind] != 0)).collect::<Vec<_>>();
    assert!(with_flaws.len() > 5);
    for row in with_flaws {
        let expected = ["feed", "good", "duplicate", "corrupt", "unknown_number"].map(|column| text(&row[column])).to_vec();
        assert!(table.rows.contains(&expected), "{expected:?} is none of {:?}", table.rows);
    }
}

#[test]
fn the_catalogue_s_peculiar_terms_are_listed() {
    let table = terms::table(out()).expect("the files can be read back");
    let key = fact("catalogue");
    let list = |name: &str| key[name].as_array().expect("a list").clone();
    let shows = |cells: &[String], what: &str| {
        let is_row = |row: &&Vec<String>| cells.iter().all(|cell| row.contains(cell));
        table.rows.iter().filter(is_row).any(|row| row.last().is_some_and(|told| told.split(", ").any(|told| told == what)))
    };
    for changed in list("changed") {
        let component = [text(&changed["component_id"]), format!("{}-01", text(&changed["from"])), yuan(changed["list_price_fen"].as_i64().expect("fen"))];
        assert!(shows(&component, "changed"), "{component:?}");
        assert_eq!(shows(&component, "earlier terms stay open"), changed["earlier_row_stays_open"] == true, "{component:?}");
    }
    for (name, what) in [("zero_price", "free"), ("no_entitlement", "unlimited"), ("sold_before_valid", "package sold before")] {
        assert!(!list(name).is_empty(), "{name}");
        for id in list(name) {
            assert!(shows(&[text(&id)], what), "{id} is not {what}");
        }
    }
}

#[test]
fn the_page_has_every_plot_and_table() {
    index::write(out()).expect("the report is written");
    let page = fs::read_to_string(out().join("report/index.html")).expect("the page is there");
    assert_eq!((page.matches("<img").count(), page.matches("<table>").count()), (9, 8));
    assert!(fs::read_to_string(out().join("report/dwell.svg")).expect("the plot is there").starts_with("<svg"));
}

#[test]
fn a_long_table_shows_its_beginning_and_its_count() {
    let table =
        |count: i64| Table { title: "T", caption: "C".to_owned(), columns: &["a", "b"], rows: (0..count).map(|row| cells([&row, &yuan(-row)])).collect() };
    assert_eq!(table(1).html(), "<h2>T</h2>\n<p>C 1 in all.</p>\n<table>\n<tr><th>a</th><th>b</th></tr>\n<tr><td>0</td><td>0.00</td></tr>\n</table>\n");
    let long = table(40).html();
    assert!(long.contains("The first 25 of 40.") && long.contains("<td>-0.24</td>") && !long.contains("<td>25</td>"), "{long}");
}
