use super::table::lines;

/// A channel (渠道).
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) id: &'static str,
    pub(crate) name_zh: &'static str,
    pub(crate) family: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) cost_fen: i64,
    /// Share of orders.
    pub(crate) weight: u32,
}

/// An operation: to serve (服务) or to handle (办理).
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) id: &'static str,
    pub(crate) name_zh: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) standardised: &'static str,
    pub(crate) risk: &'static str,
    /// Only people do it, no machine.
    pub(crate) manual_only: bool,
}

/// A service provider (SP).
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) id: &'static str,
    pub(crate) name_zh: &'static str,
    pub(crate) grade: &'static str,
}

pub(super) fn read_channels(text: &'static str) -> Vec<Channel> {
    lines(text)
        .filter_map(|fields| {
            let [id, name_zh, family, kind, cost, weight] = *fields.as_slice() else { return None };
            Some(Channel { id, name_zh, family, kind, cost_fen: cost.parse().ok()?, weight: weight.parse().ok()? })
        })
        .collect()
}

pub(super) fn read_operations(text: &'static str) -> Vec<Operation> {
    lines(text)
        .filter_map(|fields| {
            let [id, name_zh, kind, standardised, risk, manual_only] = *fields.as_slice() else { return None };
            Some(Operation { id, name_zh, kind, standardised, risk, manual_only: manual_only == "1" })
        })
        .collect()
}

pub(super) fn read_providers(text: &'static str) -> Vec<Provider> {
    lines(text)
        .filter_map(|fields| {
            let [id, name_zh, grade] = *fields.as_slice() else { return None };
            Some(Provider { id, name_zh, grade })
        })
        .collect()
}
