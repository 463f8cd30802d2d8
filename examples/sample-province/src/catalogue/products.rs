use super::table::{lines, optional};

/// A product (业务).
#[derive(Debug)]
pub(crate) struct Product {
    pub(crate) id: &'static str,
    pub(crate) name_zh: &'static str,
    pub(crate) platform: &'static str,
    pub(crate) category: &'static str,
    pub(crate) provider: Option<&'static str>,
    pub(crate) service_code: &'static str,
    /// 0: charged by use, nothing to subscribe to.
    pub(crate) monthly_fee_fen: i64,
    pub(crate) unit: &'static str,
    pub(crate) list_price_fen: i64,
    /// Share of customers who take it without any package.
    pub(crate) holders_permille: u32,
    /// How much younger than the average its users are; negative: older.
    pub(crate) youth_permille: i32,
    pub(crate) needs: Needs,
    pub(crate) source: Source,
    /// What an average user does on how many days of a month.
    pub(crate) typical: Use,
    /// Growth of use a month.
    pub(crate) trend_permille: i32,
}

/// The ability of a handset without which nobody orders it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    Mms,
    Wap,
    Java,
    Streaming,
}

/// The feed that owns its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Misc,
    Base,
}

/// Days of a month, and means per day of use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) days: f64,
    pub(crate) events: f64,
    pub(crate) quantity: f64,
    pub(crate) seconds: f64,
    pub(crate) kb: f64,
}

pub(super) fn read(text: &'static str) -> Vec<Product> {
    lines(text).filter_map(|fields| product(&fields)).collect()
}

fn product(fields: &[&'static str]) -> Option<Product> {
    let [id, name_zh, platform, category, provider, service_code, fee, unit, price, holders, youth, needs, source, days, events, quantity, seconds, kb, trend] =
        *fields
    else {
        return None;
    };
    Some(Product {
        id,
        name_zh,
        platform,
        category,
        provider: optional::<u32>(provider).ok()?.map(|_| provider),
        service_code,
        monthly_fee_fen: fee.parse().ok()?,
        unit,
        list_price_fen: price.parse().ok()?,
        holders_permille: holders.parse().ok()?,
        youth_permille: youth.parse().ok()?,
        needs: match needs {
            "" => Needs::Nothing,
            "mms" => Needs::Mms,
            "wap" => Needs::Wap,
            "java" => Needs::Java,
            "streaming" => Needs::Streaming,
            _ => return None,
        },
        source: match source {
            "misc" => Source::Misc,
            "base" => Source::Base,
            _ => return None,
        },
        typical: Use {
            days: days.parse().ok()?,
            events: events.parse().ok()?,
            quantity: quantity.parse().ok()?,
            seconds: seconds.parse().ok()?,
            kb: kb.parse().ok()?,
        },
        trend_permille: trend.parse().ok()?,
    })
}
