//! The job and the methods over answers that the warehouse would give: what is asked of it, what is written, and what our own code makes of it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{cell::Cell, collections::HashMap};

use backplane_sdk::{
    CallOptions, Code, Context, Day, Fen, Month, Status,
    arrow_array::RecordBatch,
    job::{JobsClient, RunRequest, RunResponse},
    proto::{
        ingest::v1::{Completeness, ListCompletenessRequest, ListCompletenessResponse},
        warehouse::v1::{Parameter, parameter::Value},
    },
    testing::FakeKernel,
    warehouse::Columns,
};

use crate::{
    Plugin,
    job::{
        components::ByPackage,
        inputs::{BillSums, EnrolmentRow, Inputs},
        outputs, valuation,
    },
    proto::package_monitor::v1::{
        CheckEnrolmentRequest, ListConflictsRequest, ListPackageGroupsRequest, ListPackagesRequest, ListSourceEnrolmentsRequest, PackageMonitorClient,
    },
};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// A month of the plan as the warehouse counts it.
fn inputs_of(months: &[&str]) -> RecordBatch {
    Columns::of(months)
        .day("month", |text| month(text).first_day())
        .integer("enrolments", |_| 3)
        .integer("use_rows", |_| 5_000)
        .text("inputs", |_| "7/7/100")
        .batch()
        .unwrap()
}

/// The rows that earlier runs of the same inputs left of March, with a status and the snapshot in which its figures are whole.
fn states(statuses: &[(&'static str, Option<i64>)]) -> RecordBatch {
    Columns::of(statuses)
        .day("month", |_| month("2026-03").first_day())
        .text("city", |_| "441900")
        .text("status", |(status, _)| status)
        .optional_text("reason", |_| None)
        .integer("configuration_revision", |_| 1)
        .integer("snapshot_id", |_| 40)
        .text("inputs", |_| "7/7/100")
        .integer("enrolments", |_| 3)
        .integer("booked_fen", |_| 900)
        .integer("real_fen", |_| 900)
        .integer("virtual_fen", |_| 0)
        .integer("gifted_fen", |_| 0)
        .integer("swapped_fen", |_| 0)
        .integer("waiting_rows", |_| 0)
        .integer("unmatched_lines", |_| 0)
        .integer("unmatched_fen", |_| 0)
        .optional_integer("figures_snapshot_id", |(_, snapshot_id)| *snapshot_id)
        .batch()
        .unwrap()
}

fn state(text: &'static str) -> RecordBatch {
    states(&[(text, None)])
}

fn unmatched() -> RecordBatch {
    Columns::of(&[()]).integer("lines", |()| 2).integer("fen", |()| 900).batch().unwrap()
}

fn columns_of_one(name: &'static str, value: i64) -> RecordBatch {
    Columns::of(&[()]).integer(name, |()| value).batch().unwrap()
}

/// A warehouse with one month of bills that nobody valued, and no enrolment.
fn empty_month(sql: &str, _: &[Parameter]) -> Result<RecordBatch, Status> {
    let nothing: [(); 0] = [];
    let columns = Columns::of(&nothing);
    Ok(match sql {
        sql if sql.contains("concat_ws") => inputs_of(&["2026-03"]),
        sql if is_state(sql) => states(&[]),
        sql if sql.contains("AS months") => columns_of_one("months", 0),
        sql if sql.contains("AS lines") => unmatched(),
        sql if sql.contains("FROM package_component") => columns
            .text("component_id", |()| "")
            .text("package_id", |()| "")
            .text("product_id", |()| "")
            .text("role", |()| "")
            .integer("list_price_fen", |()| 0)
            .optional_integer("entitlement", |()| None)
            .text("measure", |()| "")
            .batch()?,
        _ => columns.integer("customer_id", |()| 0).batch()?,
    })
}

/// Whether a query asks what earlier runs left of the months.
fn is_state(sql: &str) -> bool {
    sql.contains("figures_snapshot_id")
}

/// Of a step: neither of the plan nor of what was written before.
fn is_input(sql: &str) -> bool {
    let is_written_before = sql.contains("FROM package_monitor.") && sql.contains("ORDER BY enrolment_id");
    sql.contains("customer_id") && !sql.contains("concat_ws") && !is_written_before
}

fn kernel(missing: &'static [&'static str]) -> FakeKernel {
    kernel_with(missing, 0)
}

fn kernel_with(missing: &'static [&'static str], rows_waiting: i64) -> FakeKernel {
    let completeness = move |request: ListCompletenessRequest| {
        assert_eq!(request.month, "202603");
        let row = |feed: String| {
            let missing: Vec<String> = if feed == "misc.usage" { missing.iter().map(|day| (*day).to_owned()).collect() } else { Vec::new() };
            let rows_waiting = if feed == "misc.usage" { rows_waiting } else { 0 };
            Completeness {
                feed,
                city: "441900".to_owned(),
                complete: missing.is_empty() && rows_waiting == 0,
                missing,
                rows_waiting,
                ..Completeness::default()
            }
        };
        Ok(ListCompletenessResponse { rows: request.feeds.into_iter().map(row).collect() })
    };
    let kernel = FakeKernel::new().plugin::<Plugin>().plugin_id("package-monitor").snapshot(41).on_query(empty_month);
    kernel.on_unary("/backplane.ingest.v1.Ingest/ListCompleteness", completeness)
}

/// Runs the job to its end.
fn run(context: &Context) -> Result<RunResponse, Status> {
    run_with(context, run_request())
}

fn run_request() -> RunRequest {
    RunRequest { job: "value-months".to_owned(), run_id: "r1".to_owned(), ..RunRequest::default() }
}

fn run_with(context: &Context, mut request: RunRequest) -> Result<RunResponse, Status> {
    loop {
        let step = JobsClient::new(context).run(&CallOptions::default(), &request)?;
        if step.cursor.is_empty() {
            return Ok(step);
        }
        request.cursor = step.cursor;
        request.step += 1;
        assert!(request.step < 20, "it comes to an end");
    }
}

#[test]
fn a_month_without_all_of_its_feeds_is_not_valued_and_says_what_is_missing() {
    let (kernel, context) = kernel(&["20260330", "20260331"]).start("441900");
    let last = run(&context).unwrap();
    assert_eq!(last.result_json, r#"{"valued":[],"not_valued":["2026-03"],"enrolments":0}"#);
    let appends = kernel.appends();
    assert_eq!(appends.len(), 1);
    assert_eq!((appends[0].dataset.as_str(), appends[0].idempotency_key.as_str()), ("package_monitor.month", "r1/1/month-0"));
    let written = String::from_utf8_lossy(&appends[0].ipc).into_owned();
    assert!(written.contains("not_valued") && written.contains("misc.usage lacks 20260330, 20260331"), "{written}");
}

#[test]
fn some_rows_may_wait_for_their_number_and_not_many() {
    // Of 5,000 rows of use.
    for (rows_waiting, valued) in [(5, true), (6, false)] {
        let last = run(&kernel_with(&[], rows_waiting).context("441900")).unwrap();
        assert_eq!(last.result_json.contains(r#""valued":["2026-03"]"#), valued, "{rows_waiting}: {}", last.result_json);
    }
    let (kernel, context) = kernel_with(&[], 600).configuration(r#"{"waiting_rows_permille_max": 100}"#).start("441900");
    run(&context).unwrap();
    let written = String::from_utf8_lossy(&kernel.appends()[0].ipc).into_owned();
    assert!(written.contains("600 rows wait for their number, more than 100 in a thousand"), "{written}");
}

#[test]
fn a_complete_month_is_valued_and_every_query_reads_one_snapshot() {
    let (kernel, context) = kernel(&[]).start("441900");
    let last = run(&context).unwrap();
    assert_eq!(last.result_json, r#"{"valued":["2026-03"],"not_valued":[],"enrolments":0}"#);
    let pinned: Vec<i64> = kernel.queries().iter().filter(|query| is_input(&query.sql)).map(|query| query.snapshot_id).collect();
    assert!(pinned.len() >= 5 && pinned.iter().all(|snapshot_id| *snapshot_id == 41), "{pinned:?}");
}

/// What the job wrote of the months, an append a text.
fn months_written(kernel: &FakeKernel) -> Vec<String> {
    let of_months = kernel.appends().into_iter().filter(|append| append.dataset == "package_monitor.month");
    of_months.map(|append| String::from_utf8_lossy(&append.ipc).into_owned()).collect()
}

#[test]
fn while_figures_are_replaced_the_month_says_so_and_where_those_of_before_are() {
    // A number that is nothing else in the bytes, and text.
    const WHOLE_AT: i64 = 0x6162_6364_6566;
    let written = |before: Option<(&'static str, Option<i64>)>| {
        let answer = move |sql: &str, parameters: &[Parameter]| match before {
            Some(before) if is_state(sql) => Ok(states(&[before])),
            _ => empty_month(sql, parameters),
        };
        let (kernel, context) = kernel(&[]).on_query(answer).start("441900");
        let request = RunRequest { parameters_json: r#"{"from": "2026-03"}"#.to_owned(), ..run_request() };
        run_with(&context, request).unwrap();
        months_written(&kernel)
            .iter()
            .map(|ipc| (ipc.contains("valuing"), ipc.as_bytes().windows(8).any(|bytes| bytes == WHOLE_AT.to_le_bytes())))
            .collect::<Vec<_>>()
    };
    assert_eq!(written(None), [(false, false)], "nobody takes the month for valued before its only row");
    assert_eq!(written(Some(("not_valued", None))), [(false, false)]);
    assert_eq!(written(Some(("valued", None))), [(true, false), (false, false)]);
    assert_eq!(
        written(Some(("valuing", Some(WHOLE_AT)))),
        [(true, true), (false, false)],
        "since the stopped run, too, the figures are whole where they were before it"
    );
}

#[test]
fn a_stopped_run_is_seen_by_the_next() {
    let answer = |sql: &str, parameters: &[Parameter]| if is_state(sql) { Ok(states(&[("valuing", Some(7))])) } else { empty_month(sql, parameters) };
    let (kernel, context) = kernel(&[]).on_query(answer).start("441900");
    assert_eq!(run(&context).unwrap().result_json, r#"{"valued":["2026-03"],"not_valued":[],"enrolments":0}"#, "the inputs are the same");
    assert_eq!(months_written(&kernel).len(), 2);
}

#[test]
fn while_figures_are_replaced_answers_are_those_of_before() {
    let ask = |rounds: usize| {
        let asked = Cell::new(0);
        let answer = move |sql: &str, _: &[Parameter]| {
            if !is_state(sql) {
                return Ok(RecordBatch::new_empty(states(&[]).schema()));
            }
            asked.set(asked.get() + 1);
            let before = 40 - i64::try_from(asked.get()).unwrap_or(0);
            Ok(states(&[if asked.get() > rounds { ("valued", None) } else { ("valuing", Some(before)) }]))
        };
        let (kernel, context) = kernel(&[]).on_query(answer).start("441900");
        let request = ListConflictsRequest { month: "2026-03".to_owned(), ..ListConflictsRequest::default() };
        let answer = PackageMonitorClient::new(&context).list_conflicts(&CallOptions::default(), &request);
        (answer, kernel.queries().iter().map(|query| query.snapshot_id).collect::<Vec<_>>())
    };
    let (answer, pinned) = ask(0);
    assert_eq!((answer.unwrap().snapshot_id, pinned), (41, vec![0, 41]));
    let (answer, pinned) = ask(2);
    assert_eq!((answer.unwrap().snapshot_id, pinned), (38, vec![0, 39, 38, 38]), "another city's run had begun before, while this one's was on");
    let (answer, pinned) = ask(usize::MAX);
    assert_eq!((answer.unwrap_err().reason(), pinned.len()), ("MONTH_NOT_VALUED", 64));
}

#[test]
fn a_customer_with_more_enrolments_than_a_step_can_hold_stops_the_month() {
    let answer = |sql: &str, parameters: &[Parameter]| {
        if !sql.contains("ORDER BY customer_id, at, enrolment_id") {
            return empty_month(sql, parameters);
        }
        let Some(Value::Integer(rows)) = parameters[3].value else { panic!("its limit is the last of {parameters:?}") };
        let ids: Vec<String> = (0..rows).map(|number| format!("E{number}")).collect();
        let columns = Columns::of(&ids).text("enrolment_id", |id| id).integer("customer_id", |_| 7).text("package_id", |_| "p").text("channel_id", |_| "c");
        let columns = columns.optional_text("agent_id", |_| None).integer("at", |_| 0).day("starts_on", |_| day("2026-01-01"));
        columns.day("ends_on", |_| day("2026-12-31")).optional_integer("cancelled_at", |_| None).batch()
    };
    let (kernel, context) = kernel(&[]).on_query(answer).start("441900");
    let refused = run(&context).unwrap_err();
    assert!(refused.reason() == "ROWS_INVALID" && refused.message().contains("has 100000 enrolments or more in 2026-03"), "{refused}");
    assert!(months_written(&kernel).is_empty(), "nothing of the month is said");
}

#[test]
fn a_check_names_a_hundred_findings_at_most_those_that_stand_against_it_first() {
    let answer = |_: &str, _: &[Parameter]| {
        let held: Vec<i32> = (0..150).collect();
        let columns = Columns::of(&held).text("what", |_| "enrolment").text("id", |_| "E").text("text", |_| "taken");
        let columns = columns.day("first_day", |_| day("2026-01-01")).optional_day("last_day", |_| Some(day("2026-12-31")));
        // Cancelled at noon of 30 June, within days of having been made: a habit, and none of them is over yet.
        let columns = columns.optional_integer("number", |_| Some(1_782_792_000_000_000)).day("since", |_| day("2026-06-25"));
        columns.text("package_id", |_| "p1").batch()
    };
    let context = kernel(&[]).on_query(answer).context("441900");
    let request = CheckEnrolmentRequest { customer_id: 7, package_id: "p1".to_owned(), enrols_on: "2026-06-28".to_owned(), ..CheckEnrolmentRequest::default() };
    let answer = PackageMonitorClient::new(&context).check_enrolment(&CallOptions::default(), &request).unwrap();
    assert_eq!((answer.allowed, answer.findings.len()), (false, 100));
    assert!(answer.findings.iter().all(|finding| finding.blocking), "the habit, which does not stand against it, is the last of 153");
}

#[test]
fn a_month_without_figures_is_refused() {
    let context = kernel(&[]).context("441900");
    let client = PackageMonitorClient::new(&context);
    let ask = |month: &str| client.list_packages(&CallOptions::default(), &ListPackagesRequest { month: month.to_owned(), ..ListPackagesRequest::default() });
    let refused = ask("2026-03").unwrap_err();
    assert_eq!((refused.code(), refused.reason()), (Code::FailedPrecondition, "MONTH_NOT_VALUED"));
    assert!(refused.message().contains("2026-03 is not valued"), "{refused}");
    let wrong = ask("202603").unwrap_err();
    assert_eq!((wrong.code(), wrong.reason(), wrong.places()["field"].as_str()), (Code::InvalidArgument, "FIELD_INVALID", "month"));
}

#[test]
fn a_span_of_months_that_makes_no_sense_is_refused() {
    let context = kernel(&[]).context("441900");
    let client = PackageMonitorClient::new(&context);
    for (package_id, from, to, field) in [
        ("", "2026-01", "2026-02", "package_id"),
        ("p1", "2026-02", "2026-01", "to_month"),
        ("p1", "2023-01", "2026-01", "to_month"),
        ("p1", "x", "2026-01", "from_month"),
    ] {
        let request = ListPackageGroupsRequest {
            package_id: package_id.to_owned(),
            from_month: from.to_owned(),
            to_month: to.to_owned(),
            ..ListPackageGroupsRequest::default()
        };
        let refused = client.list_package_groups(&CallOptions::default(), &request).unwrap_err();
        assert_eq!((refused.reason(), refused.places()["field"].as_str()), ("FIELD_INVALID", field), "{refused}");
    }
}

#[test]
fn a_check_and_a_drill_that_make_no_sense_name_their_field() {
    let context = kernel(&[]).context("441900");
    let client = PackageMonitorClient::new(&context);
    let check = |customer_id, package_id: &str, enrols_on: &str, starts_on: &str| {
        let dates = [enrols_on, starts_on].map(str::to_owned);
        let [enrols_on, starts_on] = dates;
        let request = CheckEnrolmentRequest { customer_id, package_id: package_id.to_owned(), enrols_on, starts_on };
        client.check_enrolment(&CallOptions::default(), &request).unwrap_err()
    };
    for (refused, field) in [
        (check(0, "K001", "", ""), "customer_id"),
        (check(7, "", "", ""), "package_id"),
        (check(7, "K001", "2026-3-1", ""), "enrols_on"),
        (check(7, "K001", "2026-03-02", "2026-03-01"), "starts_on"),
    ] {
        assert_eq!((refused.reason(), refused.places()["field"].as_str()), ("FIELD_INVALID", field), "{refused}");
    }
    let drill = |context: &Context, channel_id: &str, last_day: &str| {
        let request = ListSourceEnrolmentsRequest {
            channel_id: channel_id.to_owned(),
            first_day: "2026-03-01".to_owned(),
            last_day: last_day.to_owned(),
            ..ListSourceEnrolmentsRequest::default()
        };
        PackageMonitorClient::new(context).list_source_enrolments(&CallOptions::default(), &request)
    };
    assert!(drill(&context, "web", "2026-03-31").is_ok(), "31 days");
    let province = kernel(&[]).context("440000");
    for (refused, field) in [
        (drill(&context, "web", "2026-04-01"), "last_day"),
        (drill(&context, "web", "2026-02-28"), "last_day"),
        (drill(&context, "", "2026-03-31"), "channel_id"),
        (drill(&province, "web", "2026-03-31"), "city"),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!((refused.reason(), refused.places()["field"].as_str()), ("FIELD_INVALID", field), "{refused}");
    }
}

fn enrolment(id: &str, customer_id: i64, starts_on: &str, ends_on: &str) -> EnrolmentRow {
    EnrolmentRow {
        enrolment_id: id.to_owned(),
        customer_id,
        package_id: "p1".to_owned(),
        channel_id: "store".to_owned(),
        agent_id: None,
        at: 0,
        starts_on: day(starts_on),
        ends_on: day(ends_on),
        cancelled_at: None,
    }
}

fn inputs(enrolments: Vec<EnrolmentRow>, bills: &[(&str, i64)]) -> Inputs {
    let bills =
        bills.iter().map(|(id, charged_fen)| ((*id).to_owned(), BillSums { charged_fen: Fen::new(*charged_fen), gift_credit_fen: Fen::ZERO })).collect();
    Inputs { enrolments, to_customer: i64::MAX, more: false, bills, used: HashMap::new(), permille: HashMap::new(), carried: HashMap::new() }
}

#[test]
fn a_month_has_rows_for_what_is_in_force_or_named_by_a_line() {
    let over = enrolment("over", 1, "2025-01-01", "2026-02-28");
    let named = enrolment("named", 1, "2025-01-01", "2026-02-28");
    let last_day = enrolment("last day", 2, "2025-01-01", "2026-03-01");
    let first_day = enrolment("first day", 3, "2026-03-31", "2027-03-30");
    // 2026-02-28 16:00 UTC is midnight of 1 March in Shanghai; a microsecond before it is February.
    let cancelled = |at| EnrolmentRow { cancelled_at: Some(at), ..enrolment("cancelled", 4, "2025-01-01", "2026-12-31") };
    let midnight = 1_772_294_400_000_000;
    for (cancelled_at, expected) in [(midnight, vec!["named", "last day", "first day", "cancelled"]), (midnight - 1, vec!["named", "last day", "first day"])] {
        let rows = vec![over.clone(), named.clone(), last_day.clone(), first_day.clone(), cancelled(cancelled_at)];
        let valued = valuation::value(month("2026-03"), &inputs(rows, &[("named", 500)]), &ByPackage::none(), "0.3".parse().unwrap());
        let ids: Vec<&str> = valued.enrolments.iter().map(|row| row.enrolment_id.as_str()).collect();
        assert_eq!(ids, expected);
        assert_eq!((valued.enrolments[0].in_force, valued.enrolments[0].real_fen), (false, Fen::new(500)), "without a component all is real");
    }
}

#[test]
fn what_is_found_no_more_is_withdrawn() {
    let rows = vec![enrolment("e1", 1, "2026-01-01", "2026-12-31"), enrolment("e2", 1, "2026-01-01", "2026-12-31")];
    let value =
        |rows: Vec<EnrolmentRow>| valuation::value(month("2026-03"), &inputs(rows, &[("e1", 700), ("e2", 300)]), &ByPackage::none(), "0.3".parse().unwrap());
    let (earlier, mut now) = (value(rows.clone()), value(rows[..1].to_vec()));
    outputs::withdraw(&mut now.enrolments, earlier.enrolments);
    let rows: Vec<(&str, Fen, bool)> = now.enrolments.iter().map(|row| (row.enrolment_id.as_str(), row.booked_fen, row.withdrawn)).collect();
    assert_eq!(rows, [("e1", Fen::new(700), false), ("e2", Fen::ZERO, true)]);
}

#[test]
fn a_step_that_is_repeated_writes_the_same_rows_under_the_same_keys() {
    // What it wrote the first time is there the second time: one enrolment that it found no more, already withdrawn.
    let earlier = |withdrawn: bool| {
        let row = [enrolment("gone", 1, "2026-01-01", "2026-12-31")];
        let columns = Columns::of(&row).text("enrolment_id", |row| &row.enrolment_id).day("month", |_| month("2026-03").first_day());
        let columns = columns.integer("customer_id", |row| row.customer_id).text("package_id", |row| &row.package_id).text("channel_id", |row| &row.channel_id);
        let columns = columns.optional_text("agent_id", |_| None).day("joined_month", |_| month("2026-01").first_day()).boolean("in_force", |_| !withdrawn);
        let amounts =
            ["booked_fen", "real_fen", "virtual_fen", "gifted_fen", "swapped_fen", "carried_fen", "components", "silent_components", "under_used_components"];
        let columns = amounts.into_iter().fold(columns, |columns, amount| columns.integer(amount, |_| if withdrawn { 0 } else { 7 }));
        columns.boolean("withdrawn", |_| withdrawn).batch().unwrap()
    };
    let written = |withdrawn: bool| {
        let earlier = earlier(withdrawn);
        let answer = move |sql: &str, parameters: &[Parameter]| {
            if sql.contains("FROM package_monitor.enrolment_value") && !sql.contains("carried_fen < 0") {
                Ok(earlier.clone())
            } else {
                empty_month(sql, parameters)
            }
        };
        let (kernel, context) = kernel(&[]).on_query(answer).start("441900");
        run(&context).unwrap();
        let of_values = |append: &backplane_sdk::proto::ingest::v1::AppendRequest| append.dataset == "package_monitor.enrolment_value";
        kernel.appends().into_iter().filter(of_values).map(|append| (append.idempotency_key, append.ipc)).collect::<Vec<_>>()
    };
    assert_eq!(written(false).len(), 1);
    assert_eq!(written(false), written(true));
}

#[test]
fn a_city_whose_rows_are_appended_lacks_no_file() {
    let (kernel, context) = kernel(&["20260330"]).configuration(r#"{"bill_feeds": [], "use_feeds": []}"#).start("441900");
    assert_eq!(run(&context).unwrap().result_json, r#"{"valued":["2026-03"],"not_valued":[],"enrolments":0}"#);
    assert_eq!(kernel.appends().len(), 1);
}

#[test]
fn the_province_as_a_whole_is_not_valued() {
    let refused = run(&kernel(&[]).context("440000")).unwrap_err();
    assert_eq!((refused.reason(), refused.places()["field"].as_str()), ("FIELD_INVALID", "city"), "{refused}");
}

#[test]
fn a_month_that_still_lacks_a_feed_is_looked_at_and_not_done_again() {
    let after = |status: &'static str, missing: &'static [&'static str]| {
        let answer = move |sql: &str, parameters: &[Parameter]| {
            if is_state(sql) { Ok(state(status)) } else { empty_month(sql, parameters) }
        };
        let (kernel, context) = kernel(missing).on_query(answer).start("441900");
        (run(&context).unwrap().result_json, kernel.appends().len())
    };
    let nothing = r#"{"valued":[],"not_valued":[],"enrolments":0}"#.to_owned();
    assert_eq!(after("not_valued", &["20260330"]), (nothing.clone(), 0));
    assert_eq!(after("valued", &[]), (nothing, 0));
    assert_eq!(after("not_valued", &[]).0, r#"{"valued":["2026-03"],"not_valued":[],"enrolments":0}"#, "its last file had no record");
}
