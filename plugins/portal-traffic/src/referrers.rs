use std::collections::HashMap;

use backplane_sdk::{Context, Page, Status};
use serde::Deserialize;

use crate::{
    proto::portal_traffic::v1::{ListReferrersRequest, ListReferrersResponse, Referrer},
    referrer_host::{belongs_to, referrer_host},
    traffic::Traffic,
};

const REFERRERS: &str = "
, placed AS (
  SELECT referrer, row_number() OVER (PARTITION BY session_id ORDER BY at, page, coalesce(referrer, '')) AS place
  FROM request
)
SELECT referrer, count(*) AS requests, count(*) FILTER (WHERE place = 1) AS sessions
FROM placed
GROUP BY referrer";

// Limit: hosts held at one time, about 10 MB of the plugin's 64. A portal has hundreds; more is a flood of made-up referrers.
const HOSTS_MAX: usize = 50_000;

#[derive(Deserialize)]
struct Row {
    referrer: Option<String>,
    requests: i64,
    sessions: i64,
}

/// Requests and sessions by host, and what has no host.
#[derive(Default)]
struct Hosts {
    host_to_counts: HashMap<String, (i64, i64)>,
    direct_requests: i64,
    unreadable_requests: i64,
}

pub(crate) fn list(context: &Context, request: &ListReferrersRequest) -> Result<ListReferrersResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let filter = ListReferrersRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let rows = traffic.query(REFERRERS).pin(page.snapshot_id()).rows::<Row>()?;
    let snapshot_id = rows.snapshot_id();

    let mut hosts = Hosts::default();
    for row in rows {
        hosts.add(row?)?;
    }
    let own_hosts = hosts.own(&traffic.configuration.own_hosts);
    let (own, others) = hosts.split(&own_hosts);
    let (referrers, next_page_token) = page.slice(others, snapshot_id);
    Ok(ListReferrersResponse {
        referrers,
        next_page_token,
        snapshot_id,
        own_hosts,
        own_requests: own,
        direct_requests: hosts.direct_requests,
        unreadable_requests: hosts.unreadable_requests,
    })
}

impl Hosts {
    fn add(&mut self, row: Row) -> Result<(), Status> {
        let Some(referrer) = row.referrer.filter(|referrer| !matches!(referrer.trim(), "" | "-")) else {
            self.direct_requests += row.requests;
            return Ok(());
        };
        let Some(host) = referrer_host(&referrer) else {
            self.unreadable_requests += row.requests;
            return Ok(());
        };
        let counts = self.host_to_counts.entry(host).or_default();
        counts.0 += row.requests;
        counts.1 += row.sessions;
        if self.host_to_counts.len() > HOSTS_MAX {
            let message = format!("more than {HOSTS_MAX} hosts refer to the portal in this period: ask for a shorter period");
            return Err(Status::resource_exhausted("REFERRERS_TOO_MANY", message).at("field", "from"));
        }
        Ok(())
    }

    /// The hosts configured, else the most frequent one.
    fn own(&self, configured: &[String]) -> Vec<String> {
        if !configured.is_empty() {
            return configured.iter().map(|host| host.to_ascii_lowercase()).collect();
        }
        let most = self.host_to_counts.iter().max_by(|(a, (of_a, _)), (b, (of_b, _))| of_a.cmp(of_b).then_with(|| b.cmp(a)));
        most.map(|(host, _)| host.clone()).into_iter().collect()
    }

    /// The requests from own hosts, and the other hosts in the order of the answer.
    fn split(&self, own_hosts: &[String]) -> (i64, Vec<Referrer>) {
        let mut own_requests = 0;
        let mut others = Vec::new();
        for (host, &(requests, sessions)) in &self.host_to_counts {
            if own_hosts.iter().any(|own| belongs_to(host, own)) {
                own_requests += requests;
            } else {
                others.push(Referrer { host: host.clone(), requests, sessions });
            }
        }
        others.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.host.cmp(&b.host)));
        (own_requests, others)
    }
}
