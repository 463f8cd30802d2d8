use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use hmac::{Hmac, Mac};
use kernel_base::random_bytes;
use sha2::Sha256;
use tracing::warn;
use wasmtime::{Engine, component::Component};

use crate::HostError;

const KEY_BYTES: usize = 32;
const MAC_BYTES: usize = 32;

/// Compiled code on local disk, so that a start does not compile. Loading it is as powerful as running code in the kernel: each file is authenticated
/// with a key that only the process's user can read, and one that does not check out is compiled again.
pub(crate) struct Artifacts {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// What compiled code depends on beside its source: another engine version or setting must not load it.
    engine_hash: u64,
}

impl Artifacts {
    /// Makes the folder and the key when there are none.
    ///
    /// # Errors
    /// When they cannot be made or read.
    pub(crate) fn open(dir: &Path, engine: &Engine) -> Result<Artifacts, HostError> {
        let artifacts = dir.join("artifacts");
        let failed = |source| HostError::File { doing: "make the folder", path: artifacts.display().to_string(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&artifacts).map_err(failed)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Artifacts { key: local_key(&dir.join("artifact.key"))?, dir: artifacts, engine_hash: hasher.finish() })
    }

    /// The compiled component, from the cache when it holds it. Takes a second per megabyte of wasm when it does not: call it where blocking is allowed.
    ///
    /// # Errors
    /// PLUGIN_NOT_A_COMPONENT when the bytes do not compile.
    pub(crate) fn load(&self, engine: &Engine, digest: &str, wasm: &[u8]) -> Result<Component, HostError> {
        let path = self.dir.join(format!("{digest}-{:016x}.cwasm", self.engine_hash));
        match self.read(engine, digest, &path) {
            Ok(component) => return Ok(component),
            Err(Unusable::Absent) => {}
            Err(Unusable::Because(problem)) => {
                warn!(file = %path.display(), problem, "a compiled plugin in the cache is not used; it is compiled again");
            }
        }
        let artifact = engine.precompile_component(wasm).map_err(|error| HostError::NotAComponent { problem: format!("{error:#}").replace('\n', " ") })?;
        if let Err(source) = self.write(digest, &path, &artifact) {
            warn!(file = %path.display(), error = %source, "a compiled plugin cannot be cached; every start compiles it again");
        }
        deserialize(engine, &artifact).map_err(|error| HostError::engine(&error))
    }

    fn read(&self, engine: &Engine, digest: &str, path: &Path) -> Result<Component, Unusable> {
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unusable::Absent,
            _ => Unusable::Because(error.to_string()),
        })?;
        let (mac, artifact) = bytes.split_at_checked(MAC_BYTES).ok_or_else(|| Unusable::Because("it is cut short".to_owned()))?;
        self.mac(digest, artifact).verify_slice(mac).map_err(|_| Unusable::Because("it was not written by this kernel, or was changed".to_owned()))?;
        deserialize(engine, artifact).map_err(|error| Unusable::Because(error.to_string()))
    }

    /// Under another name first: a reader never sees half a file.
    fn write(&self, digest: &str, path: &Path, artifact: &[u8]) -> io::Result<()> {
        let unfinished = path.with_extension(format!("{:016x}.part", u64::from_le_bytes(random_bytes())));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&self.mac(digest, artifact).finalize().into_bytes())?;
        file.write_all(artifact)?;
        fs::rename(unfinished, path)
    }

    /// Covers the digest and the engine too, so that a file cannot stand in for another.
    fn mac(&self, digest: &str, artifact: &[u8]) -> Hmac<Sha256> {
        // A key padded with zeros to the block size is by definition of HMAC the same key, and of a length that the type system knows.
        let mut block = [0; 64];
        block[..KEY_BYTES].copy_from_slice(&self.key);
        let mut mac = <Hmac<Sha256> as Mac>::new(&block.into());
        mac.update(digest.as_bytes());
        mac.update(&self.engine_hash.to_le_bytes());
        mac.update(artifact);
        mac
    }
}

/// Why a cached file is not used.
enum Unusable {
    Absent,
    Because(String),
}

fn deserialize(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes were made by `precompile_component` of an engine with the same settings: just now, or earlier under a MAC whose key is ours alone.
    #[allow(unsafe_code, reason = "loading compiled code cannot be checked by the engine; the MAC over it is what makes it ours")]
    unsafe {
        Component::deserialize(engine, artifact)
    }
}

fn local_key(path: &Path) -> Result<[u8; KEY_BYTES], HostError> {
    let failed = |source| HostError::File { doing: "keep the key", path: path.display().to_string(), source };
    match fs::read(path) {
        Ok(bytes) => match <[u8; KEY_BYTES]>::try_from(bytes) {
            Ok(key) => return Ok(key),
            Err(_) => {
                warn!(file = %path.display(), "the key of compiled plugins has the wrong length; a new one is made and plugins are compiled again");
                fs::remove_file(path).map_err(failed)?;
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let key = random_bytes();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(&key).map_err(failed)?;
    Ok(key)
}
