use serde::Serialize;

use super::FlowStep;

/// A step on which visitors stay far longer than its like, for the answer key: messages with the code come late.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PlantedDwell {
    pub flow_id: &'static str,
    pub flow_version: u32,
    pub step: u32,
    pub page: &'static str,
    /// `all`, since the page is the same everywhere.
    pub city: &'static str,
    /// How many times the dwell time that such a step has elsewhere.
    pub factor: u32,
}

/// In every city, throughout the window. The code page of F03, of the same owner and without the fault, is what to hold it against.
pub const PLANTED_DWELL: PlantedDwell = PlantedDwell { flow_id: "F02", flow_version: 1, step: 4, page: "/order/sms-code", city: "all", factor: 6 };

/// Those who wait long leave more often.
const EXIT_FACTOR: u32 = 4;

impl PlantedDwell {
    fn hits(&self, step: &FlowStep) -> bool {
        (step.flow_id, step.version, step.step) == (self.flow_id, self.flow_version, self.step)
    }

    pub(super) fn dwell_ms(&self, step: &FlowStep) -> f64 {
        f64::from(if self.hits(step) { step.dwell_ms * self.factor } else { step.dwell_ms })
    }

    pub(super) fn exit_permille(&self, step: &FlowStep) -> u32 {
        if self.hits(step) { step.exit_permille * EXIT_FACTOR } else { step.exit_permille }
    }
}
