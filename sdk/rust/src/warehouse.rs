//! The shared data warehouse: `context.warehouse().query("SELECT …  WHERE at >= $1").bind(from).rows::<Row>()`.

mod append;
mod batches;
mod columns;
mod ipc;
mod parameter;
mod query;
mod rows;

pub use batches::Batches;
pub use columns::Columns;
pub use ipc::encode as encode_ipc;
pub use query::Query;
pub use rows::Rows;

use crate::Context;

/// Reads and writes datasets with the rights that the plugin and its caller share.
#[derive(Clone, Copy)]
pub struct Warehouse<'a> {
    context: &'a Context,
}

impl<'a> Warehouse<'a> {
    pub(crate) fn new(context: &'a Context) -> Warehouse<'a> {
        Warehouse { context }
    }

    /// One SELECT, with `$1`, `$2` … for the values given by [`Query::bind`]. It runs when its rows are asked for.
    pub fn query(self, sql: impl Into<String>) -> Query<'a> {
        Query::new(self.context, sql.into())
    }
}
