//! Every method through its client, over answers that the warehouse would give: what is asked of it, and what our own code makes of it.
#![allow(clippy::unwrap_used, reason = "tests")]

use backplane_sdk::{
    CallOptions, Code, Context, Status,
    prost_types::Timestamp,
    proto::warehouse::v1::parameter::Value,
    testing::{self, FakeKernel},
};
use serde::Serialize;

use crate::{
    Plugin,
    proto::portal_traffic::v1::{
        AudienceKind, GetAudienceRequest, GetSummaryRequest, GetSummaryResponse, ListFailingPagesRequest, ListPageHoursRequest, ListReferrersRequest,
        ListReferrersResponse, ListSlowPagesRequest, PortalTrafficClient, Referrer,
    },
};

/// 17 May 2015, 10:00 UTC.
const HOUR: i64 = 1_431_856_800;

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos: 0 })
}

fn kernel() -> FakeKernel {
    FakeKernel::new().plugin::<Plugin>().plugin_id("portal-traffic").snapshot(41)
}

#[derive(Serialize)]
struct Counts {
    requests: i64,
    visitors: i64,
    sessions: i64,
    errors: i64,
    bytes: i64,
}

const COUNTS: Counts = Counts { requests: 5, visitors: 2, sessions: 3, errors: 1, bytes: 9_000 };

fn summary(context: &Context, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<GetSummaryResponse, Status> {
    PortalTrafficClient::new(context).get_summary(&CallOptions::default(), &GetSummaryRequest { from, to, pages_only: true })
}

#[test]
fn a_summary_is_one_row_and_its_values_are_bound() {
    let (kernel, context) = kernel().configuration(r#"{"channel_id": "web'; DROP"}"#).on_query(|_, _| testing::batch(&[COUNTS])).start("440600");
    let answer = summary(&context, at(HOUR), at(HOUR + 60)).unwrap();
    assert_eq!(answer, GetSummaryResponse { requests: 5, visitors: 2, sessions: 3, errors: 1, bytes: 9_000, snapshot_id: 41 });
    let query = &kernel.queries()[0];
    let values: Vec<_> = query.parameters.iter().map(|parameter| parameter.value.clone().unwrap()).collect();
    let expected =
        [Value::InstantMicros(HOUR * 1_000_000), Value::InstantMicros((HOUR + 60) * 1_000_000), Value::Boolean(true), Value::Text("web'; DROP".to_owned())];
    assert_eq!(values, expected);
    assert!(!query.sql.contains("DROP"));
}

#[test]
fn a_period_that_makes_no_sense_is_refused_with_its_field() {
    let context = kernel().on_query(|_, _| testing::batch(&[COUNTS])).context("440600");
    let (far, odd) = (Some(Timestamp { seconds: i64::MAX, nanos: 0 }), Some(Timestamp { seconds: HOUR, nanos: -1 }));
    let cases = [
        (None, at(HOUR), "from"),
        (at(HOUR), None, "to"),
        (at(HOUR), at(HOUR), "to"),
        (at(HOUR), at(HOUR - 1), "to"),
        (at(HOUR), at(HOUR + 400 * 86_400 + 1), "to"),
        (at(HOUR), far, "to"),
        (odd, at(HOUR + 1), "from"),
    ];
    for (from, to, field) in cases {
        let status = summary(&context, from, to).unwrap_err();
        assert_eq!((status.code(), status.reason(), status.places()["field"].as_str()), (Code::InvalidArgument, "FIELD_INVALID", field), "{from:?} {to:?}");
    }
    summary(&context, at(HOUR), at(HOUR + 400 * 86_400)).unwrap();
}

#[test]
fn a_failure_of_the_warehouse_reaches_the_caller_as_it_is() {
    let context = kernel().on_query(|_, _| Err(Status::not_found("SNAPSHOT_UNKNOWN", "gone").at("snapshot", "7"))).context("440600");
    let status = summary(&context, at(HOUR), at(HOUR + 1)).unwrap_err();
    assert_eq!((status.code(), status.reason(), status.places()["snapshot"].as_str()), (Code::NotFound, "SNAPSHOT_UNKNOWN", "7"));
}

#[derive(Serialize)]
struct PageHourRow {
    page: &'static str,
    hour: i64,
    #[serde(flatten)]
    counts: Counts,
}

#[test]
fn page_hours_are_paged_on_one_snapshot() {
    let row = |page| PageHourRow { page, hour: HOUR * 1_000_000, counts: COUNTS };
    let kernel = kernel().on_query(move |_, parameters| match parameters[6].value {
        Some(Value::Integer(0)) => testing::batch(&[row("/"), row("/a"), row("/b")]),
        _ => testing::batch(&[row("/b")]),
    });
    let (kernel, context) = kernel.start("440600");
    let client = PortalTrafficClient::new(&context);
    let request = ListPageHoursRequest { from: at(HOUR), to: at(HOUR + 3_600), page_size: 2, ..ListPageHoursRequest::default() };
    let first = client.list_page_hours(&CallOptions::default(), &request).unwrap();
    assert_eq!(first.page_hours.iter().map(|row| row.page.as_str()).collect::<Vec<_>>(), ["/", "/a"]);
    assert_eq!((first.page_hours[0].hour, first.page_hours[0].local_hour.as_str()), (at(HOUR), "2015-05-17 18:00"));

    let second =
        client.list_page_hours(&CallOptions::default(), &ListPageHoursRequest { page_token: first.next_page_token.clone(), ..request.clone() }).unwrap();
    assert_eq!((second.page_hours.len(), second.next_page_token.as_str(), second.snapshot_id), (1, "", 41));
    assert_eq!(kernel.queries().iter().map(|query| query.snapshot_id).collect::<Vec<_>>(), [0, 41], "the second page reads what the first read");

    let other = ListPageHoursRequest { page_token: first.next_page_token, pages_only: true, ..request };
    assert_eq!(client.list_page_hours(&CallOptions::default(), &other).unwrap_err().reason(), "PAGE_TOKEN_INVALID");
}

#[derive(Serialize)]
struct FailingRow {
    page: &'static str,
    requests: i64,
    errors: i64,
    server_errors: i64,
}

#[test]
fn failing_pages_have_shares_and_kinds_of_errors() {
    let context = kernel().on_query(|_, _| testing::batch(&[FailingRow { page: "/x", requests: 8, errors: 2, server_errors: 1 }])).context("440600");
    let request = ListFailingPagesRequest { from: at(HOUR), to: at(HOUR + 1), ..ListFailingPagesRequest::default() };
    let answer = PortalTrafficClient::new(&context).list_failing_pages(&CallOptions::default(), &request).unwrap();
    let page = &answer.failing_pages[0];
    assert_eq!((page.errors, page.client_errors, page.server_errors, page.share), (2, 1, 1, 0.25));
}

#[derive(Serialize)]
struct KnownRow {
    requests: i64,
    known: i64,
}

#[derive(Serialize)]
struct SlowRow {
    page: &'static str,
    requests: i64,
    mean_ms: f64,
    p95_ms: f64,
}

#[test]
fn slow_pages_say_when_no_latency_is_known() {
    let known = |sql: &str| sql.contains("AS known");
    let context = kernel()
        .on_query(move |sql, _| match known(sql) {
            true => testing::batch(&[KnownRow { requests: 5, known: 0 }]),
            // No rows, with the columns of the query.
            false => Ok(testing::batch(&[SlowRow { page: "", requests: 0, mean_ms: 0.0, p95_ms: 0.0 }])?.slice(0, 0)),
        })
        .context("440600");
    let request = ListSlowPagesRequest { from: at(HOUR), to: at(HOUR + 1), ..ListSlowPagesRequest::default() };
    let answer = PortalTrafficClient::new(&context).list_slow_pages(&CallOptions::default(), &request).unwrap();
    assert_eq!((answer.latency_known_requests, answer.requests, answer.slow_pages.len()), (0, 5, 0));
}

#[test]
fn slow_pages_are_read_where_their_requests_were_counted() {
    let (kernel, context) = kernel()
        .on_query(|sql, _| match sql.contains("AS known") {
            true => testing::batch(&[KnownRow { requests: 5, known: 3 }]),
            false => testing::batch(&[SlowRow { page: "/order", requests: 3, mean_ms: 200.5, p95_ms: 300.0 }]),
        })
        .start("440600");
    let request = ListSlowPagesRequest { from: at(HOUR), to: at(HOUR + 1), ..ListSlowPagesRequest::default() };
    let answer = PortalTrafficClient::new(&context).list_slow_pages(&CallOptions::default(), &request).unwrap();
    let page = &answer.slow_pages[0];
    assert_eq!((page.page.as_str(), page.requests, page.mean_ms, page.p95_ms), ("/order", 3, 200.5, 300.0));
    assert_eq!((answer.latency_known_requests, answer.requests), (3, 5));
    assert_eq!(kernel.queries().iter().map(|query| query.snapshot_id).collect::<Vec<_>>(), [0, 41], "both figures are of one snapshot");
}

#[derive(Serialize)]
struct ReferrerRow {
    referrer: Option<&'static str>,
    requests: i64,
    sessions: i64,
}

fn referrers(configuration: &str) -> ListReferrersResponse {
    let row = |referrer, requests, sessions| ReferrerRow { referrer, requests, sessions };
    let kernel = kernel().configuration(configuration).on_query(move |_, _| {
        testing::batch(&[
            row(None, 10, 9),
            row(Some("http://www.own.example/a"), 20, 1),
            row(Some("http://blog.own.example/"), 5, 1),
            row(Some("https://search.example/?q=1"), 3, 2),
            row(Some("https://search.example/?q=2"), 4, 1),
            row(Some("http://a.example"), 7, 7),
            row(Some("nonsense"), 2, 2),
            row(Some("-"), 1, 1),
        ])
    });
    let request = ListReferrersRequest { from: at(HOUR), to: at(HOUR + 1), ..ListReferrersRequest::default() };
    PortalTrafficClient::new(&kernel.context("440600")).list_referrers(&CallOptions::default(), &request).unwrap()
}

#[test]
fn referrers_are_hosts_without_the_portals_own() {
    let referrer = |host: &str, requests, sessions| Referrer { host: host.to_owned(), requests, sessions };
    let answer = referrers("");
    assert_eq!(answer.referrers, [referrer("a.example", 7, 7), referrer("search.example", 7, 3)], "ties are in the order of names");
    assert_eq!((answer.own_hosts, answer.own_requests), (vec!["own.example".to_owned()], 25));
    assert_eq!((answer.direct_requests, answer.unreadable_requests), (11, 2));

    let configured = referrers(r#"{"own_hosts": ["Search.example"]}"#);
    assert_eq!(configured.own_requests, 7);
    assert_eq!(configured.referrers[0], referrer("own.example", 20, 1));
}

#[derive(Serialize)]
struct AgentRow {
    user_agent: Option<&'static str>,
    requests: i64,
    visitors: i64,
    sessions: i64,
    bytes: i64,
}

#[test]
fn an_audience_has_three_groups_and_its_robots_by_name() {
    let row = |user_agent, requests| AgentRow { user_agent, requests, visitors: 2, sessions: 3, bytes: 100 };
    let context = kernel()
        .configuration(r#"{"robot_families_max": 1}"#)
        .on_query(move |_, _| {
            testing::batch(&[
                row(Some("Mozilla/5.0 (Windows NT 6.1) Gecko/20100101 Firefox/27.0"), 50),
                row(Some("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), 30),
                row(Some("Googlebot/2.1 (test)"), 5),
                row(Some("curl/7.1"), 20),
                row(None, 4),
            ])
        })
        .context("440600");
    let request = GetAudienceRequest { from: at(HOUR), to: at(HOUR + 1), pages_only: false };
    let answer = PortalTrafficClient::new(&context).get_audience(&CallOptions::default(), &request).unwrap();
    let groups: Vec<_> = answer.groups.iter().map(|group| (group.kind(), group.requests, group.visitors, group.sessions, group.bytes)).collect();
    let expected = [(AudienceKind::People, 50, 2, 3, 100), (AudienceKind::Robots, 55, 6, 9, 300), (AudienceKind::Unknown, 4, 2, 3, 100)];
    assert_eq!(groups, expected);
    assert_eq!(answer.robot_families.len(), 1);
    assert_eq!((answer.robot_families[0].name.as_str(), answer.robot_families[0].requests), ("googlebot", 35));
}
