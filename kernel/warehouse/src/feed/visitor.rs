use std::{
    io::{self, Read, Write},
    path::Path,
};

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::WarehouseError;

const KEY_BYTES: usize = 32;

/// Makes visitor ids: a keyed digest of address and agent. Without the key, which never leaves this installation, no address can be guessed from an id, although
/// there are only four billion of them.
#[derive(Clone)]
pub(super) struct VisitorKey(Hmac<Sha256>);

impl VisitorKey {
    /// Reads the key of this installation, making it the first time. Losing the file makes every visitor a new one from then on.
    pub(super) fn open(path: &Path) -> Result<VisitorKey, WarehouseError> {
        let mut key = [0; KEY_BYTES];
        match std::fs::File::open(path) {
            Ok(mut file) => file.read_exact(&mut key).map_err(WarehouseError::storage("reading the visitor key"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                key = kernel_base::random_bytes();
                write_key(path, &key).map_err(WarehouseError::storage("writing the visitor key"))?;
            }
            Err(error) => return Err(WarehouseError::storage("opening the visitor key")(error)),
        }
        Ok(VisitorKey(Hmac::new_from_slice(&key).map_err(WarehouseError::broken)?))
    }

    /// 16 hex characters, equal for equal visitors.
    pub(super) fn visitor_id(&self, address: &str, agent: &str) -> String {
        let mut digest = self.0.clone();
        digest.update(address.as_bytes());
        digest.update(&[0]);
        digest.update(agent.as_bytes());
        digest.finalize().into_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Written under another name first, so that a crash never leaves half a key.
fn write_key(path: &Path, key: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("key.new");
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    super::inbox::sync_folder_of(path)
}
