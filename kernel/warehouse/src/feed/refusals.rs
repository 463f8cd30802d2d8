use std::sync::PoisonError;

use arrow_array::{RecordBatch, cast::AsArray, types::TimestampMicrosecondType};
use datafusion::prelude::{col, lit};
use kernel_base::City;

use super::{FeedContract, Importer, inbox::Uploaded, period::Period};
use crate::{append::tables, error::WarehouseError, lake::TableName};

/// That a file was refused, or that one that was in before came again and was sound.
pub(super) struct Refusal {
    pub(super) city: City,
    /// That of the file's name, where it says one.
    pub(super) period: Option<Period>,
    pub(super) at: i64,
    /// Empty for a file that was sound.
    pub(super) error: String,
}

impl Refusal {
    /// Whether the one, a sound file, ends the other.
    pub(super) fn ends(&self, earlier: &Refusal) -> bool {
        self.error.is_empty() && (self.city, self.period) == (earlier.city, earlier.period) && self.at >= earlier.at
    }
}

impl Importer {
    /// Records for the feed's status that a file was refused before its import began: who sent it may be a program that nobody watches. One that sends the same
    /// again and again is recorded once.
    pub(super) async fn note_refusal(&self, feed: &str, city: City, file_name: &str, error: &WarehouseError) {
        if !error.refuses_file() {
            return;
        }
        let (of_feed, refusal) = ((feed.to_owned(), city), (file_name.to_owned(), error.to_string()));
        let newest = self.newest_refusals.lock().unwrap_or_else(PoisonError::into_inner).insert(of_feed, refusal.clone());
        if newest.as_ref() == Some(&refusal) {
            return;
        }
        let (appender, of, (file_name, text)) = (self.appender.clone(), feed.to_owned(), refusal);
        let noted = self.on_engine(async move { appender.refuse(&of, &city.to_string(), &file_name, "", &text).await }).await;
        if let Err(unrecorded) = noted {
            // The same again is recorded then.
            self.forget_refusal(feed, city);
            tracing::error!(error = %unrecorded, refusal = %error, "a refused file could not be recorded for its feed's status");
        }
    }

    /// Whatever is refused next is recorded, be it the same again: a sound file came in between, or the last could not be recorded.
    pub(super) fn forget_refusal(&self, feed: &str, city: City) {
        self.newest_refusals.lock().unwrap_or_else(PoisonError::into_inner).remove(&(feed.to_owned(), city));
    }

    /// Records that a file that is in came again, when something of its period was refused since: that error is over, and no import tells.
    pub(super) async fn note_sound(&self, uploaded: &Uploaded) -> Result<(), WarehouseError> {
        let contracts = self.contracts.feeds();
        let (feed, city) = (contracts.get(&uploaded.feed)?, uploaded.city.parse()?);
        let (period, at) = (feed.named(&uploaded.file_name).ok().flatten().and_then(|named| named.period), self.clock().now_micros());
        let sound = Refusal { city, period, at, error: String::new() };
        let refusals = self.refusals(feed).await?;
        let is_open = |refusal: &&Refusal| !refusal.error.is_empty() && sound.ends(refusal) && !refusals.iter().any(|other| other.ends(refusal));
        if refusals.iter().any(|refusal| is_open(&refusal)) {
            self.appender.refuse(&uploaded.feed, &uploaded.city, &uploaded.file_name, &uploaded.sha256, "").await?;
        }
        Ok(())
    }

    /// All that is recorded of a feed.
    pub(super) async fn refusals(&self, feed: &FeedContract) -> Result<Vec<Refusal>, WarehouseError> {
        let (lake, of_feed) = (self.appender.lake(), col("feed").eq(lit(feed.name.as_str())));
        let batches = lake.rows(lake.newest(), &TableName::kernel(tables::REFUSAL), Some(of_feed), &["city", "error", "refused_at", "file_name"]).await?;
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| refusal(feed, batch, row))).collect()
    }
}

fn refusal(feed: &FeedContract, batch: &RecordBatch, row: usize) -> Result<Refusal, WarehouseError> {
    let text = |column: usize| batch.column(column).as_string::<i32>().value(row);
    Ok(Refusal {
        city: text(0).parse()?,
        period: feed.named(text(3)).ok().flatten().and_then(|named| named.period),
        at: batch.column(2).as_primitive::<TimestampMicrosecondType>().value(row),
        error: text(1).to_owned(),
    })
}
