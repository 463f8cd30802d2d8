use backplane_sdk::{Context, Day, Page, Paged, Status};
use serde::Deserialize;

use crate::proto::package_monitor::v1::{ListRuleProblemsRequest, ListRuleProblemsResponse, RuleProblem, RuleProblemKind};

// Rules that are over are history. A city's rules meet the province's and its own. The kinds are the numbers of RuleProblemKind. A pair is written in the order of its ids, so that rules of both directions meet.
const PROBLEMS: &str = "
WITH rule AS (
  SELECT city, least(package_id, other_id) AS package_id, greatest(package_id, other_id) AS other_id, package_id AS written_first, valid_from, valid_to, relation
  FROM package_relation
  WHERE (valid_to IS NULL OR valid_to > $1) AND ($2 = '440000' OR city IN ('440000', $2))),
common AS (
  SELECT a.package_id, a.other_id, greatest(a.valid_from, b.valid_from) AS since, a.relation <> b.relation AS differs
  FROM rule a JOIN rule b ON b.package_id = a.package_id AND b.other_id = a.other_id
  WHERE (a.city = b.city OR a.city = '440000' OR b.city = '440000') AND (a.valid_to IS NULL OR b.valid_from < a.valid_to) AND (b.valid_to IS NULL OR a.valid_from < b.valid_to)
    AND CASE WHEN a.relation <> b.relation THEN a.relation = 'exclusive'
             ELSE a.valid_from < b.valid_from OR (a.valid_from = b.valid_from AND a.written_first < b.written_first) END),
named AS (SELECT DISTINCT package_id FROM package)
SELECT kind, package_id, other_id, min(since) AS since
FROM (
  SELECT CASE WHEN differs THEN 1 ELSE 2 END AS kind, package_id, other_id, since FROM common
  UNION ALL
  SELECT 3 AS kind, package_id, other_id, valid_from AS since FROM rule WHERE package_id = other_id
  UNION ALL
  SELECT 4 AS kind, r.package_id, r.other_id, r.valid_from AS since
  FROM rule r LEFT JOIN named a ON a.package_id = r.package_id LEFT JOIN named b ON b.package_id = r.other_id
  WHERE a.package_id IS NULL OR b.package_id IS NULL) AS problem
GROUP BY kind, package_id, other_id
ORDER BY kind, package_id, other_id";

#[derive(Deserialize)]
struct Row {
    kind: i64,
    package_id: String,
    other_id: String,
    since: Day,
}

pub(crate) fn list(context: &Context, request: &ListRuleProblemsRequest) -> Result<ListRuleProblemsResponse, Status> {
    let from_day = if request.from_day.is_empty() { Day::today() } else { Status::read_field("from_day", &request.from_day)? };
    // With the day: a page of yesterday's list is followed by none of today's.
    let filter = ListRuleProblemsRequest { from_day: from_day.to_string(), ..ListRuleProblemsRequest::default() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let Paged { rows, next_page_token, snapshot_id } = context.warehouse().query(PROBLEMS).bind(from_day).bind(context.city()).page::<Row>(&page)?;
    Ok(ListRuleProblemsResponse { problems: rows.into_iter().map(problem).collect(), next_page_token, snapshot_id })
}

fn problem(Row { kind, package_id, other_id, since }: Row) -> RuleProblem {
    let kind = i32::try_from(kind).ok().and_then(|kind| RuleProblemKind::try_from(kind).ok()).unwrap_or_default();
    let text = match kind {
        RuleProblemKind::Contradictory => {
            format!("from {since} one rule excludes {package_id} and {other_id}, and another allows them together: end one of the two")
        }
        RuleProblemKind::Repeated => format!("from {since} two rules say the same of {package_id} and {other_id}: end one of them"),
        RuleProblemKind::SelfRelated => format!("a rule relates {package_id} to itself: take it away"),
        RuleProblemKind::UnknownPackage => {
            format!("a rule names {package_id} and {other_id}, which are not both packages: correct the code, or load the package")
        }
        RuleProblemKind::Unspecified => String::new(),
    };
    RuleProblem { kind: kind.into(), package_id, other_id, since: since.to_string(), text }
}
