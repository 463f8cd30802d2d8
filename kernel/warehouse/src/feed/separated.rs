use std::borrow::Cow;

use super::row::{Bad, Field};

/// Splits a line at its separators. The null text and nothing are null; the others are trimmed.
///
/// # Errors
/// FIELD_COUNT.
pub(super) fn split<'t>(line: &'t str, separator: u8, null_text: &str, expected: usize, fields: &mut Vec<Field<'t>>) -> Result<(), Bad> {
    let mut start = 0;
    // Byte by byte: fields are of some bytes each, too few for a search to pay.
    for (end, byte) in line.bytes().enumerate() {
        if byte == separator {
            fields.push(field(&line[start..end], null_text));
            start = end + 1;
        }
    }
    fields.push(field(&line[start..], null_text));
    match fields.len() {
        found if found == expected => Ok(()),
        found => Err(Bad::new("FIELD_COUNT", format!("expected {expected} fields; found {found}"))),
    }
}

fn field<'t>(text: &'t str, null_text: &str) -> Field<'t> {
    let text = trimmed(text);
    (!text.is_empty() && text != null_text).then_some(Cow::Borrowed(text))
}

/// As `str::trim`; quick where nothing is to be trimmed, as nearly everywhere.
fn trimmed(text: &str) -> &str {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => text,
        _ => text.trim(),
    }
}
