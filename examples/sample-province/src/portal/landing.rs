use super::{campaign, page::percent_encoded};
use crate::{Draw, Month};

/// Where a visit begins, and where it came from.
#[derive(Debug)]
pub(super) struct Landing {
    pub(super) path: String,
    pub(super) referrer: Option<String>,
    pub(super) campaign: Option<&'static str>,
}

/// Home for most; search engines lead to products, links in messages to promotions.
pub(super) fn landing(is_wap: bool, product_id: &str, product_name_zh: &str, (month, first_month): (Month, Month), draw: &mut Draw) -> Landing {
    let prefix = if is_wap { "/wap" } else { "" };
    let home = format!("{prefix}/");
    let landing = |path, referrer| Landing { path, referrer, campaign: None };
    match draw.below(100) {
        0..52 => landing(home, None),
        52..66 => landing(home, Some(searched(product_name_zh, draw))),
        66..84 => landing(format!("{prefix}/product/{product_id}.html"), Some(searched(product_name_zh, draw))),
        84..92 => match campaign::running(month, first_month, draw) {
            Some(campaign) => {
                Landing { path: format!("{prefix}/promo/{}.html?from=sms&cid={campaign}", campaign.to_lowercase()), referrer: None, campaign: Some(campaign) }
            }
            None => landing(home, None),
        },
        _ => landing(format!("{prefix}/my/index"), None),
    }
}

fn searched(product_name_zh: &str, draw: &mut Draw) -> String {
    match draw.below(10) {
        // This one hides what was asked.
        0..6 => format!("https://www.baidu.com/link?url={:016x}{:016x}", draw.bits(), draw.bits()),
        6..8 => format!("https://www.so.com/s?q={}", percent_encoded(product_name_zh)),
        8 => format!("https://www.sogou.com/web?query={}", percent_encoded(product_name_zh)),
        _ => format!("https://cn.bing.com/search?q={}", percent_encoded(product_name_zh)),
    }
}
