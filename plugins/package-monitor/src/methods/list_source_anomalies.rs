use std::collections::HashMap;

use backplane_sdk::{Context, Day, Month, Page, Paged, Status, warehouse::Row as _};
use serde::Deserialize;

use crate::{
    configuration::Configuration,
    datasets::SourceAnomalyRow,
    month,
    proto::package_monitor::v1::{ListSourceAnomaliesRequest, ListSourceAnomaliesResponse, SourceAnomaly},
};

// What is behind each anomaly of the month $1, whose days are $2 to $3, by package. Of a channel without what its abnormal agents took, as it was judged.
const EVIDENCE: &str = "
WITH anomaly AS (
  SELECT city, channel_id, agent_id, first_day, last_day FROM package_monitor.source_anomaly WHERE month = $1 AND NOT withdrawn),
taken AS (
  SELECT city, enrolment_id, package_id, channel_id, coalesce(agent_id, '') AS agent_id, day,
         CASE WHEN status <> 'moved' AND (CAST(cancelled_at AS BIGINT) + 28800000000) / 86400000000 - CAST(day AS BIGINT) <= $4 THEN 1 ELSE 0 END AS cancelled_soon
  FROM enrolment
  WHERE day >= $2 AND day <= $3 AND continues_id IS NULL),
of_agent AS (
  SELECT a.city, a.channel_id, a.agent_id, a.first_day, a.last_day, t.enrolment_id, t.package_id, t.cancelled_soon
  FROM anomaly a JOIN taken t ON t.city = a.city AND t.channel_id = a.channel_id AND t.agent_id = a.agent_id AND t.day >= a.first_day AND t.day <= a.last_day
  WHERE a.agent_id <> ''),
of_channel AS (
  SELECT a.city, a.channel_id, a.agent_id, a.first_day, a.last_day, t.enrolment_id, t.package_id, t.cancelled_soon
  FROM anomaly a JOIN taken t ON t.city = a.city AND t.channel_id = a.channel_id AND t.day >= a.first_day AND t.day <= a.last_day
  WHERE a.agent_id = '' AND t.enrolment_id NOT IN (SELECT enrolment_id FROM of_agent))
SELECT e.city, e.channel_id, e.agent_id, e.first_day, e.last_day, e.package_id, count(*) AS enrolments, sum(e.cancelled_soon) AS cancelled_soon,
       sum(CASE WHEN v.in_force AND v.components > 0 AND v.silent_components = v.components THEN 1 ELSE 0 END) AS silent
FROM (SELECT * FROM of_agent UNION ALL SELECT * FROM of_channel) AS e
LEFT JOIN package_monitor.enrolment_value v ON v.enrolment_id = e.enrolment_id AND v.month = $1 AND NOT v.withdrawn
GROUP BY e.city, e.channel_id, e.agent_id, e.first_day, e.last_day, e.package_id
ORDER BY enrolments DESC, e.package_id";

/// What names an anomaly of a month.
#[derive(PartialEq, Eq, Hash, Deserialize)]
struct Named {
    city: String,
    channel_id: String,
    agent_id: String,
    first_day: Day,
    last_day: Day,
}

/// An anomaly with its city, which the kernel sets.
#[derive(Deserialize)]
struct Row {
    city: String,
    #[serde(flatten)]
    anomaly: SourceAnomalyRow,
}

#[derive(Deserialize)]
struct EvidenceRow {
    #[serde(flatten)]
    of: Named,
    #[serde(flatten)]
    package: Package,
}

/// What was taken of a package.
#[derive(Deserialize)]
struct Package {
    package_id: String,
    enrolments: i64,
    cancelled_soon: i64,
    silent: i64,
}

/// The packages that were taken, the one taken most first.
type Evidence = HashMap<Named, Vec<Package>>;

pub(crate) fn list(context: &Context, request: &ListSourceAnomaliesRequest) -> Result<ListSourceAnomaliesResponse, Status> {
    let month = Status::read_field("month", &request.month)?;
    let filter = ListSourceAnomaliesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_valued(context, month, page.snapshot_id())?;
    let sql = format!(
        "SELECT city, {}
         FROM package_monitor.source_anomaly
         WHERE month = $1 AND NOT withdrawn AND ($2 = '' OR channel_id = $2) AND ($3 = '' OR agent_id = $3)
         ORDER BY chance, enrolments DESC, city, channel_id, agent_id, first_day, last_day",
        SourceAnomalyRow::COLUMNS
    );
    let query = context.warehouse().query(sql).bind(month).bind(request.channel_id.as_str()).bind(request.agent_id.as_str());
    let Paged { rows, next_page_token, .. } = query.pin(snapshot_id).page::<Row>(&page)?;
    let mut evidence = evidence(context, month, snapshot_id)?;
    let anomalies = rows.into_iter().map(|row| anomaly(row, &mut evidence)).collect();
    Ok(ListSourceAnomaliesResponse { anomalies, next_page_token, snapshot_id })
}

fn evidence(context: &Context, month: Month, snapshot_id: i64) -> Result<Evidence, Status> {
    let within_days = Configuration::of(context)?.cancelled_within_days;
    let query = context.warehouse().query(EVIDENCE).bind(month).bind(month.first_day()).bind(month.last_day()).bind(within_days);
    let mut evidence = Evidence::new();
    for row in query.pin(snapshot_id).rows::<EvidenceRow>()? {
        let EvidenceRow { of, package } = row?;
        evidence.entry(of).or_default().push(package);
    }
    Ok(evidence)
}

fn anomaly(Row { city, anomaly }: Row, evidence: &mut Evidence) -> SourceAnomaly {
    let SourceAnomalyRow { channel_id, agent_id, first_day, last_day, enrolments, expected, chance, .. } = anomaly;
    let named = Named { city, channel_id, agent_id, first_day, last_day };
    let packages = evidence.remove(&named).unwrap_or_default();
    let Named { city, channel_id, agent_id, .. } = named;
    let top = packages.first();
    SourceAnomaly {
        city,
        channel_id,
        agent_id,
        first_day: first_day.to_string(),
        last_day: last_day.to_string(),
        enrolments,
        expected,
        chance,
        cancelled_soon: packages.iter().map(|package| package.cancelled_soon).sum(),
        silent: packages.iter().map(|package| package.silent).sum(),
        packages: i64::try_from(packages.len()).unwrap_or(i64::MAX),
        top_package_id: top.map(|package| package.package_id.clone()).unwrap_or_default(),
        top_package_enrolments: top.map_or(0, |package| package.enrolments),
    }
}
