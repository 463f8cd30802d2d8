use backplane_sdk::{Context, Page, Status};
use serde::Deserialize;

use crate::{
    proto::portal_traffic::v1::{FailingPage, ListFailingPagesRequest, ListFailingPagesResponse},
    traffic::Traffic,
};

const FAILING_PAGES: &str = "
, counted AS (
  SELECT page, count(*) AS requests, count(*) FILTER (WHERE status >= 400) AS errors, count(*) FILTER (WHERE status >= 500) AS server_errors
  FROM request
  GROUP BY page
)
SELECT page, requests, errors, server_errors
FROM counted
WHERE errors > 0
ORDER BY errors DESC, page
LIMIT $5 OFFSET $6";

#[derive(Deserialize)]
struct Row {
    page: String,
    requests: i64,
    errors: i64,
    server_errors: i64,
}

pub(crate) fn list(context: &Context, request: &ListFailingPagesRequest) -> Result<ListFailingPagesResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let filter = ListFailingPagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let rows = traffic.query(FAILING_PAGES).bind(page.limit()).bind(page.offset()).pin(page.snapshot_id()).rows::<Row>()?;
    let snapshot_id = rows.snapshot_id();
    let mut rows = rows.into_vec()?;
    let next_page_token = page.cut(&mut rows, snapshot_id);
    Ok(ListFailingPagesResponse { failing_pages: rows.into_iter().map(failing_page).collect(), next_page_token, snapshot_id })
}

fn failing_page(row: Row) -> FailingPage {
    let Row { page, requests, errors, server_errors } = row;
    FailingPage { page, requests, errors, share: errors as f64 / requests as f64, client_errors: errors - server_errors, server_errors }
}
