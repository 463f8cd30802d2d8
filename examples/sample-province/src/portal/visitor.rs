use crate::{Draw, public, world::World};

use super::journal::STREAM;

/// Who comes: a browser at an address, with a cookie.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) address: String,
    pub(super) agent: &'static str,
    /// 16 hex characters.
    pub(super) cookie: String,
    pub(super) is_wap: bool,
}

/// Of so many customers one visits the portals at all.
const CUSTOMERS_PER_VISITOR: u32 = 5;

impl Visitor {
    /// One of the city's visitors; the same person has the same browser all year.
    pub(super) fn one_of(world: &World, city: usize, draw: &mut Draw) -> Visitor {
        let people = (world.customers[city] / CUSTOMERS_PER_VISITOR).max(20);
        // Of two draws the lower: some come far more often than others.
        let person = draw.below(people).min(draw.below(people));
        let mut own = Draw::named(world.seed, &[STREAM, city as u64, 1 << 32 | u64::from(person)]);
        let agent = public::user_agent(own.bits());
        let is_mobile = agent.contains("Mobile") || agent.contains("Android");
        Visitor { address: address(is_mobile, &mut own), agent, cookie: format!("{:016x}", own.bits()), is_wap: is_mobile && own.chance(0.62) }
    }
}

/// Mobiles come through the operator's own shared space (RFC 6598), others from the range for benchmarks (RFC 2544): no address of anybody.
fn address(is_mobile: bool, draw: &mut Draw) -> String {
    if is_mobile {
        format!("100.{}.{}.{}", draw.between(64, 127), draw.below(256), draw.between(1, 254))
    } else {
        format!("198.{}.{}.{}", draw.between(18, 19), draw.below(256), draw.between(1, 254))
    }
}
