use backplane_sdk::{Context, Page, Status};
use serde::Deserialize;

use crate::{
    proto::portal_traffic::v1::{LandingPage, ListLandingPagesRequest, ListLandingPagesResponse},
    traffic::Traffic,
};

const LANDING_PAGES: &str = "
, placed AS (
  SELECT page, row_number() OVER (PARTITION BY session_id ORDER BY at, page) AS place, count(*) OVER (PARTITION BY session_id) AS session_requests
  FROM request
)
SELECT page, count(*) AS sessions, count(*) FILTER (WHERE session_requests = 1) AS single_request_sessions
FROM placed
WHERE place = 1
GROUP BY page
ORDER BY sessions DESC, page
LIMIT $5 OFFSET $6";

#[derive(Deserialize)]
struct Row {
    page: String,
    sessions: i64,
    single_request_sessions: i64,
}

pub(crate) fn list(context: &Context, request: &ListLandingPagesRequest) -> Result<ListLandingPagesResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let filter = ListLandingPagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let rows = traffic.query(LANDING_PAGES).bind(page.limit()).bind(page.offset()).pin(page.snapshot_id()).rows::<Row>()?;
    let snapshot_id = rows.snapshot_id();
    let mut rows = rows.into_vec()?;
    let next_page_token = page.cut(&mut rows, snapshot_id);
    Ok(ListLandingPagesResponse { landing_pages: rows.into_iter().map(landing_page).collect(), next_page_token, snapshot_id })
}

fn landing_page(row: Row) -> LandingPage {
    let Row { page, sessions, single_request_sessions } = row;
    LandingPage { page, sessions, single_request_sessions }
}
