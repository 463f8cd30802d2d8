use std::{collections::HashSet, sync::Arc};

use arrow_array::{ArrayRef, BooleanArray};
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::DataType;
use datafusion::{
    error::DataFusionError,
    logical_expr::{ColumnarValue, Expr, Volatility, create_udf},
    prelude::col,
};

use crate::error::WarehouseError;

/// The values of a row's key columns, in bytes that are equal for equal keys only.
pub(crate) type RowKey = Box<[u8]>;

/// The key of every row, from the key's columns in the order of the contract.
pub(crate) fn row_keys(columns: &[ArrayRef]) -> Result<Vec<RowKey>, WarehouseError> {
    Ok(row_bytes(columns)?.iter().map(|row| row.data().into()).collect())
}

/// The values of each row in bytes that are equal for equal rows only, whichever batch they stand in.
pub(crate) fn row_bytes(columns: &[ArrayRef]) -> Result<Rows, WarehouseError> {
    let types = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(types).and_then(|converter| converter.convert_columns(columns)).map_err(WarehouseError::broken)
}

/// The condition that a row's key is among `keys`. A function of ours rather than an IN list, because a key may have several columns and a batch 50,000 keys.
pub(crate) fn key_is_one_of(columns: &[(String, DataType)], keys: Arc<HashSet<RowKey>>) -> Expr {
    let types = columns.iter().map(|(_, data_type)| data_type.clone()).collect();
    let contains = move |arguments: &[ColumnarValue]| {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let found = row_bytes(&arrays).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(ColumnarValue::Array(Arc::new(found.iter().map(|key| Some(keys.contains(key.data()))).collect::<BooleanArray>())))
    };
    let function = create_udf("key_is_one_of", types, DataType::Boolean, Volatility::Immutable, Arc::new(contains));
    function.call(columns.iter().map(|(name, _)| col(name)).collect())
}
