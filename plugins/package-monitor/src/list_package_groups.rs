use backplane_sdk::{Context, Month, Page, Status};
use serde::Deserialize;

use crate::{
    month,
    proto::package_monitor::v1::{Grouping, ListPackageGroupsRequest, ListPackageGroupsResponse, PackageGroup, Value},
    value::{Parts, SUMS},
};

// Limit: months of one question, as its contract says.
const MONTHS_MAX: usize = 36;

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
    let (from, to) = (month::read("from_month", &request.from_month)?, month::read("to_month", &request.to_month)?);
    let months = months(from, to)?;
    let filter = ListPackageGroupsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let mut snapshot_id = page.snapshot_id();
    for month in months {
        // The first names the snapshot, the others are read from it.
        snapshot_id = month::require_valued(context, month, snapshot_id)?;
    }
    let group = match request.group_by() {
        Grouping::Unspecified | Grouping::Month => "left(CAST(month AS VARCHAR), 7)",
        Grouping::Channel => "channel_id",
        Grouping::Agent => "agent_id",
        Grouping::Cohort => "left(CAST(joined_month AS VARCHAR), 7)",
    };
    let sql = format!(
        "SELECT {group} AS \"group\", count(DISTINCT enrolment_id) AS enrolments, {SUMS}
         FROM package_monitor.enrolment_value
         WHERE package_id = $1 AND month >= $2 AND month <= $3 AND NOT withdrawn
         GROUP BY 1 ORDER BY 1 NULLS FIRST LIMIT $4 OFFSET $5"
    );
    let query = context.warehouse().query(sql).bind(request.package_id.as_str()).bind(from).bind(to).bind(page.limit()).bind(page.offset());
    let mut rows = query.pin(snapshot_id).rows::<Row>()?.into_vec()?;
    let next_page_token = page.cut(&mut rows, snapshot_id);
    let groups =
        rows.into_iter().map(|Row { group, enrolments, parts }| PackageGroup { group: group.unwrap_or_default(), enrolments, value: Some(Value::from(parts)) });
    Ok(ListPackageGroupsResponse { groups: groups.collect(), next_page_token, snapshot_id })
}

/// The months from the one to the other.
fn months(from: Month, to: Month) -> Result<Vec<Month>, Status> {
    if to < from {
        return Err(Status::field_invalid("to_month", format!("to_month: {to} is before {from}")));
    }
    let months: Vec<Month> = std::iter::successors(Some(from), |month| Some(month.next())).take_while(|month| *month <= to).take(MONTHS_MAX + 1).collect();
    if months.len() > MONTHS_MAX {
        return Err(Status::field_invalid("to_month", format!("to_month: at most {MONTHS_MAX} months at a time")));
    }
    Ok(months)
}
