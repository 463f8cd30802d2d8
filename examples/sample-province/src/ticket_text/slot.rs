use jiff::{ToSpan, civil::Date};

use super::voice::Voice;
use crate::public;

/// What the program fills in, because it must fit the ticket or must not repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Product,
    Package,
    City,
    District,
    Amount,
    Day,
    Time,
    PhoneNumber,
    NumberEnd,
    OrderNumber,
    AgentNumber,
    ServiceCode,
    Count,
    Days,
    Hours,
    Minutes,
    Percent,
    Customer,
}

impl Slot {
    pub(super) fn named(name: &str) -> Option<Slot> {
        Some(match name {
            "产品" => Slot::Product,
            "套餐" => Slot::Package,
            "城市" => Slot::City,
            "区" => Slot::District,
            "金额" => Slot::Amount,
            "日期" => Slot::Day,
            "时间" => Slot::Time,
            "手机号" => Slot::PhoneNumber,
            "尾号" => Slot::NumberEnd,
            "订单号" => Slot::OrderNumber,
            "工号" => Slot::AgentNumber,
            "短号" => Slot::ServiceCode,
            "数" => Slot::Count,
            "天数" => Slot::Days,
            "小时" => Slot::Hours,
            "分钟" => Slot::Minutes,
            "百分比" => Slot::Percent,
            "我" => Slot::Customer,
            _ => return None,
        })
    }
}

/// The value of a slot that needs chance, day and voice alone; empty for those that the composer knows.
pub(super) fn drawn(slot: Slot, day: Date, voice: Voice, below: &mut impl FnMut(u32) -> u32) -> String {
    match slot {
        Slot::Day => past_day(day, voice, below),
        Slot::Time => time(voice, below),
        Slot::NumberEnd => format!("{:04}", below(10_000)),
        Slot::OrderNumber => format!("{:04}{:02}{:02}{:08}", day.year(), day.month(), day.day(), below(100_000_000)),
        Slot::AgentNumber => format!("{}{:05}", pick(&["GZ", "GD", "KF", "10", "6"], below), below(100_000)),
        Slot::ServiceCode => format!("{}{:03}", pick(&["10658", "10657", "10660", "106900", "12590"], below), below(1_000)),
        Slot::Count => (2 + below(8)).to_string(),
        Slot::Days => (2 + below(40)).to_string(),
        Slot::Hours => pick(&[2, 4, 12, 24, 36, 48, 72], below).to_string(),
        Slot::Minutes => (3 + below(56)).to_string(),
        Slot::Percent => format!("{}%", 5 * (1 + below(19))),
        _ => String::new(),
    }
}

/// `5元`, `5块钱`, `4.90元`.
pub(super) fn amount(fen: i64, below: &mut impl FnMut(u32) -> u32) -> String {
    let (yuan, rest) = (fen / 100, fen.unsigned_abs() % 100);
    match (rest, below(6)) {
        (0, 0) => format!("{yuan}.00元"),
        (0, 1) => format!("{yuan}块"),
        (0, 2) => format!("{yuan}块钱"),
        (0, _) => format!("{yuan}元"),
        (_, 0) if rest.is_multiple_of(10) && yuan > 0 => format!("{yuan}块{}", rest / 10),
        (_, 1) if rest.is_multiple_of(10) => format!("{yuan}.{}元", rest / 10),
        _ => format!("{yuan}.{rest:02}元"),
    }
}

/// A number of the city. Its segment is real, its end is drawn, and what is told of it never happened.
pub(super) fn phone_number(city_code: &str, below: &mut impl FnMut(u32) -> u32) -> String {
    let segments = public::segments(city_code);
    let segment = segments.get(below(segments.len() as u32) as usize).copied().unwrap_or(1_380_000);
    format!("{segment:07}{:04}", below(10_000))
}

pub(super) fn district(city_code: &str, below: &mut impl FnMut(u32) -> u32) -> &'static str {
    let districts = public::districts(city_code);
    districts.get(below(districts.len() as u32) as usize).copied().unwrap_or("市区")
}

fn past_day(day: Date, voice: Voice, below: &mut impl FnMut(u32) -> u32) -> String {
    // Of two draws the lower: what is complained about was mostly lately.
    let ago = below(60).min(below(60));
    let told = day.saturating_sub(i64::from(ago).days());
    let (month, day_of_month) = (told.month(), told.day());
    let was_last_month = told.last_of_month().saturating_add(1.day()) == day.first_of_month();
    match (ago, below(8)) {
        (0, 0..5) => "今天".to_owned(),
        (1, 0..5) if voice == Voice::Cantonese => "寻日".to_owned(),
        (1, 0..5) => "昨天".to_owned(),
        (2, 0..5) if voice == Voice::Cantonese => "前日".to_owned(),
        (2, 0..5) => "前天".to_owned(),
        (_, 0) if month == day.month() => format!("本月{day_of_month}日"),
        (_, 0 | 1) if was_last_month => format!("上个月{day_of_month}号"),
        (_, 1) => format!("{month}.{day_of_month}"),
        (_, 2) if voice == Voice::Agent => format!("{:04}-{month:02}-{day_of_month:02}", told.year()),
        (_, 2 | 3) => format!("{month}月{day_of_month}日"),
        (_, 4) => format!("{month}/{day_of_month}"),
        _ => format!("{month}月{day_of_month}号"),
    }
}

fn time(voice: Voice, below: &mut impl FnMut(u32) -> u32) -> String {
    // Waking hours, most in the evening.
    let hour = pick(&[0, 2, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 20, 21, 21, 22, 23], below);
    let minute = below(60);
    let part = match hour {
        0..6 => "凌晨",
        6..12 => "上午",
        12..14 => "中午",
        14..18 => "下午",
        _ if voice == Voice::Cantonese => "晚黑",
        _ => "晚上",
    };
    let hour_of_part = if hour > 12 { hour - 12 } else { hour };
    match below(4) {
        0 => format!("{part}{hour_of_part}点多"),
        1 => format!("{hour}点{minute:02}分"),
        _ => format!("{hour}:{minute:02}"),
    }
}

/// `from` is never empty.
pub(super) fn pick<T: Copy>(from: &[T], below: &mut impl FnMut(u32) -> u32) -> T {
    from[below(from.len() as u32) as usize]
}
