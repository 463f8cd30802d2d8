use prost::Message;

use crate::{Context, Status, proto::v1::Reason};

// Limit: page sizes, the same as in the kernel's own lists; 1,000 rows of 4 kB are 4 MB of the 16 MiB that a message may have.
const SIZE_DEFAULT: usize = 100;
const SIZE_MAX: usize = 1_000;

/// One page of a list after AIP-158. Its token names the warehouse snapshot of the first page, so that pages neither repeat nor miss rows while data arrives, and
/// the request that it belongs to, so that a token cannot be used with other filters, in another city or under another configuration.
///
/// ```
/// use backplane_sdk::{Context, Page, Paged, Status, proto::plugin::v1::ListPluginsRequest, testing::{self, FakeKernel}};
///
/// #[derive(serde::Serialize, serde::Deserialize)]
/// struct Row {
///     customer_id: i64,
/// }
///
/// // A request with page_size and page_token; what it filters by is the request without them.
/// fn customers(context: &Context, request: &ListPluginsRequest) -> Result<Paged<Row>, Status> {
///     let filter = ListPluginsRequest { page_size: 0, page_token: String::new(), ..request.clone() };
///     let page = Page::read(context, request.page_size, &request.page_token, &filter)?;
///     context.warehouse().query("SELECT customer_id FROM subscriber ORDER BY customer_id").page(&page)
/// }
///
/// let context = FakeKernel::new().on_query(|_, _| testing::batch(&[1, 2, 3].map(|customer_id| Row { customer_id }))).context("440600");
/// let first = customers(&context, &ListPluginsRequest { page_size: 2, ..ListPluginsRequest::default() })?;
/// assert_eq!(first.rows.len(), 2);
/// assert!(!first.next_page_token.is_empty());
/// # Ok::<(), Status>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    size: usize,
    skip: usize,
    snapshot_id: i64,
    fingerprint: u64,
}

impl Page {
    /// Reads `page_size` and `page_token`. 0 takes 100 rows, more than 1,000 gives 1,000. `filter` is the request with both fields cleared.
    ///
    /// # Errors
    /// INVALID_ARGUMENT: FIELD_INVALID for a negative size; PAGE_TOKEN_INVALID for a token that this list did not give out for this request.
    pub fn read<M: Message>(context: &Context, page_size: i32, page_token: &str, filter: &M) -> Result<Page, Status> {
        let size = match usize::try_from(page_size) {
            Ok(0) => SIZE_DEFAULT,
            Ok(size) => size.min(SIZE_MAX),
            Err(_) => return Err(Status::field_invalid("page_size", "page_size must not be negative: leave it out for 100 rows a page")),
        };
        let fingerprint = fingerprint(context, filter);
        let (snapshot_id, skip) = if page_token.is_empty() { (0, 0) } else { read_token(page_token, fingerprint).ok_or_else(token_invalid)? };
        Ok(Page { size, skip, snapshot_id, fingerprint })
    }

    /// The snapshot to pin the query to; 0, the newest, for the first page.
    pub fn snapshot_id(&self) -> i64 {
        self.snapshot_id
    }

    /// Rows to fetch, for LIMIT ([`Query::page`](crate::warehouse::Query::page) puts it there): one more than the page, which tells whether there is another.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size + 1).unwrap_or(i64::MAX)
    }

    /// Rows of the pages before, for OFFSET.
    pub fn offset(&self) -> i64 {
        i64::try_from(self.skip).unwrap_or(i64::MAX)
    }

    /// Cuts the rows fetched with [`limit`](Self::limit) and [`offset`](Self::offset) to the page and gives the next token, empty after the last page.
    pub fn cut<T>(&self, rows: &mut Vec<T>, snapshot_id: i64) -> String {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        if more { self.token(snapshot_id) } else { String::new() }
    }

    /// Takes the page out of all rows, for lists that a plugin computes as a whole, and gives the next token.
    pub fn slice<T>(&self, rows: Vec<T>, snapshot_id: i64) -> (Vec<T>, String) {
        let more = rows.len() > self.skip.saturating_add(self.size);
        let rows = rows.into_iter().skip(self.skip).take(self.size).collect();
        (rows, if more { self.token(snapshot_id) } else { String::new() })
    }

    fn token(&self, snapshot_id: i64) -> String {
        format!("p1.{snapshot_id}.{}.{:016x}", self.skip + self.size, self.fingerprint)
    }
}

/// The rows of a page, and what a list answers besides them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    pub rows: Vec<T>,
    /// Empty after the last page.
    pub next_page_token: String,
    /// What the rows were read from.
    pub snapshot_id: i64,
}

fn read_token(token: &str, fingerprint: u64) -> Option<(i64, usize)> {
    let mut parts = token.strip_prefix("p1.")?.split('.');
    let (snapshot_id, skip, of) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = parts.next().is_none() && u64::from_str_radix(of, 16).ok()? == fingerprint;
    let snapshot_id = snapshot_id.parse::<i64>().ok().filter(|id| *id >= 0)?;
    // Limit: 32 bits of rows before a page; nobody pages further, and the sum with a page cannot overflow.
    let skip = usize::try_from(skip.parse::<u32>().ok()?).ok()?;
    fits.then_some((snapshot_id, skip))
}

fn token_invalid() -> Status {
    let message = "page_token must be the next_page_token of the page before, with every other field, the city and the plugin's configuration unchanged: start again without a token";
    Status::invalid_argument(Reason::PageTokenInvalid, message).at("field", "page_token")
}

/// FNV-1a, 64 bit: the same in every build, and nobody gains by a collision, since a token carries no rights.
fn fingerprint<M: Message>(context: &Context, filter: &M) -> u64 {
    let revision = context.configuration_revision().to_le_bytes();
    let parts = [std::any::type_name::<M>().as_bytes(), context.city().as_bytes(), revision.as_slice(), &filter.encode_to_vec()];
    let bytes = parts.iter().flat_map(|part| part.iter().copied().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
