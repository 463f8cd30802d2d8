use crate::Draw;

/// Where the portals are. The top-level domain is reserved: nobody is there.
pub(super) const WEB_HOST: &str = "https://www.gdportal.example";
pub(super) const WAP_HOST: &str = "http://wap.gdportal.example";

/// What serving a page costs.
#[derive(Debug, Clone, Copy)]
struct Cost {
    prefix: &'static str,
    bytes: f64,
    micros: f64,
}

/// The first prefix that fits counts.
const COSTS: [Cost; 9] = [
    Cost { prefix: "/static/", bytes: 32_000.0, micros: 2_500.0 },
    Cost { prefix: "/wap", bytes: 5_200.0, micros: 90_000.0 },
    Cost { prefix: "/search", bytes: 18_000.0, micros: 310_000.0 },
    Cost { prefix: "/bill", bytes: 24_000.0, micros: 640_000.0 },
    Cost { prefix: "/itemised", bytes: 46_000.0, micros: 1_150_000.0 },
    Cost { prefix: "/pay/cashier", bytes: 9_000.0, micros: 900_000.0 },
    Cost { prefix: "/product", bytes: 21_000.0, micros: 140_000.0 },
    Cost { prefix: "/help", bytes: 12_000.0, micros: 60_000.0 },
    Cost { prefix: "/", bytes: 26_000.0, micros: 180_000.0 },
];

/// Log-normal by the kind of page: most answers come quickly, some take many times as long.
pub(super) fn latency_micros(path: &str, draw: &mut Draw) -> i64 {
    draw.spread(cost(path).micros, 0.7).clamp(300.0, 30_000_000.0) as i64
}

pub(super) fn bytes(path: &str, draw: &mut Draw) -> i64 {
    draw.spread(cost(path).bytes, 0.25) as i64
}

fn cost(path: &str) -> Cost {
    COSTS.into_iter().find(|cost| path.starts_with(cost.prefix)).unwrap_or(COSTS[COSTS.len() - 1])
}

/// How a request went: errors of a portal that is mostly well.
pub(super) fn status(draw: &mut Draw) -> u16 {
    match draw.below(10_000) {
        0..55 => 404,
        55..90 => 500,
        90..105 => 502,
        105..115 => 503,
        115..125 => 403,
        _ => 200,
    }
}

/// A page beside the flows, with what the walk goes to from it.
pub(super) fn browsed(is_wap: bool, product_id: &str, product_name_zh: &str, draw: &mut Draw) -> String {
    const HELP: [&str; 8] = ["charge", "roaming", "ringback", "newspaper", "points", "password", "unsubscribe", "tariff"];
    const LIST: [&str; 6] = ["ringback", "newspaper", "music", "reading", "game", "messaging"];
    let prefix = if is_wap { "/wap" } else { "" };
    match draw.below(100) {
        0..18 => format!("{prefix}/product/list?cat={}", draw.pick(&LIST)),
        18..52 => format!("{prefix}/product/{product_id}.html"),
        52..64 => format!("{prefix}/search?q={}", percent_encoded(product_name_zh)),
        64..76 => format!("{prefix}/help/{}.html", draw.pick(&HELP)),
        76..86 => format!("{prefix}/news/{}.html", 20_260 + draw.below(400)),
        86..92 => format!("{prefix}/tariff/list"),
        92..96 => format!("{prefix}/my/index"),
        _ => format!("{prefix}/promo/{}.html", draw.pick(&["spring", "summer", "recharge", "newuser"])),
    }
}

/// Every byte of the text as `%XX`.
pub(super) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02X}");
        encoded
    })
}
