use super::voice::Voice;

/// How a writer punctuates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// As the grammar has it.
    Full,
    /// Half-width, as an input method left in English gives it.
    Half,
    /// Spaces instead of commas and stops.
    Spaces,
    /// Exclamation marks and stops in rows.
    Loud,
    /// A line for each sentence.
    Lines,
}

/// Gives the text the marks of its writer, after mending what joining sentences broke.
pub(super) fn punctuate(text: &str, voice: Voice, below: &mut impl FnMut(u32) -> u32) -> String {
    let mended = mend(text);
    let marked = match habit(voice, below(100)) {
        Habit::Full => mended,
        Habit::Half => mended.chars().map(half_width).collect(),
        Habit::Spaces => mended.chars().map(|mark| if matches!(mark, '，' | '。' | '；' | '、') { ' ' } else { mark }).collect(),
        Habit::Loud => mended.chars().map(|mark| loud(mark, below)).collect(),
        Habit::Lines => mended.replace('。', "。\n").replace("\n\n", "\n"),
    };
    marked.trim().to_owned()
}

fn habit(voice: Voice, percent: u32) -> Habit {
    match (voice, percent) {
        (Voice::Agent, 0..18) | (Voice::Web, 0..12) | (Voice::Sms, 0..30) | (Voice::Cantonese, 0..15) => Habit::Half,
        (Voice::Sms, 30..60) | (Voice::Cantonese, 15..30) | (Voice::Web, 12..16) => Habit::Spaces,
        (Voice::Sms, 60..72) | (Voice::Cantonese, 30..45) | (Voice::Web, 16..30) => Habit::Loud,
        (Voice::Agent, 18..22) | (Voice::Web, 30..38) => Habit::Lines,
        _ => Habit::Full,
    }
}

/// Of two marks that meet one stays, and a text does not end with a comma.
fn mend(text: &str) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut last = ' ';
    for mark in text.chars() {
        match (last, mark) {
            ('，' | '。' | '！' | '？' | '：' | '；' | '\n', '，' | '。') | ('！', '？') | ('\n', '\n') => continue,
            ('，', '！' | '？' | '\n' | '；' | '”' | '（') => {
                mended.pop();
            }
            _ => {}
        }
        mended.push(mark);
        last = mark;
    }
    mended.trim_matches(['，', ' ', '\n', '、']).to_owned()
}

fn half_width(mark: char) -> char {
    match mark {
        '，' => ',',
        '。' => '.',
        '！' => '!',
        '？' => '?',
        '：' => ':',
        '；' => ';',
        '（' => '(',
        '）' => ')',
        '“' | '”' => '"',
        other => other,
    }
}

fn loud(mark: char, below: &mut impl FnMut(u32) -> u32) -> String {
    match mark {
        '！' => "！".repeat(2 + below(3) as usize),
        '。' if below(3) == 0 => "！！".to_owned(),
        '。' => "。".repeat(1 + below(5) as usize),
        '？' => "？".repeat(1 + below(3) as usize),
        other => other.to_string(),
    }
}
