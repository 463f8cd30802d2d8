use std::{fmt, marker::PhantomData};

use prost::{Message, bytes::Bytes};

use crate::{Messages, Status, context::answer_malformed};

/// The answers of a server-streaming call, decoded one at a time. The call ends when the reader is dropped.
///
/// ```
/// use backplane_sdk::{CallOptions, Reader, Status, proto::warehouse::v1::{QueryRequest, QueryResponse, WarehouseClient}, testing::{self, FakeKernel}};
///
/// #[derive(serde::Serialize)]
/// struct Row {
///     customer_id: i64,
/// }
///
/// let context = FakeKernel::new().snapshot(41).on_query(|_sql, _values| testing::batch(&[Row { customer_id: 1 }])).context("440600");
/// let request = QueryRequest { sql: "SELECT customer_id FROM subscriber".to_owned(), ..QueryRequest::default() };
/// // `Query` reads this very stream as rows; other streaming methods have a client like this one.
/// let mut answers: Reader<QueryResponse> = WarehouseClient::new(&context).query(&CallOptions::default(), &request)?;
/// let first = answers.next().transpose()?;
/// assert_eq!(first.map(|answer| answer.snapshot_id), Some(41));
/// # Ok::<(), Status>(())
/// ```
pub struct Reader<M> {
    method: String,
    messages: Option<Box<dyn Messages>>,
    message: PhantomData<fn() -> M>,
}

impl<M: Message + Default> Reader<M> {
    pub(crate) fn new(method: &str, messages: Box<dyn Messages>) -> Reader<M> {
        Reader { method: method.to_owned(), messages: Some(messages), message: PhantomData }
    }

    fn read(&mut self) -> Result<Option<M>, Status> {
        let Some(messages) = &mut self.messages else {
            return Ok(None);
        };
        // Decoded from `Bytes`, so that byte fields share the message's memory.
        match messages.next()? {
            Some(bytes) => M::decode(Bytes::from(bytes)).map(Some).map_err(|error| answer_malformed(&self.method, &error)),
            None => Ok(None),
        }
    }
}

impl<M: Message + Default> Iterator for Reader<M> {
    type Item = Result<M, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.read().transpose();
        // After an error or the end the call is over: its place among the open readers is given back at once.
        if !matches!(message, Some(Ok(_))) {
            self.messages = None;
        }
        message
    }
}

impl<M> fmt::Debug for Reader<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("method", &self.method).field("open", &self.messages.is_some()).finish_non_exhaustive()
    }
}
