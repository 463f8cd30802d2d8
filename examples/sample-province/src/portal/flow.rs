use std::sync::LazyLock;

use crate::Month;

/// A row of `ref.flow`: a step of a process flow (业务流程), with what is typical of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowStep {
    pub flow_id: &'static str,
    pub version: u32,
    /// 1 first.
    pub step: u32,
    pub operation_id: &'static str,
    pub name_zh: &'static str,
    pub page: &'static str,
    pub decides: bool,
    pub owner: &'static str,
    /// Median time on the page before an action.
    pub dwell_ms: u32,
    /// Share of visitors who leave here. What a flow's last step has is its end.
    pub exit_permille: u32,
}

impl FlowStep {
    pub(super) fn is_wap(&self) -> bool {
        self.page.starts_with("/wap")
    }
}

/// How often each flow is begun: on the web portal, on WAP.
const BEGUN: [(&str, u32); 12] =
    [("F01", 26), ("F02", 24), ("F03", 12), ("F04", 9), ("F05", 18), ("F06", 8), ("F07", 5), ("F08", 7), ("F09", 14), ("F10", 16), ("F11", 12), ("F12", 4)];

/// Months from the first of the window in which the second version of F03 takes over: it leaves out the step that decided nothing.
const SECOND_VERSION_MONTH: i32 = 6;

/// Every step of every flow in every version, in order.
pub fn flows() -> &'static [FlowStep] {
    static FLOWS: LazyLock<Vec<FlowStep>> = LazyLock::new(|| include_str!("../../data/flows.csv").lines().skip(1).filter_map(step).collect());
    &FLOWS
}

/// The flows that can be begun on WAP or on the web in a month, each with its weight.
pub(super) fn offered(is_wap: bool, month: Month, first_month: Month) -> Vec<(&'static [FlowStep], u32)> {
    let by_version = flows().chunk_by(|one, other| (one.flow_id, one.version) == (other.flow_id, other.version));
    let in_force = by_version.filter(|steps| is_in_force(steps[0], month.since(first_month)) && steps[0].is_wap() == is_wap);
    in_force.map(|steps| (steps, BEGUN.iter().find(|(flow_id, _)| *flow_id == steps[0].flow_id).map_or(1, |(_, weight)| *weight))).collect()
}

fn is_in_force(step: FlowStep, month: i32) -> bool {
    step.flow_id != "F03" || (step.version == 2) == (month >= SECOND_VERSION_MONTH)
}

fn step(line: &'static str) -> Option<FlowStep> {
    let mut fields = line.split(',');
    Some(FlowStep {
        flow_id: fields.next()?,
        version: fields.next()?.parse().ok()?,
        step: fields.next()?.parse().ok()?,
        operation_id: fields.next()?,
        name_zh: fields.next()?,
        page: fields.next()?,
        decides: fields.next()? == "1",
        owner: fields.next()?,
        dwell_ms: fields.next()?.parse().ok()?,
        exit_permille: fields.next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_from_one_and_every_flow_can_be_begun() {
        for steps in flows().chunk_by(|one, other| (one.flow_id, one.version) == (other.flow_id, other.version)) {
            assert!(steps.iter().zip(1..).all(|(step, number)| step.step == number), "{}", steps[0].flow_id);
            assert!(BEGUN.iter().any(|(flow_id, _)| *flow_id == steps[0].flow_id));
        }
        let first = Month::new(2025, 11);
        for month in [first, first.plus(6)] {
            assert_eq!(offered(false, month, first).len() + offered(true, month, first).len(), BEGUN.len());
        }
    }
}
