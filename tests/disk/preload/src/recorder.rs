use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsStr, c_char, c_int},
    os::unix::ffi::OsStrExt,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use libc::{AT_FDCWD, mode_t};
use prost::Message;
use recorded_disk::{Operation, OperationKind};

static RECORDER: LazyLock<Option<Mutex<Recorder>>> = LazyLock::new(|| Recorder::of_environment().map(Mutex::new));

/// What is known of the files that are open.
pub(crate) struct Recorder {
    root: String,
    record: c_int,
    fault: CString,
    /// `None` for what is no file below the folder.
    pub(crate) opened: HashMap<c_int, Option<Opened>>,
    /// The numbers of files by inode, and the last that was given.
    numbers: HashMap<u64, u64>,
    last: u64,
    /// What the fault file said, and how many operations there were since.
    told: Vec<u8>,
    since: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum Opened {
    File(u64),
    Folder(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    Full,
    Sync,
}

pub(crate) fn recorder() -> Option<MutexGuard<'static, Recorder>> {
    RECORDER.as_ref().map(|recorder| recorder.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Recorder {
    fn of_environment() -> Option<Recorder> {
        let text = |name: &str| std::env::var_os(name).and_then(|value| CString::new(value.as_bytes()).ok());
        let (root, record, fault) = (text("RECORDED_DISK_ROOT")?, text("RECORDED_DISK_RECORD")?, text("RECORDED_DISK_FAULT")?);
        // SAFETY: the path is a text with its end.
        let record = unsafe { raw_open(AT_FDCWD, record.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC, 0o600) };
        Some(Recorder { root: root.into_string().ok()?, record, fault, opened: HashMap::new(), numbers: HashMap::new(), last: 0, told: Vec::new(), since: 0 })
    }

    /// How the disk does for the operation that comes.
    pub(crate) fn fault(&mut self) -> Fault {
        let mut text = [0_u8; 32];
        // SAFETY: the path is a text with its end, and the buffer as long as it is said to be.
        let read = unsafe {
            let fd = raw_open(AT_FDCWD, self.fault.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0);
            let read = libc::syscall(libc::SYS_read, fd, text.as_mut_ptr(), text.len());
            libc::syscall(libc::SYS_close, fd);
            read
        };
        let text = text.get(..usize::try_from(read).unwrap_or(0)).unwrap_or_default();
        if self.told != text {
            (self.told, self.since) = (text.to_vec(), 0);
        }
        self.since += 1;
        let told = str::from_utf8(text).unwrap_or_default();
        let is_due = |after: &str| after.parse::<usize>().is_ok_and(|after| self.since > after);
        match told.split_once(' ').unwrap_or((told, "")) {
            ("full", after) if is_due(after) => Fault::Full,
            ("sync", after) if is_due(after) => Fault::Sync,
            ("stop", _) => {
                // Under the lock, so that no other operation is between the system and the record.
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) }
            }
            _ => Fault::Nothing,
        }
    }

    pub(crate) fn note(&self, operation: &Operation) {
        let bytes = operation.encode_length_delimited_to_vec();
        // SAFETY: the buffer is as long as it is said to be.
        let written = unsafe { libc::syscall(libc::SYS_write, self.record, bytes.as_ptr(), bytes.len()) };
        if usize::try_from(written) != Ok(bytes.len()) {
            give_up("the record cannot be written");
        }
    }

    pub(crate) fn note_path(&self, kind: OperationKind, path: String) {
        self.note(&Operation { kind: kind.into(), path, ..Operation::default() });
    }

    pub(crate) fn is_recorded(&self, path: &str) -> bool {
        let below = path.strip_prefix(&self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below && !path.ends_with("-shm")
    }

    /// What an open descriptor is, also one that was not opened here.
    pub(crate) fn opened(&mut self, fd: c_int) -> Option<Opened> {
        if !self.opened.contains_key(&fd) {
            let opened = self.look_up(fd, false).map(|(opened, _)| opened);
            self.opened.insert(fd, opened);
        }
        self.opened.get(&fd).cloned().flatten()
    }

    /// What a descriptor is, and its path; a new file gets a new number.
    pub(crate) fn look_up(&mut self, fd: c_int, is_new: bool) -> Option<(Opened, String)> {
        let path = path_of(fd)?;
        if !self.is_recorded(&path) {
            return None;
        }
        // SAFETY: a stat of all zeros is one, and the call fills it.
        let stat = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            (libc::fstat(fd, &raw mut stat) == 0).then_some(stat)
        }?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
            return Some((Opened::Folder(path.clone()), path));
        }
        if is_new {
            self.last += 1;
            self.numbers.insert(stat.st_ino, self.last);
        }
        let number = self.numbers.get(&stat.st_ino).unwrap_or_else(|| give_up("a file was there before the record began"));
        Some((Opened::File(*number), path))
    }
}

/// Ends the process: a record with a hole would prove anything.
pub(crate) fn give_up(problem: &str) -> ! {
    let text = format!("recorded-disk: {problem}\n");
    // SAFETY: the buffer is as long as it is said to be.
    unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
    std::process::abort()
}

/// The path of an open descriptor.
fn path_of(fd: c_int) -> Option<String> {
    let link = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    let mut path = [0_u8; 4096];
    // SAFETY: the path is a text with its end, and the buffer as long as it is said to be.
    let length = unsafe { libc::syscall(libc::SYS_readlinkat, AT_FDCWD, link.as_ptr(), path.as_mut_ptr(), path.len()) };
    OsStr::from_bytes(path.get(..usize::try_from(length).ok()?)?).to_str().map(str::to_owned)
}

/// An absolute path, of one that may stand in an open folder.
pub(crate) unsafe fn absolute(folder: c_int, path: *const c_char) -> Option<String> {
    // SAFETY: whoever calls the C library gives a text with its end.
    let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    let folder = if folder == AT_FDCWD { std::env::current_dir().ok()?.to_str()?.to_owned() } else { path_of(folder)? };
    Some(format!("{folder}/{path}"))
}

pub(crate) fn fail(error: c_int) -> c_int {
    // SAFETY: the place of this thread's error.
    unsafe { *libc::__errno_location() = error };
    -1
}

pub(crate) unsafe fn raw_open(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { libc::syscall(libc::SYS_openat, folder, path, flags, mode) as c_int }
}
