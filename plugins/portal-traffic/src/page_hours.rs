use backplane_sdk::{Context, Page, Status, prost_types::Timestamp};
use serde::Deserialize;

use crate::{
    proto::portal_traffic::v1::{ListPageHoursRequest, ListPageHoursResponse, PageHour},
    traffic::Traffic,
};

/// Shanghai is a whole number of hours from UTC, so its hours begin when those of UTC do.
const PAGE_HOURS: &str = "
SELECT page, date_trunc('hour', at) AS hour, count(*) AS requests, count(DISTINCT visitor_id) AS visitors, count(DISTINCT session_id) AS sessions,
       count(*) FILTER (WHERE status >= 400) AS errors, coalesce(sum(bytes), 0) AS bytes
FROM request
WHERE $5 = '' OR page = $5
GROUP BY page, date_trunc('hour', at)
ORDER BY hour, requests DESC, page
LIMIT $6 OFFSET $7";

#[derive(Deserialize)]
struct Row {
    page: String,
    /// Microseconds since 1970, UTC.
    hour: i64,
    requests: i64,
    visitors: i64,
    sessions: i64,
    errors: i64,
    bytes: i64,
}

pub(crate) fn list(context: &Context, request: &ListPageHoursRequest) -> Result<ListPageHoursResponse, Status> {
    let traffic = Traffic::read(context, request.from.as_ref(), request.to.as_ref(), request.pages_only)?;
    let filter = ListPageHoursRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let query = traffic.query(PAGE_HOURS).bind(request.page.as_str()).bind(page.limit()).bind(page.offset());
    let rows = query.pin(page.snapshot_id()).rows::<Row>()?;
    let snapshot_id = rows.snapshot_id();
    let mut rows = rows.into_vec()?;
    let next_page_token = page.cut(&mut rows, snapshot_id);
    Ok(ListPageHoursResponse { page_hours: rows.into_iter().map(page_hour).collect(), next_page_token, snapshot_id })
}

fn page_hour(row: Row) -> PageHour {
    let Row { page, hour, requests, visitors, sessions, errors, bytes } = row;
    let seconds = hour.div_euclid(1_000_000);
    PageHour { page, hour: Some(Timestamp { seconds, nanos: 0 }), local_hour: local_hour(seconds), requests, visitors, sessions, errors, bytes }
}

/// "2015-05-17 18:00", by the clock of Asia/Shanghai.
fn local_hour(seconds: i64) -> String {
    let shown = Timestamp { seconds: seconds + 8 * 3_600, nanos: 0 }.to_string();
    // An instant as RFC 3339 writes it, "2015-05-17T18:00:00Z".
    shown.get(..16).map_or(shown.clone(), |minutes| minutes.replace('T', " "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_hour_is_shown_as_in_shanghai() {
        assert_eq!(super::local_hour(1_431_856_800), "2015-05-17 18:00");
        assert_eq!(super::local_hour(1_451_577_600), "2016-01-01 00:00");
    }
}
