//! What a deployment may set: `configuration.schema.json` says what each is for, bounds it and has the defaults.

use backplane_sdk::{Context, Status, proto::v1::Reason};
use package_valuation::Decimal;

use crate::job::sources::Bar;

include!(concat!(env!("OUT_DIR"), "/configuration.rs"));

impl Configuration {
    pub(crate) fn of(context: &Context) -> Result<Configuration, Status> {
        context.configuration()
    }

    /// θ.
    pub(crate) fn under_used_below(&self) -> Result<Decimal, Status> {
        self.under_used_below
            .parse()
            .map_err(|error| Status::failed_precondition(Reason::ConfigurationInvalid, format!("under_used_below: {error}")).at("field", "under_used_below"))
    }

    /// What counts as an abnormal source.
    pub(crate) fn bar(&self) -> Bar {
        Bar {
            enrolments_min: self.surge_enrolments_min,
            times_expected_min: self.surge_times_expected_min as f64,
            false_alarms: self.surge_false_alarms_permille as f64 / 1_000.0,
        }
    }
}
