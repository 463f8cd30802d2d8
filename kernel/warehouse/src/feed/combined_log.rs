use super::row::Bad;

/// The fields of a line, in the order that [`parse`] gives them.
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
pub(super) fn parse(line: &[u8]) -> Result<Vec<Option<String>>, Bad> {
    let mut cursor = Cursor { rest: line };
    let address = cursor.until(b' ', "the client's address and a space")?;
    // A user's name may have spaces; the time's bracket ends it.
    cursor.until_sequence(b" [", "ident, user and the time in brackets")?;
    let time = cursor.until(b']', "the time's closing bracket")?;
    cursor.skip(b" \"", "the request in quotes after the time")?;
    let request = cursor.quoted("the request's closing quote")?;
    cursor.skip(b" ", "a space after the request")?;
    let status = cursor.until(b' ', "the status and a space")?;
    let bytes = cursor.until(b' ', "the size and a space: the combined format goes on with referrer and agent")?;
    cursor.skip(b"\"", "the referrer in quotes")?;
    let referrer = cursor.quoted("the referrer's closing quote")?;
    cursor.skip(b" \"", "the agent in quotes")?;
    let agent = cursor.quoted("the agent's closing quote")?;
    let micros = microseconds(cursor.rest)?;
    let (method, path) = match request_parts(&request) {
        Some((method, path)) => (Some(method), path),
        None if status.first().is_some_and(|first| matches!(first, b'4' | b'5')) => (None, UNREADABLE.to_owned()),
        None => {
            let found = text(&request).chars().take(80).collect::<String>();
            return Err(Bad::new("REQUEST_INVALID", format!("expected METHOD path HTTP/x in quotes, as the status says that it worked; found '{found}'")));
        }
    };
    let value = |bytes: &[u8]| Some(text(bytes)).filter(|text| text != "-" && !text.is_empty());
    Ok(vec![value(address), value(time), method, Some(path), value(status), value(bytes), value(&referrer), value(&agent), micros])
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The bytes before `end`, which is passed over.
    fn until(&mut self, end: u8, expected: &str) -> Result<&'a [u8], Bad> {
        let position = self.rest.iter().position(|byte| *byte == end).ok_or_else(|| self.missing(expected))?;
        let found = &self.rest[..position];
        self.rest = &self.rest[position + 1..];
        Ok(found)
    }

    fn until_sequence(&mut self, end: &[u8], expected: &str) -> Result<&'a [u8], Bad> {
        let position = self.rest.windows(end.len()).position(|window| window == end).ok_or_else(|| self.missing(expected))?;
        let found = &self.rest[..position];
        self.rest = &self.rest[position + end.len()..];
        Ok(found)
    }

    fn skip(&mut self, literal: &[u8], expected: &str) -> Result<(), Bad> {
        self.rest = self.rest.strip_prefix(literal).ok_or_else(|| self.missing(expected))?;
        Ok(())
    }

    /// The bytes up to the closing quote, with escaped quotes and backslashes undone.
    fn quoted(&mut self, expected: &str) -> Result<Vec<u8>, Bad> {
        let mut found = Vec::new();
        let mut bytes = self.rest.iter().enumerate();
        while let Some((position, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    self.rest = &self.rest[position + 1..];
                    return Ok(found);
                }
                b'\\' => match bytes.next() {
                    Some((_, escaped @ (b'"' | b'\\'))) => found.push(*escaped),
                    Some((_, other)) => found.extend([b'\\', *other]),
                    None => break,
                },
                _ => found.push(*byte),
            }
        }
        Err(self.missing(expected))
    }

    fn missing(&self, expected: &str) -> Bad {
        let found = text(self.rest).chars().take(60).collect::<String>();
        Bad::new("LINE_MALFORMED", format!("expected {expected}; found '{found}'"))
    }
}

fn microseconds(rest: &[u8]) -> Result<Option<String>, Bad> {
    let rest = rest.trim_ascii();
    match rest {
        [] | b"-" => Ok(None),
        digits if digits.iter().all(u8::is_ascii_digit) => Ok(Some(text(digits))),
        other => {
            let found = text(other).chars().take(60).collect::<String>();
            Err(Bad::new("LINE_MALFORMED", format!("expected the end of the line, or microseconds, after the agent; found '{found}'")))
        }
    }
}

/// Method and path of `METHOD target HTTP/x`; a target may have unescaped spaces, and HTTP 0.9 names no version.
fn request_parts(request: &[u8]) -> Option<(String, String)> {
    let request = std::str::from_utf8(request).map(str::to_owned).unwrap_or_else(|_| text(request));
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
