use std::borrow::Cow;

use memchr::memchr2;

use super::row::{Bad, Field};

/// The fields of a line, in the order that [`split`] gives them.
pub(super) const FIELDS: &[&str] = &["address", "time", "method", "path", "status", "bytes", "referrer", "agent", "micros"];

/// Where the fields stand that visitors are made of.
pub(super) const ADDRESS: usize = 0;
pub(super) const AGENT: usize = 7;

/// What stands for the path of a request that the server could not read.
const UNREADABLE: &str = "-";

/// Reads a line of the combined log format: `address ident user [time] "request" status bytes "referrer" "agent"`, and perhaps microseconds.
///
/// Rules: `-` is null. In quoted fields `\"` and `\\` stand for the character; other escapes stay as the server wrote them. Bytes that are no UTF-8 become U+FFFD,
/// because a browser's odd bytes are no reason to lose its request. A request that the server itself could not read (`-`, binary junk) is taken with path `-` and
/// without a method when the status says that it failed (400 or more), and is bad otherwise.
///
/// # Errors
/// What was expected and what was found, with a reason code.
pub(super) fn split<'t>(line: &'t str, fields: &mut Vec<Field<'t>>) -> Result<(), Bad> {
    let mut cursor = Cursor { rest: line };
    let address = cursor.until(" ", "the client's address and a space")?;
    // A user's name may have spaces; the time's bracket ends it.
    cursor.until(" [", "ident, user and the time in brackets")?;
    let time = cursor.until("]", "the time's closing bracket")?;
    cursor.skip(" \"", "the request in quotes after the time")?;
    let request = cursor.quoted("the request's closing quote")?;
    cursor.skip(" ", "a space after the request")?;
    let status = cursor.until(" ", "the status and a space")?;
    let bytes = cursor.until(" ", "the size and a space: the combined format goes on with referrer and agent")?;
    cursor.skip("\"", "the referrer in quotes")?;
    let referrer = cursor.quoted("the referrer's closing quote")?;
    cursor.skip(" \"", "the agent in quotes")?;
    let agent = cursor.quoted("the agent's closing quote")?;
    let micros = microseconds(cursor.rest)?;
    let (method, path) = match request_parts(&request) {
        Some((method, path)) => (Some(Cow::Owned(method)), Cow::Owned(path)),
        None if status.starts_with(['4', '5']) => (None, Cow::Borrowed(UNREADABLE)),
        None => {
            let found = request.chars().take(80).collect::<String>();
            return Err(Bad::new("REQUEST_INVALID", format!("expected METHOD path HTTP/x in quotes, as the status says that it worked; found '{found}'")));
        }
    };
    let value = |text: Cow<'t, str>| Some(text).filter(|text| text != "-" && !text.is_empty());
    let plain = |text: &'t str| value(Cow::Borrowed(text));
    fields.extend([plain(address), plain(time), method, Some(path), plain(status), plain(bytes), value(referrer), value(agent), micros.map(Cow::Borrowed)]);
    Ok(())
}

struct Cursor<'t> {
    rest: &'t str,
}

impl<'t> Cursor<'t> {
    /// The text before `end`, which is passed over.
    fn until(&mut self, end: &str, expected: &str) -> Result<&'t str, Bad> {
        let (found, rest) = self.rest.split_once(end).ok_or_else(|| self.missing(expected))?;
        self.rest = rest;
        Ok(found)
    }

    fn skip(&mut self, literal: &str, expected: &str) -> Result<(), Bad> {
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.missing(expected))?;
        Ok(())
    }

    /// The text up to the closing quote, with escaped quotes and backslashes undone.
    fn quoted(&mut self, expected: &str) -> Result<Cow<'t, str>, Bad> {
        let Some(stop) = memchr2(b'"', b'\\', self.rest.as_bytes()) else {
            return Err(self.missing(expected));
        };
        if self.rest.as_bytes()[stop] == b'"' {
            let found = &self.rest[..stop];
            self.rest = &self.rest[stop + 1..];
            return Ok(Cow::Borrowed(found));
        }
        self.unescaped(expected)
    }

    fn unescaped(&mut self, expected: &str) -> Result<Cow<'t, str>, Bad> {
        let mut found = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((position, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[position + 1..];
                    return Ok(Cow::Owned(found));
                }
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => found.push(escaped),
                    Some((_, other)) => found.extend(['\\', other]),
                    None => break,
                },
                _ => found.push(character),
            }
        }
        Err(self.missing(expected))
    }

    fn missing(&self, expected: &str) -> Bad {
        let found = self.rest.chars().take(60).collect::<String>();
        Bad::new("LINE_MALFORMED", format!("expected {expected}; found '{found}'"))
    }
}

fn microseconds(rest: &str) -> Result<Option<&str>, Bad> {
    match rest.trim_ascii() {
        "" | "-" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Some(digits)),
        other => {
            let found = other.chars().take(60).collect::<String>();
            Err(Bad::new("LINE_MALFORMED", format!("expected the end of the line, or microseconds, after the agent; found '{found}'")))
        }
    }
}

/// Method and path of `METHOD target HTTP/x`; a target may have unescaped spaces, and HTTP 0.9 names no version.
fn request_parts(request: &str) -> Option<(String, String)> {
    let (method, rest) = request.split_once(' ')?;
    let is_method = (1..=20).contains(&method.len()) && method.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_'));
    let target = match rest.rsplit_once(' ') {
        Some((target, version)) if version.starts_with("HTTP/") => target,
        _ => rest,
    };
    let is_target = !target.is_empty() && !target.chars().any(char::is_control);
    (is_method && is_target).then(|| (method.to_owned(), path(target)))
}

/// The path without query and fragment; of an absolute target (a proxy's) without its host.
fn path(target: &str) -> String {
    let without_host = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) => rest.find('/').map_or("/", |slash| &rest[slash..]),
        _ => target,
    };
    let end = without_host.find(['?', '#']).unwrap_or(without_host.len());
    match &without_host[..end] {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}
