use std::collections::HashSet;

use jiff::{ToSpan, civil::date};

use super::{
    Cause, TicketKind, TicketSubject,
    grammar::{Grammar, OF_CAUSE, Piece},
    taxonomy, ticket,
};
use crate::public::cities;

/// SplitMix64.
fn draws(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

const KINDS: [TicketKind; 4] = [TicketKind::Complaint, TicketKind::Consult, TicketKind::Praise, TicketKind::Suggestion];

fn subject(index: u64) -> TicketSubject<'static> {
    let products = ["手机报·新闻早晚报", "彩铃", "咪咕音乐会员", "139邮箱", "手机视频", "和阅读"];
    let packages = [None, Some("全球通88套餐"), Some("存100送100"), Some("动感地带网聊套餐")];
    TicketSubject {
        kind: KINDS[if index % 10 < 6 { 0 } else { (index % 4) as usize }],
        cause: Cause::ALL[(index % 29) as usize],
        product_name_zh: products[(index % 6) as usize],
        package_name_zh: packages[(index / 7 % 4) as usize],
        city_name_zh: cities()[(index / 3 % 21) as usize].name_zh,
        amount_fen: (!index.is_multiple_of(3)).then_some((index % 37 * 50 + 100).cast_signed()),
        day: date(2026, 1, 1).saturating_add((index % 300).cast_signed().days()),
    }
}

fn distinct(seed: u64, count: u64, subject: impl Fn(u64) -> TicketSubject<'static>) -> usize {
    let mut draw = draws(seed);
    (0..count).map(|index| ticket(&mut draw, &subject(index))).collect::<HashSet<_>>().len()
}

#[test]
fn ten_thousand_texts_are_all_different() {
    for seed in [1, 2, 42, 20_261_122] {
        assert_eq!(distinct(seed, 10_000, subject), 10_000, "seed {seed}");
    }
}

/// The hardest case: a burst of one kind about one cause, product, city and day.
#[test]
fn ten_thousand_texts_about_one_subject_are_all_different() {
    for (index, cause) in Cause::ALL.into_iter().enumerate().step_by(3) {
        let one = TicketSubject { kind: KINDS[index % 4], cause, ..subject(1) };
        assert_eq!(distinct(index as u64, 10_000, |_| one), 10_000, "{cause:?}");
    }
}

#[test]
fn of_a_hundred_thousand_texts_none_in_ten_thousand_repeats() {
    let distinct = distinct(7, 100_000, subject);
    assert!(distinct >= 99_990, "{distinct} distinct of 100,000");
}

#[test]
fn the_same_draws_give_the_same_text() {
    for index in 0..50 {
        assert_eq!(ticket(&mut draws(index), &subject(index)), ticket(&mut draws(index), &subject(index)));
    }
}

#[test]
fn every_reference_of_the_grammar_leads_to_a_rule_and_every_rule_is_used() {
    let rules = Grammar::get().rules();
    let mut used = HashSet::new();
    for (rule, phrases) in rules {
        for piece in phrases.iter().flatten() {
            match piece {
                Piece::Rule { name, .. } => {
                    assert!(rules.contains_key(name), "[{rule}] refers to {{{name}}}, which is not there");
                    used.insert(*name);
                }
                Piece::Text(text) => assert!(!text.contains(['{', '}']), "[{rule}] has a lone brace: {text}"),
                Piece::Slot(_) | Piece::OfCause(_) => {}
            }
        }
    }
    let unused = rules.keys().filter(|name| !name.contains('.') && !used.contains(*name)).collect::<Vec<_>>();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn every_cause_can_be_told_asked_praised_suggested_and_said_in_cantonese() {
    for cause in Cause::ALL {
        for name in OF_CAUSE {
            assert!(Grammar::get().phrases_of_cause(cause.code(), name).len() >= 2, "{cause:?} has too little for {name}");
        }
    }
}

#[test]
fn texts_hold_what_spoils_careless_readers_and_nothing_worse() {
    let mut draw = draws(3);
    let texts = (0..5_000).map(|index| ticket(&mut draw, &subject(index))).collect::<Vec<_>>();
    for needle in ["\n", ",", "\"", "咗", "帐", "！！"] {
        assert!(texts.iter().any(|text| text.contains(needle)), "no text has {needle:?}");
    }
    for text in &texts {
        assert!((10..=700).contains(&text.chars().count()), "{text}");
        assert!(!text.contains(['{', '}', '\r', '\u{fffd}', '\0']), "{text}");
        assert_eq!(text.trim(), text);
    }
}

#[test]
fn the_taxonomy_holds_every_cause_below_a_stage_below_a_business() {
    let find = |code: &str| taxonomy().iter().find(|node| node.code == code);
    for cause in Cause::ALL {
        let node = find(cause.code()).expect("the cause is in the taxonomy");
        let stage = find(node.parent.expect("a cause has a parent")).expect("the stage is in the taxonomy");
        let business = find(stage.parent.expect("a stage has a parent")).expect("the business is in the taxonomy");
        assert_eq!([node.level, stage.level, business.level], ["cause", "stage", "business"]);
        assert_eq!(business.parent, None);
    }
    assert_eq!(taxonomy().iter().filter(|node| node.level == "cause").count(), Cause::ALL.len());
}
