//! How things are kept: rows in a SQL database, and files that are on disk when a write returns.
//!
//! Start from [`RowStore`]: one pool, one file per noun with the SQL beside the row type.
//!
//! Invariants: the one crate that names sqlx; decides nothing about who may do what; instants are microseconds in BIGINT, documents are text, and each
//! statement is one text for SQLite and PostgreSQL.

mod backup;
mod catalog_file;
mod changed_files;
mod contracts;
mod object;
mod plugins;
mod principals;
mod roles;
mod row_store;
mod tokens;

pub use backup::{BackupError, CatalogContents, CatalogFile, catalog_contents, copy_database};
pub use catalog_file::{CatalogFileError, complete_catalog_file, ends_transactions, newest_snapshot_time, prepare_catalog_file};
pub use changed_files::{ChangedFile, ListedFile, changed_files};
pub use contracts::ContractRow;
pub use object::SyncedFiles;
pub use plugins::{DeploymentRow, PluginVersionRow};
pub use principals::PrincipalRow;
pub use roles::{RoleGrantRow, RoleRow};
pub use row_store::{RowStore, StorageError};
pub use tokens::TokenRow;
