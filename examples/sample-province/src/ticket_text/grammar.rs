use std::{collections::HashMap, sync::LazyLock};

use super::slot::Slot;

/// As a colleague reads them; the form is explained at the top of the first.
const SOURCES: [&str; 6] = [
    include_str!("../../data/ticket-text/frame.txt"),
    include_str!("../../data/ticket-text/value-added.txt"),
    include_str!("../../data/ticket-text/packages.txt"),
    include_str!("../../data/ticket-text/network.txt"),
    include_str!("../../data/ticket-text/service.txt"),
    include_str!("../../data/ticket-text/cantonese.txt"),
];

/// One way to say something.
pub(super) type Phrase = Vec<Piece>;

#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Slot(Slot),
    Rule {
        name: &'static str,
        optional: bool,
    },
    /// The rule of this name that the ticket's cause, its stage or its business has.
    OfCause(&'static str),
}

/// The rules that every cause answers for itself.
pub(super) const OF_CAUSE: [&str; 6] = ["经过", "咨询", "建议", "表扬", "诉求", "粤语"];

#[derive(Debug)]
pub(super) struct Grammar {
    rules: HashMap<&'static str, Vec<Phrase>>,
}

impl Grammar {
    pub(super) fn get() -> &'static Grammar {
        static GRAMMAR: LazyLock<Grammar> = LazyLock::new(|| Grammar::read(&SOURCES));
        &GRAMMAR
    }

    /// None for a rule that is not there, which a test rules out.
    pub(super) fn phrases(&self, name: &str) -> &[Phrase] {
        self.rules.get(name).map_or(&[], Vec::as_slice)
    }

    /// `V201.建议`, else `V2.建议`, else `V.建议`.
    pub(super) fn phrases_of_cause(&self, code: &str, name: &str) -> &[Phrase] {
        let prefixes = [4, 2, 1].iter().filter_map(|length| code.get(..*length));
        prefixes.map(|prefix| self.phrases(&format!("{prefix}.{name}"))).find(|found| !found.is_empty()).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn rules(&self) -> &HashMap<&'static str, Vec<Phrase>> {
        &self.rules
    }

    fn read(sources: &[&'static str]) -> Grammar {
        let mut rules = HashMap::<&'static str, Vec<Phrase>>::new();
        for source in sources {
            let mut current = "";
            for line in source.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                match line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                    Some(name) => current = name,
                    None => rules.entry(current).or_default().push(phrase(line)),
                }
            }
        }
        Grammar { rules }
    }
}

fn phrase(line: &'static str) -> Phrase {
    let mut pieces = Phrase::new();
    let mut rest = line;
    while let Some((before, from_brace)) = rest.split_once('{') {
        let Some((reference, after)) = from_brace.split_once('}') else { break };
        pieces.extend(text(before));
        pieces.push(piece(reference));
        rest = after;
    }
    pieces.extend(text(rest));
    pieces
}

fn text(written: &str) -> Option<Piece> {
    (!written.is_empty()).then(|| Piece::Text(written.replace("\\n", "\n")))
}

fn piece(reference: &'static str) -> Piece {
    if let Some(slot) = Slot::named(reference) {
        return Piece::Slot(slot);
    }
    if OF_CAUSE.contains(&reference) {
        return Piece::OfCause(reference);
    }
    match reference.strip_suffix('?') {
        Some(name) => Piece::Rule { name, optional: true },
        None => Piece::Rule { name: reference, optional: false },
    }
}
