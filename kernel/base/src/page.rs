use crate::{Code, Fault, Reason, limits};

/// One page of a list after AIP-158: how many rows, and the key of the last row of the page before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub size: usize,
    pub after: Option<String>,
}

impl Page {
    /// Reads `page_size` and `page_token` of a request. 0 takes the default, more than the maximum is lowered to it.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID for a negative size or a token that no list gave out.
    pub fn read(page_size: i32, page_token: &str) -> Result<Page, PageTokenInvalid> {
        let size = match usize::try_from(page_size) {
            Ok(0) => limits::PAGE_SIZE_DEFAULT,
            Ok(size) => size.min(limits::PAGE_SIZE_MAX),
            Err(_) => return Err(PageTokenInvalid),
        };
        let after = match page_token {
            "" => None,
            token => Some(token.strip_prefix(PREFIX).ok_or(PageTokenInvalid)?.to_owned()),
        };
        Ok(Page { size, after })
    }

    /// Cuts `rows`, of which one more than the page was fetched, to the page, and gives the token of the next page, empty after the last.
    pub fn finish<T>(&self, rows: &mut Vec<T>, key: impl Fn(&T) -> String) -> String {
        if rows.len() <= self.size {
            return String::new();
        }
        rows.truncate(self.size);
        rows.last().map_or_else(String::new, |row| format!("{PREFIX}{}", key(row)))
    }
}

/// Tells our tokens from words that a caller made up.
const PREFIX: &str = "after:";

/// The paging fields make no sense.
#[derive(Debug, thiserror::Error)]
#[error("page_size must not be negative and page_token must be the next_page_token of the page before: start again without a token")]
pub struct PageTokenInvalid;

impl Fault for PageTokenInvalid {
    fn code(&self) -> Code {
        Code::InvalidArgument
    }
    fn reason(&self) -> Reason {
        Reason::PageTokenInvalid
    }
}
