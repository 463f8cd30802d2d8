use super::{Appender, tables};
use crate::{
    error::WarehouseError,
    lake::TableName,
    rows::{RowsBuilder, Value},
};

impl Appender {
    /// Records that a feed stopped a file, for the feed's status.
    pub(crate) async fn refuse(&self, feed: &str, city: &str, file_name: &str, sha256: &str, error: &str) -> Result<(), WarehouseError> {
        let mut rows = RowsBuilder::new(tables::refusal())?;
        rows.push(vec![feed.into(), city.into(), file_name.into(), sha256.into(), error.into(), Value::Instant(self.clock.now_micros())])?;
        let mut transaction = self.lake.begin().await?;
        transaction.append_few(&TableName::kernel(tables::REFUSAL), &tables::refusal(), &[rows.finish()?]).await?;
        transaction.commit(|_| ()).await.map(drop)
    }
}
