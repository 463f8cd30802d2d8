use backplane_sdk::{Context, Status, proto::v1::Reason};
use package_valuation::Decimal;
use serde::Deserialize;

/// What a deployment may set; `configuration.schema.json` says what each is for and bounds it.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct Configuration {
    under_used_below: String,
    pub(crate) bill_feeds: Vec<String>,
    pub(crate) use_feeds: Vec<String>,
    pub(crate) waiting_rows_permille_max: i64,
    pub(crate) enrolments_per_step: i64,
}

impl Default for Configuration {
    fn default() -> Configuration {
        let feeds = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        Configuration {
            under_used_below: "0.3".to_owned(),
            bill_feeds: feeds(["boss.charge", "boss.enrolment"]),
            use_feeds: feeds(["misc.usage", "base.activity"]),
            waiting_rows_permille_max: 1,
            enrolments_per_step: 10_000,
        }
    }
}

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
}
