use std::{fs, path::Path};

use crate::error::WarehouseError;

/// Looks whether each file that the catalog names, of whichever snapshot, is there and as long as it was when its rows were acknowledged.
///
/// # Errors
/// With the first that is not.
pub(super) async fn refuse_damaged_files(catalog: &Path, data: &Path) -> Result<(), WarehouseError> {
    let contents = kernel_storage::catalog_contents(catalog).await;
    let contents = contents.map_err(|source| WarehouseError::Storage { doing: "listing the data files of the catalog", source: Box::new(source) })?;
    for file in contents.files {
        let path = data.join(&file.path);
        let problem = match fs::metadata(&path) {
            Ok(there) if there.len() == file.size_bytes.unsigned_abs() => continue,
            Ok(there) => format!("has {} bytes, and the catalog says {}", there.len(), file.size_bytes),
            Err(error) => format!("cannot be read ({error})"),
        };
        return Err(WarehouseError::DataFileDamaged { file: path.display().to_string(), problem });
    }
    Ok(())
}
