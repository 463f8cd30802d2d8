use crate::{Draw, Month};

/// A campaign whose messages lead to the portals.
#[derive(Debug, Clone, Copy)]
struct Campaign {
    id: &'static str,
    /// Months from the first of the window.
    first: i32,
    months: i32,
}

/// A campaign that runs in a month; none when none does. Its link is what a visit began with.
pub(super) fn running(month: Month, first_month: Month, draw: &mut Draw) -> Option<&'static str> {
    let campaigns = include_str!("../../data/campaigns.csv").lines().skip(1).filter_map(campaign);
    let running = campaigns.filter(|campaign| (campaign.first..campaign.first + campaign.months).contains(&month.since(first_month))).collect::<Vec<_>>();
    (!running.is_empty()).then(|| draw.pick(&running).id)
}

/// The columns are those of `ref.campaign`, with months in place of days.
fn campaign(line: &'static str) -> Option<Campaign> {
    let mut fields = line.split(',');
    let id = fields.next()?;
    let mut months = fields.skip(2).map_while(|field| field.parse().ok());
    Some(Campaign { id, first: months.next()?, months: months.next()? })
}
