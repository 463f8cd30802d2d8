use backplane_sdk::{Context, Page, Status};
use serde::Deserialize;

use crate::{
    proto::portal_traffic::v1::{ListSlowPagesRequest, ListSlowPagesResponse, SlowPage},
    traffic::Traffic,
};

const KNOWN: &str = "SELECT count(*) AS requests, count(latency_ms) AS known FROM request";

const SLOW_PAGES: &str = "
SELECT page, count(latency_ms) AS requests, avg(CAST(latency_ms AS DOUBLE)) AS mean_ms,
       approx_percentile_cont(0.95) WITHIN GROUP (ORDER BY CAST(latency_ms AS DOUBLE)) AS p95_ms
FROM request
WHERE latency_ms IS NOT NULL
GROUP BY page
ORDER BY mean_ms DESC, page
LIMIT $5 OFFSET $6";

#[derive(Deserialize)]
struct Known {
    requests: i64,
    known: i64,
}

#[derive(Deserialize)]
struct Row {
    page: String,
    requests: i64,
    mean_ms: f64,
    p95_ms: f64,
}

pub(crate) fn list(context: &Context, request: &ListSlowPagesRequest) -> Result<ListSlowPagesResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let filter = ListSlowPagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let known = traffic.query(KNOWN).pin(page.snapshot_id()).rows::<Known>()?;
    let snapshot_id = known.snapshot_id();
    let Known { requests, known } = known.one()?;
    // Pinned to what was just counted, so that both figures are of one state of the data.
    let rows = traffic.query(SLOW_PAGES).bind(page.limit()).bind(page.offset()).pin(snapshot_id).rows::<Row>()?;
    let mut rows = rows.into_vec()?;
    let next_page_token = page.cut(&mut rows, snapshot_id);
    let slow_pages = rows.into_iter().map(slow_page).collect();
    Ok(ListSlowPagesResponse { slow_pages, next_page_token, snapshot_id, latency_known_requests: known, requests })
}

fn slow_page(row: Row) -> SlowPage {
    let Row { page, requests, mean_ms, p95_ms } = row;
    SlowPage { page, requests, mean_ms, p95_ms }
}
