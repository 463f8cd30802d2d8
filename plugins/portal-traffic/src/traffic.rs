use backplane_sdk::{Context, Status, prost_types::Timestamp, warehouse::Query};

use crate::configuration::Configuration;

// Limit: a period. 400 days hold a year and the same month of the year before; a scan of more belongs to a rollup.
const PERIOD_SECONDS_MAX: i64 = 400 * 86_400;

// The years 1 to 9999, which is what a Timestamp may hold.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The requests that a call is about: a period of the call's city, with or without assets.
pub(crate) struct Traffic<'a> {
    context: &'a Context,
    pub(crate) configuration: Configuration,
    from: &'a Timestamp,
    to: &'a Timestamp,
    pages_only: bool,
}

impl<'a> Traffic<'a> {
    /// Reads the fields that all requests share.
    ///
    /// # Errors
    /// FIELD_INVALID for the period; CONFIGURATION_INVALID.
    pub(crate) fn read(context: &'a Context, from: Option<&'a Timestamp>, to: Option<&'a Timestamp>, pages_only: bool) -> Result<Traffic<'a>, Status> {
        let (from, to) = (instant("from", from)?, instant("to", to)?);
        if (from.seconds, from.nanos) >= (to.seconds, to.nanos) {
            return Err(Status::field_invalid("to", "to must lie after from: the period begins with from and ends before to"));
        }
        if to.seconds - from.seconds > PERIOD_SECONDS_MAX {
            return Err(Status::field_invalid("to", "the period is longer than 400 days: ask for a shorter one"));
        }
        Ok(Traffic { context, configuration: context.configuration()?, from, to, pages_only })
    }

    /// A query over the table `request`, which holds this traffic. Its own parameters begin with `$5`.
    pub(crate) fn query(&self, select: &str) -> Query<'a> {
        let sql = format!("{REQUEST}{select}");
        self.context.warehouse().query(sql).bind(self.from).bind(self.to).bind(self.pages_only).bind(self.configuration.channel_id.as_str())
    }
}

fn instant<'a>(field: &str, timestamp: Option<&'a Timestamp>) -> Result<&'a Timestamp, Status> {
    let timestamp = timestamp.ok_or_else(|| Status::field_invalid(field, format!("{field} is missing: give an instant such as 2015-05-17T00:00:00+08:00")))?;
    if SECONDS.contains(&timestamp.seconds) && (0..1_000_000_000).contains(&timestamp.nanos) {
        Ok(timestamp)
    } else {
        Err(Status::field_invalid(field, format!("{field} is no instant of the years 1 to 9999: give one such as 2015-05-17T00:00:00+08:00")))
    }
}

/// The definitions of the proto's essay; the pattern is its list of assets.
const REQUEST: &str = r"
WITH request AS (
  SELECT at, page, session_id, visitor_id, status, bytes, latency_ms, referrer, user_agent
  FROM interaction
  WHERE status IS NOT NULL AND at >= $1 AND at < $2
    AND ($3 = false OR NOT regexp_like(lower(page),
      '\.(css|js|mjs|map|png|jpg|jpeg|gif|svg|ico|webp|avif|bmp|woff|woff2|ttf|otf|eot|mp3|mp4|webm)$'))
    AND ($4 = '' OR channel_id = $4)
)
";
