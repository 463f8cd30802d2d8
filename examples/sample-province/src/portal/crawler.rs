use crate::{Draw, Month, world::World};

use super::{
    journal::{Journal, Request},
    page,
};

/// The search engines that read the portals, as they name themselves.
const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Sogou web spider/4.0(+http://www.sogou.com/docs/help/webmasters.htm#07)",
    "Mozilla/5.0 (compatible; YisouSpider/5.0; +http://www.yisou.com/help/webmaster/spider_rule.html)",
    "Mozilla/5.0 (compatible; 360Spider; +http://www.so.com/help/help_3_2.html)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];

/// One request at any hour, mostly for a product, sometimes for a page that is long gone.
pub(super) fn crawl(world: &World, month: Month, draw: &mut Draw, journal: &mut Journal) {
    let at_ms = i64::from(draw.below(month.length_days() * 86_400)) * 1_000;
    let crawler = draw.below(AGENTS.len() as u32);
    let (path, status) = match draw.below(100) {
        0..8 => ("/robots.txt".to_owned(), 200),
        8..16 => ("/sitemap.xml".to_owned(), 200),
        16..30 => (format!("/product/old/{}.html", draw.below(2_000)), 404),
        _ => (format!("/product/{}.html", draw.pick(&world.catalogue.products).id), 200),
    };
    let bytes = if status == 200 { page::bytes(&path, draw) } else { 620 };
    journal.requests.push(Request {
        at_ms,
        address: format!("198.19.255.{}", 10 * crawler + draw.between(1, 6) as u32),
        agent: AGENTS[crawler as usize].to_owned(),
        request: format!("GET {path} HTTP/1.1"),
        status,
        bytes: Some(bytes),
        referrer: None,
        micros: page::latency_micros(&path, draw),
    });
}

/// A request that the server cannot read: a scanner that speaks TLS to the wrong port, or nothing at all.
pub(super) fn scan(month: Month, draw: &mut Draw, journal: &mut Journal) {
    let at_ms = i64::from(draw.below(month.length_days() * 86_400)) * 1_000;
    let request = if draw.chance(0.5) { "-" } else { r"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03" };
    journal.requests.push(Request {
        at_ms,
        address: format!("198.18.{}.{}", draw.below(256), draw.between(1, 254)),
        agent: "-".to_owned(),
        request: request.to_owned(),
        status: 400,
        bytes: Some(226),
        referrer: None,
        micros: draw.between(40, 400),
    });
}
