use backplane_sdk::{Context, Month, Page, Paged, Status};
use serde::Deserialize;

use crate::{
    month,
    month::Span,
    proto::package_monitor::v1::{Grouping, ListPackageGroupsRequest, ListPackageGroupsResponse, PackageGroup, Value},
    value::{Parts, SUMS},
};

// In three digits, so that they sort as numbers do.
const AGE: &str = "CASE WHEN month < joined_month THEN 'before'
                        ELSE right(concat('00', CAST((date_part('year', month) - date_part('year', joined_month)) * 12
                                                + date_part('month', month) - date_part('month', joined_month) AS VARCHAR)), 3) END";

#[derive(Deserialize)]
struct Row {
    group: Option<String>,
    enrolments: i64,
    #[serde(flatten)]
    parts: Parts,
}

pub(crate) fn list(context: &Context, request: &ListPackageGroupsRequest) -> Result<ListPackageGroupsResponse, Status> {
    if request.package_id.is_empty() {
        return Err(Status::field_invalid("package_id", "package_id: name the package: ListPackages shows them"));
    }
    let span = Span::read(&request.from_month, &request.to_month)?;
    let ListPackageGroupsRequest { package_id, channel_id, agent_id, joined_month, without_agent, .. } = request;
    if !joined_month.is_empty() {
        Status::read_field::<Month>("joined_month", joined_month)?;
    }
    let filter = ListPackageGroupsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_all_valued(context, span, page.snapshot_id())?;
    let group = match request.group_by() {
        Grouping::Unspecified | Grouping::Month => "left(CAST(month AS VARCHAR), 7)",
        Grouping::City => "city",
        Grouping::Channel => "channel_id",
        Grouping::Agent => "agent_id",
        Grouping::Age => AGE,
        Grouping::Cohort => "left(CAST(joined_month AS VARCHAR), 7)",
    };
    let sql = format!(
        "SELECT {group} AS \"group\", count(DISTINCT enrolment_id) AS enrolments, {SUMS}
         FROM package_monitor.enrolment_value
         WHERE package_id = $1 AND month >= $2 AND month <= $3 AND NOT withdrawn
           AND ($4 = '' OR channel_id = $4) AND ($5 = '' OR agent_id = $5) AND ($6 = '' OR left(CAST(joined_month AS VARCHAR), 7) = $6) AND (NOT $7 OR agent_id IS NULL)
         GROUP BY 1 ORDER BY 1 NULLS FIRST"
    );
    let query = context.warehouse().query(sql).bind(package_id.as_str()).bind(span.from).bind(span.to).bind(channel_id.as_str()).bind(agent_id.as_str());
    let query = query.bind(joined_month.as_str()).bind(*without_agent);
    let Paged { rows, next_page_token, .. } = query.pin(snapshot_id).page::<Row>(&page)?;
    let groups =
        rows.into_iter().map(|Row { group, enrolments, parts }| PackageGroup { group: group.unwrap_or_default(), enrolments, value: Some(Value::from(parts)) });
    Ok(ListPackageGroupsResponse { groups: groups.collect(), next_page_token, snapshot_id })
}
