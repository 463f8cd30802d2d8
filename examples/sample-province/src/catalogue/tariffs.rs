use super::table::{lines, optional};

/// A voice tariff (资费) as it is from a month on.
#[derive(Debug)]
pub(crate) struct Tariff {
    pub(crate) id: &'static str,
    pub(crate) name_zh: &'static str,
    pub(crate) monthly_fee_fen: i64,
    pub(crate) voice_discount_permille: i64,
    pub(crate) brand: u8,
    pub(crate) weight: u32,
    pub(crate) from: i32,
    pub(crate) to: Option<i32>,
}

pub(super) fn read(text: &'static str) -> Vec<Tariff> {
    lines(text)
        .filter_map(|fields| {
            let [id, name_zh, fee, discount, brand, weight, from, to] = *fields.as_slice() else { return None };
            Some(Tariff {
                id,
                name_zh,
                monthly_fee_fen: fee.parse().ok()?,
                voice_discount_permille: discount.parse().ok()?,
                brand: brand.parse().ok()?,
                weight: weight.parse().ok()?,
                from: from.parse().ok()?,
                to: optional(to).ok()?,
            })
        })
        .collect()
}
