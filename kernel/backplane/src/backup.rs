//! Copies of what a kernel keeps: `backplane backup` makes one, also while the kernel runs, and `backplane restore` makes a kernel's folder of one.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, BufWriter, Read, Write as _},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{self, Component, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel_storage::{catalog_contents, copy_database};
use sha2::{Digest, Sha256};

use crate::{
    kernel::{AUDIT_LOG, CATALOG, DATA, ROWS, VISITOR_KEY},
    output::say,
    serve::DEFAULT_DIR,
};

/// The digest and path of each file, as `sha256sum` writes and checks them; what has it is whole.
const SUMS: &str = "SHA256SUMS";

// Limit: bytes that are read at one time.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Args)]
pub(crate) struct BackupArguments {
    /// Folder to make for the backup
    to: PathBuf,
    /// Where the kernel keeps everything
    #[arg(long, env = "BACKPLANE_DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct RestoreArguments {
    /// Folder of a backup
    from: PathBuf,
    /// Where a kernel shall keep everything; it is made
    #[arg(long, env = "BACKPLANE_DIR", default_value = DEFAULT_DIR)]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Copies what the kernel has acknowledged until now. The folder has its name when all of it is on disk.
pub(crate) async fn backup(arguments: BackupArguments) -> anyhow::Result<()> {
    let BackupArguments { to, dir, json } = arguments;
    for file in [ROWS, CATALOG] {
        ensure!(dir.join(file).is_file(), "{} is no folder of a kernel: it has no {file}; give the one that 'serve --dir' has", dir.display());
    }
    let above = path::absolute(&to)?;
    let inside = above.ancestors().find_map(|above| above.canonicalize().ok()).is_some_and(|above| dir.canonicalize().is_ok_and(|dir| above.starts_with(dir)));
    ensure!(!inside, "{} is in the kernel's own folder: name one beside it, better one on another disk", to.display());
    let mut copies = Copies::begin(&to)?;
    // The catalog before the rows: a contract may have columns that its table lacks, which the next start adds, and not the other way round. Files that the catalog
    // names stay for two hours after a merge took their place.
    copy_database(&dir.join(CATALOG), &copies.place(CATALOG)?).await?;
    let contents = catalog_contents(&copies.place(CATALOG)?).await?;
    let bar = progress(contents.files.iter().map(|file| file.size_bytes.unsigned_abs()).sum());
    for file in &contents.files {
        let path = format!("{DATA}/{}", file.path);
        let bytes = copies.copy(&dir, &path, None)?;
        ensure!(
            bytes == file.size_bytes.unsigned_abs(),
            "{} has {bytes} bytes and the catalog says {}: the file was damaged; restore it from an earlier backup",
            dir.join(&path).display(),
            file.size_bytes
        );
        bar.inc(bytes);
    }
    bar.finish_and_clear();
    for file in [VISITOR_KEY, AUDIT_LOG].into_iter().filter(|file| dir.join(file).exists()) {
        copies.copy(&dir, file, None)?;
    }
    copy_database(&dir.join(ROWS), &copies.place(ROWS)?).await?;
    for database in [CATALOG, ROWS] {
        copies.note(database)?;
    }
    let (files, bytes) = copies.finish(true)?;
    let snapshot = contents.newest_snapshot_id;
    match json {
        true => say(serde_json::json!({"backup": to, "snapshot_id": snapshot, "files": files, "bytes": bytes})),
        false => say(format!(
            "snapshot {snapshot} is in {}: {files} files, {bytes} bytes; 'sha256sum --check {SUMS}' there finds out whether it still is",
            to.display()
        )),
    }
    Ok(())
}

/// Copies a backup, whose files have to be what they were, to where a kernel can be started.
pub(crate) fn restore(arguments: &RestoreArguments) -> anyhow::Result<()> {
    let RestoreArguments { from, dir, json } = arguments;
    let sums = fs::read_to_string(from.join(SUMS))
        .with_context(|| format!("{} is no whole backup: it has no {SUMS}; one that was cut off ends in .partial, make another", from.display()))?;
    let sums: Vec<(&str, &str)> = sums.lines().map(sum).collect::<Option<_>>().with_context(|| format!("{} is damaged", from.join(SUMS).display()))?;
    for file in [ROWS, CATALOG] {
        ensure!(sums.iter().any(|(_, path)| *path == file), "{} is no backup of a kernel: it has no {file}", from.display());
    }
    let mut copies = Copies::begin(dir)?;
    let bar = progress(sums.iter().filter_map(|(_, path)| fs::metadata(from.join(path)).ok()).map(|metadata| metadata.len()).sum());
    for (digest, path) in sums {
        bar.inc(copies.copy(from, path, Some(digest))?);
    }
    bar.finish_and_clear();
    let (files, bytes) = copies.finish(false)?;
    match json {
        true => say(serde_json::json!({"dir": dir, "files": files, "bytes": bytes})),
        false => say(format!("{files} files, {bytes} bytes are in {}: start the kernel with 'backplane serve --dir {}'", dir.display(), dir.display())),
    }
    Ok(())
}

/// A line of the sums. A path that leads out of the folder is none.
fn sum(line: &str) -> Option<(&str, &str)> {
    let (digest, path) = line.split_once("  ")?;
    let is_below = Path::new(path).components().all(|component| matches!(component, Component::Normal(_)));
    (digest.len() == 64 && is_below && !path.is_empty()).then_some((digest, path))
}

/// A folder that is filled with copies under another name until it is whole.
struct Copies {
    folder: PathBuf,
    partial: PathBuf,
    /// Digest and path of each file.
    sums: Vec<(String, String)>,
    bytes: u64,
}

impl Copies {
    fn begin(folder: &Path) -> anyhow::Result<Copies> {
        ensure!(fs::symlink_metadata(folder).is_err(), "{} is there: nothing of it is overwritten, name a folder that is not there", folder.display());
        let mut partial = folder.file_name().map(OsString::from).with_context(|| format!("{} has no name of its own: name a folder", folder.display()))?;
        partial.push(".partial");
        let partial = folder.with_file_name(partial);
        make(partial.parent().unwrap_or(Path::new(".")))?;
        let made = DirBuilder::new().mode(0o700).create(&partial);
        made.with_context(|| {
            format!("cannot make {}: where it is there, another copy is on its way to it, or one was cut off; remove it then", partial.display())
        })?;
        Ok(Copies { folder: folder.to_owned(), partial, sums: Vec::new(), bytes: 0 })
    }

    /// Where a file goes, in a folder that is there.
    fn place(&self, path: &str) -> anyhow::Result<PathBuf> {
        let place = self.partial.join(path);
        place.parent().map_or(Ok(()), make)?;
        Ok(place)
    }

    /// Copies a file as it is now, and gives its bytes.
    fn copy(&mut self, from: &Path, path: &str, digest: Option<&str>) -> anyhow::Result<u64> {
        let (source, place) = (from.join(path), self.place(path)?);
        let mut reader = File::open(&source).with_context(|| format!("{} cannot be read: it is missing, or this user may not", source.display()))?;
        let (copied, found) = copy_file(&mut reader, &place).with_context(|| format!("{} cannot be copied to {}", source.display(), place.display()))?;
        if digest.is_some_and(|digest| digest != found) {
            bail!("{} is not what was backed up: the file was changed or damaged since; restore another backup", source.display());
        }
        self.add(path, found, copied);
        Ok(copied)
    }

    /// Takes in a file that stands there already.
    fn note(&mut self, path: &str) -> anyhow::Result<()> {
        let place = self.partial.join(path);
        let read = || -> io::Result<(u64, String)> {
            let mut file = File::open(&place)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.sync_all()?;
            digest_of(&mut file, |_| Ok(()))
        };
        let (bytes, digest) = read().with_context(|| format!("{} cannot be read", place.display()))?;
        self.add(path, digest, bytes);
        Ok(())
    }

    fn add(&mut self, path: &str, digest: String, bytes: u64) {
        self.sums.push((digest, path.to_owned()));
        self.bytes += bytes;
    }

    /// Gives the folder its name, with the sums if they are wanted. Tells how many files and bytes are in it.
    fn finish(self, with_sums: bool) -> anyhow::Result<(usize, u64)> {
        let whole = || -> io::Result<()> {
            if with_sums {
                let lines = self.sums.iter().map(|(digest, path)| format!("{digest}  {path}\n")).collect::<String>();
                let mut file = File::create(self.partial.join(SUMS))?;
                file.write_all(lines.as_bytes())?;
                file.sync_all()?;
            }
            sync_folders(&self.partial)?;
            fs::rename(&self.partial, &self.folder)?;
            let above = self.folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(above)?.sync_all()
        };
        whole().with_context(|| format!("{} cannot be finished", self.folder.display()))?;
        Ok((self.sums.len(), self.bytes))
    }
}

/// A copy that failed leaves nothing.
impl Drop for Copies {
    fn drop(&mut self) {
        // After its end there is nothing of that name.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// Nobody else may read it: digests of tokens and the key of the visitors' names are in it.
fn make(folder: &Path) -> anyhow::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes what is read, to disk. Gives its bytes and their SHA-256.
fn copy_file(from: &mut impl Read, to: &Path) -> io::Result<(u64, String)> {
    let mut writer = BufWriter::new(File::options().write(true).create_new(true).mode(0o600).open(to)?);
    let copied = digest_of(from, |piece| writer.write_all(piece))?;
    writer.into_inner()?.sync_all()?;
    Ok(copied)
}

fn digest_of(from: &mut impl Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, String)> {
    let (mut digest, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        digest.update(&piece[..read]);
        take(&piece[..read])?;
        bytes += read as u64;
    }
    let mut hex = String::new();
    for byte in digest.finalize() {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok((bytes, hex))
}

/// The names of files are on disk when their folders are.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    File::open(folder)?.sync_all()
}

fn progress(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
