use crate::Moment;

/// Names the portals' draws among all streams.
pub(super) const STREAM: u64 = 0x706f_7274_616c;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// When it came, in milliseconds from the start of the month, Shanghai.
    pub(super) at_ms: i64,
    pub(super) address: String,
    pub(super) agent: String,
    /// Method, target and version; `-` if the server could not read it.
    pub(super) request: String,
    pub(super) status: u16,
    /// None where nothing was sent.
    pub(super) bytes: Option<i64>,
    pub(super) referrer: Option<String>,
    pub(super) micros: i64,
}

/// A click as the page reported it.
#[derive(Debug, Clone)]
pub(super) struct Click {
    pub(super) at_ms: i64,
    pub(super) id: String,
    pub(super) session: String,
    pub(super) visitor: String,
    pub(super) channel: &'static str,
    pub(super) page: String,
    pub(super) target: Option<String>,
    pub(super) action: &'static str,
    pub(super) ok: bool,
    pub(super) cost_ms: i64,
    pub(super) referrer: Option<String>,
    pub(super) agent: &'static str,
    pub(super) operation: Option<&'static str>,
    /// Flow, version and step.
    pub(super) flow: Option<(&'static str, u32, u32)>,
    pub(super) dwell_ms: i64,
    pub(super) campaign: Option<&'static str>,
}

/// What a month of a city's portal leaves behind.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) requests: Vec<Request>,
    pub(super) clicks: Vec<Click>,
}

/// Where in its month an instant is.
pub(super) fn from_start_ms(moment: Moment) -> i64 {
    moment.epoch_millis() - Moment::new(moment.day.first_of_month(), 0).epoch_millis()
}
