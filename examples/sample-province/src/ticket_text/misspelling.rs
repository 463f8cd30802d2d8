use std::sync::LazyLock;

use super::{slot::pick, voice::Voice};

/// What is often written wrong, with the wrong spellings (形近、同音).
static MISSPELLINGS: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
    let lines = include_str!("../../data/ticket-text/misspellings.txt").lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' ')).map(|(right, wrong)| (right, wrong.split(' ').collect())).collect()
});

/// Limit: a text with more wrong words than this is no longer believable.
const WORDS_MAX: u32 = 3;

/// Writes some words as people in haste write them, as often as the voice does.
pub(super) fn misspell(mut text: String, voice: Voice, below: &mut impl FnMut(u32) -> u32) -> String {
    if below(100) >= voice.misspelt_percent() {
        return text;
    }
    for _ in 0..=below(WORDS_MAX) {
        let candidates = MISSPELLINGS.iter().filter(|(right, _)| text.contains(right)).collect::<Vec<_>>();
        if candidates.is_empty() {
            break;
        }
        let (right, wrong) = pick(&candidates, below);
        text = text.replacen(right, pick(wrong, below), 1 + below(2) as usize);
    }
    text
}
