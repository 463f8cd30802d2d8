use backplane_sdk::{Context, Page, Paged, Status};
use serde::Deserialize;

use super::package_names::names;
use crate::{
    month,
    proto::package_monitor::v1::{ListPackagesRequest, ListPackagesResponse, PackageValue, Part, Value},
    value::{Parts, SUMS},
};

#[derive(Deserialize)]
struct Row {
    package_id: String,
    name_zh: Option<String>,
    enrolments: i64,
    #[serde(flatten)]
    parts: Parts,
    silent_enrolments: i64,
    under_used_enrolments: i64,
}

pub(crate) fn list(context: &Context, request: &ListPackagesRequest) -> Result<ListPackagesResponse, Status> {
    let month = Status::read_field("month", &request.month)?;
    let filter = ListPackagesRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
    let snapshot_id = month::require_valued(context, month, page.snapshot_id())?;
    let part = match request.rank_by() {
        Part::Unspecified | Part::Virtual => "virtual_fen",
        Part::Gifted => "gifted_fen",
        Part::Swapped => "swapped_fen",
        Part::Real => "real_fen",
    };
    // The share is compared as a fraction of whole fen; doubles order any amounts below 2^53 fen as they are.
    let names = names(context);
    let sql = format!(
        "WITH valued AS (
           SELECT package_id, count(*) AS enrolments, {SUMS},
                  count(*) FILTER (WHERE in_force AND components > 0 AND silent_components = components) AS silent_enrolments,
                  count(*) FILTER (WHERE in_force AND silent_components + under_used_components > 0) AS under_used_enrolments
           FROM package_monitor.enrolment_value WHERE month = $1 AND NOT withdrawn GROUP BY package_id)
         SELECT valued.*, named.name_zh
         FROM valued LEFT JOIN ({names}) AS named ON named.package_id = valued.package_id
         ORDER BY CASE WHEN booked_fen > 0 THEN CAST({part} AS DOUBLE) / CAST(booked_fen AS DOUBLE) END DESC NULLS LAST, {part} DESC, valued.package_id"
    );
    let Paged { rows, next_page_token, .. } = context.warehouse().query(sql).bind(month).pin(snapshot_id).page::<Row>(&page)?;
    Ok(ListPackagesResponse { packages: rows.into_iter().map(package).collect(), next_page_token, snapshot_id })
}

fn package(row: Row) -> PackageValue {
    let Row { package_id, name_zh, enrolments, parts, silent_enrolments, under_used_enrolments } = row;
    PackageValue { package_id, name_zh: name_zh.unwrap_or_default(), enrolments, value: Some(Value::from(parts)), silent_enrolments, under_used_enrolments }
}
