use serde::Serialize;

use super::journal::Click;
use crate::{Moment, Month};

/// The names that the pages use. What is not there is left out.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    ts: i64,
    sid: &'a str,
    vid: &'a str,
    channel: &'a str,
    page: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    action: &'a str,
    ok: bool,
    cost_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrer: Option<&'a str>,
    ua: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    oper: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flow_ver: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u32>,
    dwell_ms: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    campaign: Option<&'a str>,
}

/// One JSON object.
///
/// # Errors
/// None in fact: every field is a text or a number.
pub(super) fn click_line(month: Month, click: &Click) -> serde_json::Result<String> {
    serde_json::to_string(&Line {
        id: &click.id,
        ts: Moment::new(month.first_day(), 0).epoch_millis() + click.at_ms,
        sid: &click.session,
        vid: &click.visitor,
        channel: click.channel,
        page: &click.page,
        target: click.target.as_deref(),
        action: click.action,
        ok: click.ok,
        cost_ms: click.cost_ms,
        referrer: click.referrer.as_deref(),
        ua: click.agent,
        oper: click.operation,
        flow: click.flow.map(|(flow_id, ..)| flow_id),
        flow_ver: click.flow.map(|(_, version, _)| version),
        step: click.flow.map(|(.., step)| step),
        dwell_ms: click.dwell_ms,
        campaign: click.campaign,
    })
}
