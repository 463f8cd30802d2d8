use std::{collections::BTreeMap, fs, io, path::Path};

use crate::operation::{Operation, OperationKind};

/// How much is lost of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Nothing, as when a process is killed.
    Nothing,
    /// All of it: a file has the bytes of its last sync, a folder the names of its own.
    Unsynced,
    /// A part that the number chooses: some writes of a file whole, some to a sector's end, and of a folder's changes the later ones.
    Part(u64),
}

const SECTOR_BYTES: usize = 512;

/// A folder on a disk: what is on it, and what a power cut may still take.
#[derive(Debug, Clone)]
pub struct Disk {
    root: String,
    /// Folders by their numbers; 0 is the root.
    folders: Vec<Folder>,
    files: BTreeMap<u64, File>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(u64),
    Folder(usize),
}

#[derive(Debug, Clone, Default)]
struct Folder {
    synced: BTreeMap<String, Node>,
    pending: Vec<NameChange>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Set(String, Node),
    Remove(String),
    /// Within the folder: both names or neither.
    Move(String, String, Node),
}

#[derive(Debug, Clone, Default)]
struct File {
    /// As the process sees it.
    now: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<ByteChange>,
}

#[derive(Debug, Clone)]
enum ByteChange {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl Disk {
    /// An empty folder.
    pub fn new(root: &Path) -> Disk {
        Disk { root: root.to_string_lossy().into_owned(), folders: vec![Folder::default()], files: BTreeMap::new() }
    }

    /// Plays an operation.
    ///
    /// # Panics
    /// When it names what was never made: the record is not whole.
    pub fn play(&mut self, operation: &Operation) {
        match operation.kind() {
            OperationKind::Unknown => panic!("an operation of no kind"),
            OperationKind::CreateFile => {
                self.files.insert(operation.file, File::default());
                self.set(&operation.path, Node::File(operation.file));
            }
            OperationKind::Write => {
                let offset = usize::try_from(operation.offset).expect("an offset in memory");
                self.file(operation.file).change(ByteChange::Write(offset, operation.bytes.clone()));
            }
            OperationKind::Truncate => {
                let length = usize::try_from(operation.offset).expect("a length in memory");
                self.file(operation.file).change(ByteChange::Truncate(length));
            }
            OperationKind::SyncFile => {
                let file = self.file(operation.file);
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.synced);
                }
            }
            // As Linux may: the pages are taken for clean.
            OperationKind::FailSync => self.file(operation.file).pending.clear(),
            OperationKind::MakeFolder => {
                self.folders.push(Folder::default());
                self.set(&operation.path, Node::Folder(self.folders.len() - 1));
            }
            OperationKind::SyncFolder => {
                let folder = self.folder(&operation.path);
                for change in std::mem::take(&mut folder.pending) {
                    change.apply(&mut folder.synced);
                }
            }
            OperationKind::Rename => self.rename(&operation.path, &operation.to),
            OperationKind::Link => {
                let node = self.node(&operation.path);
                self.set(&operation.to, node);
            }
            OperationKind::Remove => {
                let (folder, name) = self.parent(&operation.path);
                self.folders[folder].pending.push(NameChange::Remove(name));
            }
        }
    }

    /// Writes out the folder as it would be found after a power cut now.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_to(&self, path: &Path, loss: Loss) -> io::Result<()> {
        let mut random = Random(if let Loss::Part(seed) = loss { seed } else { 0 });
        self.write_folder(0, path, loss, &mut random)
    }

    fn write_folder(&self, folder: usize, path: &Path, loss: Loss, random: &mut Random) -> io::Result<()> {
        fs::create_dir_all(path)?;
        let folder = &self.folders[folder];
        let kept = match loss {
            Loss::Nothing => folder.pending.len(),
            Loss::Unsynced => 0,
            Loss::Part(_) => random.below(folder.pending.len() + 1),
        };
        for (name, node) in names(folder, kept) {
            match node {
                Node::Folder(folder) => self.write_folder(folder, &path.join(name), loss, random)?,
                Node::File(file) => fs::write(path.join(name), self.files[&file].bytes(loss, random))?,
            }
        }
        Ok(())
    }

    fn file(&mut self, file: u64) -> &mut File {
        self.files.get_mut(&file).expect("a file that was made")
    }

    fn folder(&mut self, path: &str) -> &mut Folder {
        match self.node(path) {
            Node::Folder(folder) => &mut self.folders[folder],
            Node::File(_) => panic!("{path} is a file"),
        }
    }

    fn node(&self, path: &str) -> Node {
        let below = path.strip_prefix(&self.root).expect("a path below the root");
        below.split('/').filter(|part| !part.is_empty()).fold(Node::Folder(0), |node, part| match node {
            Node::Folder(folder) => *names(&self.folders[folder], usize::MAX).get(part).unwrap_or_else(|| panic!("{path} was never made")),
            Node::File(_) => panic!("{path} goes through a file"),
        })
    }

    fn parent(&self, path: &str) -> (usize, String) {
        let (parent, name) = path.rsplit_once('/').expect("an absolute path");
        match self.node(parent) {
            Node::Folder(folder) => (folder, name.to_owned()),
            Node::File(_) => panic!("{parent} is a file"),
        }
    }

    fn set(&mut self, path: &str, node: Node) {
        let (folder, name) = self.parent(path);
        self.folders[folder].pending.push(NameChange::Set(name, node));
    }

    fn rename(&mut self, from: &str, to: &str) {
        let node = self.node(from);
        let ((old_folder, old), (new_folder, new)) = (self.parent(from), self.parent(to));
        if old_folder == new_folder {
            self.folders[old_folder].pending.push(NameChange::Move(old, new, node));
        } else {
            self.folders[new_folder].pending.push(NameChange::Set(new, node));
            self.folders[old_folder].pending.push(NameChange::Remove(old));
        }
    }
}

/// The names of a folder after so many of the changes that are not synced.
fn names(folder: &Folder, kept: usize) -> BTreeMap<String, Node> {
    let mut names = folder.synced.clone();
    folder.pending.iter().take(kept).for_each(|change| change.apply(&mut names));
    names
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            NameChange::Set(name, node) => {
                names.insert(name.clone(), *node);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::Move(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl File {
    fn change(&mut self, change: ByteChange) {
        change.apply(&mut self.now);
        self.pending.push(change);
    }

    fn bytes(&self, loss: Loss, random: &mut Random) -> Vec<u8> {
        if loss == Loss::Nothing {
            return self.now.clone();
        }
        let mut bytes = self.synced.clone();
        for change in self.pending.iter().filter(|_| loss != Loss::Unsynced) {
            match (random.below(6), change) {
                (0..3, _) => change.apply(&mut bytes),
                (3, ByteChange::Write(offset, written)) => {
                    // Up to the end of a sector; the file may be as long as it was to be, with zeros.
                    let sectors = random.below((offset + written.len()) / SECTOR_BYTES - offset / SECTOR_BYTES + 1);
                    let kept = if sectors == 0 { 0 } else { (offset / SECTOR_BYTES + sectors) * SECTOR_BYTES - offset };
                    ByteChange::Write(*offset, written[..kept].to_vec()).apply(&mut bytes);
                    if random.below(2) == 0 {
                        bytes.resize(bytes.len().max(offset + written.len()), 0);
                    }
                }
                _ => {}
            }
        }
        bytes
    }
}

impl ByteChange {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            ByteChange::Truncate(length) => bytes.resize(*length, 0),
            ByteChange::Write(_, written) if written.is_empty() => {}
            ByteChange::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
        }
    }
}

/// A small generator, so that a number names one loss for ever (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(end.max(1)).expect("a small number")).expect("below the end")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(kind: OperationKind, path: &str, file: u64, offset: u64, bytes: &[u8]) -> Operation {
        Operation { kind: kind.into(), path: path.to_owned(), to: String::new(), file, offset, bytes: bytes.to_vec() }
    }

    fn renamed(from: &str, to: &str) -> Operation {
        Operation { to: to.to_owned(), ..operation(OperationKind::Rename, from, 0, 0, &[]) }
    }

    /// The files of a folder and of those in it, with their texts.
    fn found(disk: &Disk, loss: Loss) -> Vec<(String, String)> {
        fn read(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    read(&path, root, found);
                } else {
                    let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
                    found.push((name, fs::read_to_string(&path).expect("text")));
                }
            }
        }
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        disk.write_to(folder.path(), loss).expect("the folder is written");
        let mut all = Vec::new();
        read(folder.path(), folder.path(), &mut all);
        all.sort();
        all
    }

    fn texts<const N: usize>(texts: [(&str, &str); N]) -> Vec<(String, String)> {
        texts.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
    }

    #[test]
    fn what_was_not_synced_is_lost_and_what_was_is_not() {
        use OperationKind::{CreateFile, MakeFolder, Remove, SyncFile, SyncFolder, Truncate, Write};
        let mut disk = Disk::new(Path::new("/d"));
        for step in [
            operation(MakeFolder, "/d/in", 0, 0, &[]),
            operation(CreateFile, "/d/in/a", 1, 0, &[]),
            operation(Write, "", 1, 0, b"first"),
            operation(SyncFile, "", 1, 0, &[]),
            operation(Write, "", 1, 5, b" more"),
        ] {
            disk.play(&step);
        }
        assert_eq!(found(&disk, Loss::Nothing), texts([("in/a", "first more")]));
        assert_eq!(found(&disk, Loss::Unsynced), texts([]), "its folder's name is not on disk");
        disk.play(&operation(SyncFolder, "/d", 0, 0, &[]));
        assert_eq!(found(&disk, Loss::Unsynced), texts([]), "nor its own");
        disk.play(&operation(SyncFolder, "/d/in", 0, 0, &[]));
        assert_eq!(found(&disk, Loss::Unsynced), texts([("in/a", "first")]));
        disk.play(&renamed("/d/in/a", "/d/in/b"));
        disk.play(&operation(Truncate, "", 1, 2, &[]));
        assert_eq!(found(&disk, Loss::Unsynced), texts([("in/a", "first")]));
        assert_eq!(found(&disk, Loss::Nothing), texts([("in/b", "fi")]));
        disk.play(&operation(SyncFolder, "/d/in", 0, 0, &[]));
        disk.play(&operation(Remove, "/d/in/b", 0, 0, &[]));
        assert_eq!(found(&disk, Loss::Unsynced), texts([("in/b", "first")]));
        assert_eq!(found(&disk, Loss::Nothing), texts([]));
        // Whatever a number chooses is one of what may be, and the same each time.
        let some: Vec<_> = (0..50).map(|seed| found(&disk, Loss::Part(seed))).collect();
        let named = |text: &str| texts([("in/b", text)]);
        let may_be = [texts([]), named("first"), named("fi"), named("first more"), named("first\0\0\0\0\0")];
        assert!(some.iter().all(|some| may_be.contains(some)), "{some:?}");
        assert!(some.contains(&texts([])) && some.contains(&named("first")));
        assert_eq!(found(&disk, Loss::Part(7)), some[7]);
        disk.play(&operation(OperationKind::FailSync, "", 1, 0, &[]));
        disk.play(&operation(Write, "", 1, 2, b"nal"));
        disk.play(&operation(SyncFile, "", 1, 0, &[]));
        assert_eq!(found(&disk, Loss::Unsynced), named("final"), "what a failed sync should have written is lost, what came after it is not");
    }
}
