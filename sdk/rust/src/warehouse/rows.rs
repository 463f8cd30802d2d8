use std::vec;

use serde::de::DeserializeOwned;

use super::Batches;
use crate::{Status, proto::v1::Reason};

/// The rows of a query as values of a type, one batch in memory at a time. Columns are read by name, so a query names each as its field.
///
/// ```
/// use backplane_sdk::{Day, Status, testing::{self, FakeKernel}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Row {
///     customer_id: i64,
///     agent_id: Option<String>,
/// }
///
/// let made = [Row { customer_id: 1, agent_id: None }, Row { customer_id: 2, agent_id: Some("A7".to_owned()) }];
/// let context = FakeKernel::new().on_query(move |_sql, _values| testing::batch(&made)).context("440600");
/// let rows = context.warehouse().query("SELECT customer_id, agent_id FROM enrolment ORDER BY customer_id").rows::<Row>()?;
/// let mut by_agents = 0;
/// for row in rows {
///     // An error in the middle is an answer that broke off: what was read is not all.
///     by_agents += i32::from(row?.agent_id.is_some());
/// }
/// assert_eq!(by_agents, 1);
/// # Ok::<(), Status>(())
/// ```
pub struct Rows<T> {
    batches: Batches,
    batch: vec::IntoIter<T>,
}

impl<T: DeserializeOwned> Rows<T> {
    pub(super) fn new(batches: Batches) -> Rows<T> {
        Rows { batches, batch: Vec::new().into_iter() }
    }

    /// The snapshot that the query reads.
    pub fn snapshot_id(&self) -> i64 {
        self.batches.snapshot_id()
    }

    /// All rows that are left, in memory at one time: for queries that bound their rows.
    ///
    /// # Errors
    /// As the rows one by one.
    pub fn into_vec(self) -> Result<Vec<T>, Status> {
        self.collect()
    }

    /// The only row, of a query that always has one (an aggregate without GROUP BY).
    ///
    /// # Errors
    /// INTERNAL when there is none.
    pub fn one(mut self) -> Result<T, Status> {
        self.next().unwrap_or_else(|| Err(Status::internal(Reason::RowsInvalid, "a query that must have one row has none: correct the plugin's SQL")))
    }
}

impl<T: DeserializeOwned> Iterator for Rows<T> {
    type Item = Result<T, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.batch.next() {
                return Some(Ok(row));
            }
            match self.batches.next()? {
                Ok(batch) => match serde_arrow::from_record_batch::<Vec<T>>(&batch) {
                    Ok(rows) => self.batch = rows.into_iter(),
                    Err(error) => return Some(Err(row_type_misfit::<T>(&error))),
                },
                Err(status) => return Some(Err(status)),
            }
        }
    }
}

fn row_type_misfit<T>(error: &serde_arrow::Error) -> Status {
    let row = std::any::type_name::<T>();
    Status::internal(
        Reason::RowsInvalid,
        format!("the columns of a query do not fit the plugin's type {row}: {error}: name each column as its field and give it that type"),
    )
}
