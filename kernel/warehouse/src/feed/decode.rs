use std::borrow::Cow;

use encoding_rs::GB18030;

use super::Encoding;

/// The text of some whole lines.
pub(super) struct Decoded<'a> {
    pub(super) text: Cow<'a, str>,
    /// Indexes of the lines with bytes that are none of the encoding's, which stand as U+FFFD; ascending.
    pub(super) broken_lines: Vec<usize>,
}

/// Decodes whole lines. A line end is never part of a character in either encoding, so that one broken line leaves its neighbours whole.
pub(super) fn decode(encoding: Encoding, bytes: &[u8]) -> Decoded<'_> {
    let whole = match encoding {
        Encoding::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Encoding::Gb18030 => GB18030.decode_without_bom_handling_and_without_replacement(bytes),
    };
    match whole {
        Some(text) => Decoded { text, broken_lines: Vec::new() },
        None => line_by_line(encoding, bytes),
    }
}

fn line_by_line(encoding: Encoding, bytes: &[u8]) -> Decoded<'static> {
    let (mut text, mut broken_lines) = (String::with_capacity(bytes.len() * 3 / 2), Vec::new());
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        // The line end stays outside: a character that is cut off by it must not swallow it.
        let end = line.len() - usize::from(line.ends_with(b"\n"));
        let (decoded, is_broken) = match encoding {
            Encoding::Utf8 => {
                let decoded = String::from_utf8_lossy(&line[..end]);
                let is_broken = matches!(decoded, Cow::Owned(_));
                (decoded, is_broken)
            }
            Encoding::Gb18030 => GB18030.decode_without_bom_handling(&line[..end]),
        };
        if is_broken {
            broken_lines.push(index);
        }
        text.push_str(&decoded);
        if end < line.len() {
            text.push('\n');
        }
    }
    Decoded { text: Cow::Owned(text), broken_lines }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_leaves_its_neighbours_whole() {
        // 营销案 in GB18030, a lead byte cut off by the line end, then 投诉.
        let bytes = b"\xd3\xaa\xcf\xfa\xb0\xb8\nbad \xd3\n\xcd\xb6\xcb\xdf";
        let decoded = decode(Encoding::Gb18030, bytes);
        assert_eq!((decoded.text.as_ref(), decoded.broken_lines), ("营销案\nbad \u{fffd}\n投诉", vec![1]));
        let decoded = decode(Encoding::Utf8, "投诉\n营\n".as_bytes());
        assert!(matches!(decoded.text, Cow::Borrowed(_)) && decoded.broken_lines.is_empty());
        let decoded = decode(Encoding::Utf8, b"a\n\xff\nc\n");
        assert_eq!((decoded.text.as_ref(), decoded.broken_lines), ("a\n\u{fffd}\nc\n", vec![1]));
    }

    #[test]
    fn the_separator_inside_a_character_is_no_separator() {
        // 0x7C, the bar, is the second byte of 倈.
        let decoded = decode(Encoding::Gb18030, b"\x82\x7c|x");
        assert_eq!(decoded.text.as_ref(), "倈|x");
    }
}
