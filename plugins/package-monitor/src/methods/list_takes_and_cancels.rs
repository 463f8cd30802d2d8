use backplane_sdk::{Context, Day, Fen, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    configuration::Configuration,
    month,
    month::Span,
    proto::package_monitor::v1::{ListTakesAndCancelsRequest, ListTakesAndCancelsResponse, TakesAndCancels},
};

// Days are civil days in Shanghai. Limit: enrolments that are named of a customer, as the contract says: 100 places.
const CUSTOMERS: &str = "
WITH soon AS (
  SELECT enrolment_id, city, customer_id, day, row_number() OVER (PARTITION BY city, customer_id ORDER BY at, enrolment_id) AS place
  FROM enrolment
  WHERE day >= $1 AND day <= $2 AND continues_id IS NULL AND status <> 'moved'
    AND (CAST(cancelled_at AS BIGINT) + 28800000000) / 86400000000 - CAST(day AS BIGINT) <= $3),
bill AS (
  SELECT enrolment_id, sum(CASE WHEN kind = 'gift_credit' THEN amount_fen ELSE 0 END) AS gift_credit_fen,
         sum(CASE WHEN kind IN ('package', 'fee', 'refund', 'adjustment') THEN amount_fen ELSE 0 END) AS charged_fen
  FROM charge
  WHERE enrolment_id IN (SELECT enrolment_id FROM soon)
  GROUP BY enrolment_id)
SELECT s.city, s.customer_id, array_agg(s.enrolment_id ORDER BY s.place) FILTER (WHERE s.place <= 100) AS enrolment_ids, count(*) AS times,
       coalesce(sum(b.gift_credit_fen), 0) AS gift_credit_fen, coalesce(sum(b.charged_fen), 0) AS charged_fen, min(s.day) AS first_day, max(s.day) AS last_day
FROM soon s LEFT JOIN bill b ON b.enrolment_id = s.enrolment_id
GROUP BY s.city, s.customer_id
HAVING count(*) >= $4
ORDER BY gift_credit_fen - charged_fen DESC, customer_id, city";

#[derive(Deserialize)]
struct Row {
    city: String,
    customer_id: i64,
    enrolment_ids: Vec<String>,
    times: i64,
    gift_credit_fen: Fen,
    charged_fen: Fen,
    first_day: Day,
    last_day: Day,
}

pub(crate) fn list(context: &Context, request: &ListTakesAndCancelsRequest) -> Result<ListTakesAndCancelsResponse, Status> {
    let span = Span::read(&request.from_month, &request.to_month)?;
    let configuration = Configuration::of(context)?;
    let filter = ListTakesAndCancelsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_all_valued(context, span, page.snapshot_id())?;
    let query = context.warehouse().query(CUSTOMERS).bind(span.from.first_day()).bind(span.to.last_day());
    let query = query.bind(configuration.cancelled_within_days).bind(configuration.cancels_min);
    let Paged { rows, next_page_token, .. } = query.pin(snapshot_id).page::<Row>(&page)?;
    Ok(ListTakesAndCancelsResponse { customers: rows.into_iter().map(customer).collect(), next_page_token, snapshot_id })
}

fn customer(row: Row) -> TakesAndCancels {
    let Row { city, customer_id, enrolment_ids, times, gift_credit_fen, charged_fen, first_day, last_day } = row;
    let (gift_credit_fen, charged_fen) = (gift_credit_fen.number(), charged_fen.number());
    TakesAndCancels { city, customer_id, enrolment_ids, times, gift_credit_fen, charged_fen, first_day: first_day.to_string(), last_day: last_day.to_string() }
}
