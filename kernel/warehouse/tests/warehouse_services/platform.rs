use std::io::Write;

use backplane_proto::ingest::v1::{
    FeedStatus, FileHeader, ImportResult, ListFeedStatusesRequest, ListFeedsRequest, PutFeedRequest, RetractFileRequest, RetractFileResponse,
};
use flate2::{Compression, write::GzEncoder};
use kernel_base::CallContext;
use sha2::{Digest, Sha256};
use tonic::Status;

use crate::kernel::{Kernel, province};

/// A file as a platform sends it, with what its control file says.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) feed: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: u64,
}

impl Sent {
    /// Of the text of a file named as its feed's contract says, in the encoding that the platform uses. Lines are rows.
    pub(crate) fn new(name: &str, text: &str) -> Sent {
        let feed = name.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let is_gb18030 = ["boss.", "ringback.", "service."].iter().any(|platform| feed.starts_with(platform));
        let encoded = if is_gb18030 { gb18030(text) } else { text.as_bytes().to_vec() };
        let headers = u64::from(name.ends_with(".csv"));
        let rows = (text.lines().filter(|line| !line.trim().is_empty()).count() as u64).saturating_sub(headers);
        Sent { feed, name: name.to_owned(), bytes: if name.ends_with(".gz") { gzip(&encoded) } else { encoded }, rows }
    }

    /// The same file under another name.
    pub(crate) fn named(&self, name: &str) -> Sent {
        Sent { name: name.to_owned(), ..self.clone() }
    }

    pub(crate) fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// The line of its control file, right in every field.
    pub(crate) fn control(&self) -> String {
        let period = self.name.split('.').nth(3).unwrap_or_default();
        format!("{}|{}|{}|{period}", self.name, self.rows, self.sha256())
    }

    pub(crate) fn header(&self) -> FileHeader {
        FileHeader {
            feed: self.feed.clone(),
            file_name: self.name.clone(),
            size_bytes: self.bytes.len() as i64,
            control_file: self.control(),
            ..FileHeader::default()
        }
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn gb18030(text: &str) -> Vec<u8> {
    encoding_rs::GB18030.encode(text).0.into_owned()
}

/// A row of `misc.usage`: `events` uses of a product by who has the number, at noon of the day.
pub(crate) fn usage(number: u64, product: &str, day: &str, events: u64) -> String {
    let fields = [
        number.to_string(),
        "sp1".to_owned(),
        "10086".to_owned(),
        product.to_owned(),
        format!("{day}120000"),
        events.to_string(),
        "1".to_owned(),
        "0".to_owned(),
        "0".to_owned(),
        "1.50".to_owned(),
        events.to_string(),
        "0".to_owned(),
    ];
    format!("{}\n", fields.join("\u{1}"))
}

/// A row of `boss.enrolment` with a status as the platform codes it.
pub(crate) fn enrolment(id: &str, customer_id: u64, package: &str, status: &str) -> String {
    format!("{id}|\\N|{customer_id}|2026-01-05 10:00:00|{package}|store|\\N|20260105|20270104|{status}|\\N\n")
}

/// The numbers of [`number`], which customers 1 to `count` of Foshan have since 2020.
pub(crate) fn numbers(count: u64) -> Sent {
    let rows: String = (1..=count).map(|customer| format!("{}|{customer}|20200101|\\N\n", number(customer))).collect();
    Sent::new("boss.number.440600.202512.txt.gz", &rows)
}

pub(crate) fn number(customer_id: u64) -> u64 {
    13_900_000_000 + customer_id
}

impl Kernel {
    /// Imports a file with its control file.
    pub(crate) async fn send(&self, context: &CallContext, sent: &Sent) -> Result<ImportResult, Status> {
        self.import_parts(context, sent.header(), &sent.bytes).await
    }

    pub(crate) async fn retract(&self, context: &CallContext, sent: &Sent) -> Result<RetractFileResponse, Status> {
        let request = RetractFileRequest { feed: sent.feed.clone(), file_sha256: sent.sha256(), reason: "a test".to_owned(), ..RetractFileRequest::default() };
        self.ingest(context).retract_file(request).await.map(tonic::Response::into_inner)
    }

    /// The contract of a feed as it was written, with its revision.
    pub(crate) async fn feed_contract(&self, feed: &str) -> (String, i64) {
        let request = ListFeedsRequest { page_size: 1_000, ..ListFeedsRequest::default() };
        let feeds = self.ingest(&province()).list_feeds(request).await.unwrap().into_inner().feeds;
        let found = feeds.into_iter().find(|found| found.name == feed).unwrap();
        (found.document, found.revision)
    }

    pub(crate) async fn put_feed(&self, document: &str, after_revision: i64) -> Result<i64, Status> {
        let request = PutFeedRequest { document: document.to_owned(), after_revision };
        self.ingest(&province()).put_feed(request).await.map(|answer| answer.into_inner().revision)
    }

    /// Lets a feed take files however many of their rows are bad: a small ugly file has a large share of them.
    pub(crate) async fn allow_bad_rows(&self, feed: &str) {
        let (document, revision) = self.feed_contract(feed).await;
        let lenient = document.lines().map(|line| if line.starts_with("bad_rows_permille_max:") { "bad_rows_permille_max: 1000" } else { line });
        self.put_feed(&lenient.collect::<Vec<_>>().join("\n"), revision).await.unwrap();
    }

    pub(crate) async fn statuses(&self, context: &CallContext, feed: &str) -> Vec<FeedStatus> {
        let request = ListFeedStatusesRequest { feed: feed.to_owned(), ..ListFeedStatusesRequest::default() };
        self.ingest(context).list_feed_statuses(request).await.unwrap().into_inner().statuses
    }
}
