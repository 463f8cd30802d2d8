use std::{collections::HashSet, sync::Arc};

use arrow_array::{ArrayRef, BooleanArray};
use arrow_schema::DataType;
use datafusion::{
    error::DataFusionError,
    logical_expr::{ColumnarValue, Expr, Volatility, create_udf},
    prelude::col,
};

use crate::{error::WarehouseError, rows::value_at};

/// The values of a row's key columns, as one text that is equal for equal keys only.
pub(crate) type RowKey = String;

/// The key of every row, from the key's columns in the order of the contract.
pub(crate) fn row_keys(columns: &[ArrayRef]) -> Result<Vec<RowKey>, WarehouseError> {
    let rows = columns.first().map_or(0, |column| column.len());
    (0..rows)
        .map(|row| {
            let mut key = String::new();
            for column in columns {
                let value = value_at(column, row)?.to_string();
                // The length before the text keeps ("a", "bc") and ("ab", "c") apart.
                key.push_str(&format!("{}:{value}", value.len()));
            }
            Ok(key)
        })
        .collect()
}

/// The condition that a row's key is among `keys`. A function of ours rather than an IN list, because a key may have several columns and a batch 50,000 keys.
pub(crate) fn key_is_one_of(columns: &[(String, DataType)], keys: Arc<HashSet<RowKey>>) -> Expr {
    let types = columns.iter().map(|(_, data_type)| data_type.clone()).collect();
    let contains = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let found = row_keys(&arrays).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(Arc::new(found.iter().map(|key| Some(keys.contains(key))).collect::<BooleanArray>())))
    };
    let function = create_udf("key_is_one_of", types, DataType::Boolean, Volatility::Immutable, Arc::new(contains));
    function.call(columns.iter().map(|(name, _)| col(name)).collect())
}
