use jiff::civil::Date;

use super::{
    Cause,
    grammar::{Grammar, Phrase, Piece},
    misspelling, punctuation,
    slot::{self, Slot, pick},
    voice::Voice,
};
use crate::public;

/// The kind of a ticket (咨询、投诉、表扬、建议).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TicketKind {
    Consult,
    Complaint,
    Praise,
    Suggestion,
}

impl TicketKind {
    const fn name_zh(self) -> &'static str {
        match self {
            TicketKind::Consult => "咨询",
            TicketKind::Complaint => "投诉",
            TicketKind::Praise => "表扬",
            TicketKind::Suggestion => "建议",
        }
    }
}

/// What the text must be about.
#[derive(Debug, Clone, Copy)]
pub struct TicketSubject<'a> {
    pub kind: TicketKind,
    pub cause: Cause,
    pub product_name_zh: &'a str,
    /// None: where a sentence needs a package, a plain word for one stands.
    pub package_name_zh: Option<&'a str>,
    /// With or without 市.
    pub city_name_zh: &'a str,
    /// What was charged, credited or missed; drawn when none.
    pub amount_fen: Option<i64>,
    /// The day of the ticket; what it tells happened on or before it.
    pub day: Date,
}

/// Stands for the package that the ticket does not know.
const SOME_PACKAGE: [&str; 8] = ["现在的套餐", "新套餐", "那个优惠套餐", "流量包", "合约套餐", "充值活动", "存送活动", "家庭套餐"];

/// Usual sums, in fen.
const SOME_AMOUNT: [i64; 16] = [100, 200, 300, 500, 500, 600, 800, 1_000, 1_000, 1_200, 1_500, 2_000, 2_500, 3_000, 3_800, 5_000];

/// A text about `subject`; `draw` gives 64 fresh bits a call. It may hold line breaks, quotes, commas and numbers of every kind.
pub fn ticket(draw: &mut impl FnMut() -> u64, subject: &TicketSubject<'_>) -> String {
    let mut below = |count: u32| ((u64::from(count) * (draw() >> 32)) >> 32) as u32;
    let voice = voice(&mut below);
    let mut composer = Composer::new(subject, voice, below);
    let rule = format!("{}.{}", subject.kind.name_zh(), voice.name_zh());
    composer.say_one_of(Grammar::get().phrases(&rule));
    let Composer { said, mut below, .. } = composer;
    let said = misspelling::misspell(said, voice, &mut below);
    punctuation::punctuate(&said, voice, &mut below)
}

fn voice(below: &mut impl FnMut(u32) -> u32) -> Voice {
    let mut left = below(Voice::WITH_WEIGHT.iter().map(|(_, weight)| weight).sum());
    for (voice, weight) in Voice::WITH_WEIGHT {
        if left < weight {
            return voice;
        }
        left -= weight;
    }
    Voice::Agent
}

struct Composer<'a, Below> {
    subject: &'a TicketSubject<'a>,
    city_name_zh: &'a str,
    city_code: &'static str,
    voice: Voice,
    /// These three stay the same throughout a text.
    pronoun: &'static str,
    package_name_zh: &'a str,
    amount_fen: i64,
    amount_said: bool,
    below: Below,
    said: String,
}

impl<'a, Below: FnMut(u32) -> u32> Composer<'a, Below> {
    fn new(subject: &'a TicketSubject<'a>, voice: Voice, mut below: Below) -> Self {
        let city_name_zh = subject.city_name_zh.trim_end_matches('市');
        let city = public::cities().iter().find(|city| city.name_zh.trim_end_matches('市') == city_name_zh);
        let some_package = pick(&SOME_PACKAGE, &mut below);
        let some_amount_fen = pick(&SOME_AMOUNT, &mut below);
        Composer {
            subject,
            city_name_zh,
            city_code: city.map_or("440100", |city| city.code),
            voice,
            pronoun: pick(voice.pronouns(), &mut below),
            package_name_zh: subject.package_name_zh.unwrap_or(some_package),
            amount_fen: subject.amount_fen.unwrap_or(some_amount_fen),
            amount_said: false,
            below,
            said: String::new(),
        }
    }

    fn say_one_of(&mut self, phrases: &'static [Phrase]) {
        let chosen = (self.below)(phrases.len() as u32) as usize;
        for piece in phrases.get(chosen).into_iter().flatten() {
            self.say(piece);
        }
    }

    fn say(&mut self, piece: &'static Piece) {
        match piece {
            Piece::Text(text) => self.said.push_str(text),
            Piece::Slot(slot) => self.fill(*slot),
            Piece::Rule { optional: true, .. } if (self.below)(2) == 0 => {}
            Piece::Rule { name, .. } => self.say_one_of(Grammar::get().phrases(name)),
            Piece::OfCause(name) => self.say_one_of(Grammar::get().phrases_of_cause(self.subject.cause.code(), name)),
        }
    }

    fn fill(&mut self, slot: Slot) {
        let below = &mut self.below;
        match slot {
            Slot::Product => self.said.push_str(self.subject.product_name_zh),
            Slot::Package => self.said.push_str(self.package_name_zh),
            Slot::City => self.said.push_str(self.city_name_zh),
            Slot::Customer => self.said.push_str(self.pronoun),
            Slot::District => self.said.push_str(slot::district(self.city_code, below)),
            Slot::PhoneNumber => self.said.push_str(&slot::phone_number(self.city_code, below)),
            Slot::Amount => {
                // The first sum is the ticket's own; people then name others too.
                let is_another = self.amount_said && below(3) == 0;
                let fen = if is_another { pick(&SOME_AMOUNT, below) } else { self.amount_fen };
                self.amount_said = true;
                self.said.push_str(&slot::amount(fen, below));
            }
            drawn => {
                let value = slot::drawn(drawn, self.subject.day, self.voice, below);
                // A day and a time, both in digits, would run together.
                if self.said.ends_with(|last: char| last.is_ascii_digit()) && value.starts_with(|first: char| first.is_ascii_digit()) {
                    self.said.push(' ');
                }
                self.said.push_str(&value);
            }
        }
    }
}
