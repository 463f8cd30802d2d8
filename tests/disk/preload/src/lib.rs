//! Loaded into a process by `LD_PRELOAD`: records what it does to the files of a folder, in the order in which it is done, and has the disk fail when it is told to.
//!
//! - `RECORDED_DISK_ROOT`: the folder, empty when the process starts.
//! - `RECORDED_DISK_RECORD`: the file that gets the operations, outside of the folder.
//! - `RECORDED_DISK_FAULT`: a file; while it says `full`, nothing more can be written below the folder, while it says `sync`, no sync succeeds, and once it says `stop`
//!   the process ends before its next operation, with all that it did in the record.
//!
//! An operation is in the record when its call returns. Syncs are recorded and not done. What is mapped into memory is not seen: SQLite's `-shm` files, which it makes anew.
//! A signal handler that writes may wait for ever for what it interrupted: such a process is ended by `stop` or `SIGKILL`.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "stands in for functions of the C library")]
#![allow(clippy::missing_safety_doc, reason = "those of the functions that these stand in for")]

use std::{
    collections::HashMap,
    ffi::{CStr, CString, OsStr, c_char, c_int, c_uint, c_void},
    os::unix::ffi::OsStrExt,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use libc::{AT_FDCWD, AT_REMOVEDIR, mode_t, off_t, size_t, ssize_t};
use prost::Message;
use recorded_disk::{Operation, OperationKind};

static RECORDER: LazyLock<Option<Mutex<Recorder>>> = LazyLock::new(|| Recorder::of_environment().map(Mutex::new));

/// What is known of the files that are open.
struct Recorder {
    root: String,
    record: c_int,
    fault: CString,
    /// `None` for what is no file below the folder.
    opened: HashMap<c_int, Option<Opened>>,
    /// The numbers of files by inode, and the last that was given.
    numbers: HashMap<u64, u64>,
    last: u64,
}

#[derive(Debug, Clone)]
enum Opened {
    File(u64),
    Folder(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Full,
    Sync,
}

fn recorder() -> Option<MutexGuard<'static, Recorder>> {
    RECORDER.as_ref().map(|recorder| recorder.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Recorder {
    fn of_environment() -> Option<Recorder> {
        let text = |name: &str| std::env::var_os(name).and_then(|value| CString::new(value.as_bytes()).ok());
        let (root, record, fault) = (text("RECORDED_DISK_ROOT")?, text("RECORDED_DISK_RECORD")?, text("RECORDED_DISK_FAULT")?);
        // SAFETY: the path is a text with its end.
        let record = unsafe { raw_open(AT_FDCWD, record.as_ptr(), libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | libc::O_CLOEXEC, 0o600) };
        Some(Recorder { root: root.into_string().ok()?, record, fault, opened: HashMap::new(), numbers: HashMap::new(), last: 0 })
    }

    fn fault(&self) -> Fault {
        let mut text = [0_u8; 8];
        // SAFETY: the path is a text with its end, and the buffer as long as it is said to be.
        let read = unsafe {
            let fd = raw_open(AT_FDCWD, self.fault.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC, 0);
            let read = libc::syscall(libc::SYS_read, fd, text.as_mut_ptr(), text.len());
            libc::syscall(libc::SYS_close, fd);
            read
        };
        match text.get(..usize::try_from(read).unwrap_or(0)) {
            Some(b"full") => Fault::Full,
            Some(b"sync") => Fault::Sync,
            Some(b"stop") => {
                // Under the lock, so that no other operation is between the system and the record.
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) }
            }
            _ => Fault::Nothing,
        }
    }

    fn note(&self, operation: &Operation) {
        let bytes = operation.encode_length_delimited_to_vec();
        // SAFETY: the buffer is as long as it is said to be.
        let written = unsafe { libc::syscall(libc::SYS_write, self.record, bytes.as_ptr(), bytes.len()) };
        if usize::try_from(written) != Ok(bytes.len()) {
            give_up("the record cannot be written");
        }
    }

    fn note_path(&self, kind: OperationKind, path: String) {
        self.note(&Operation { kind: kind.into(), path, ..Operation::default() });
    }

    fn is_recorded(&self, path: &str) -> bool {
        let below = path.strip_prefix(&self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below && !path.ends_with("-shm")
    }

    /// What an open descriptor is, also one that was not opened here.
    fn opened(&mut self, fd: c_int) -> Option<Opened> {
        if !self.opened.contains_key(&fd) {
            let opened = self.look_up(fd, false).map(|(opened, _)| opened);
            self.opened.insert(fd, opened);
        }
        self.opened.get(&fd).cloned().flatten()
    }

    /// What a descriptor is, and its path; a new file gets a new number.
    fn look_up(&mut self, fd: c_int, is_new: bool) -> Option<(Opened, String)> {
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
fn give_up(problem: &str) -> ! {
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
unsafe fn absolute(folder: c_int, path: *const c_char) -> Option<String> {
    // SAFETY: whoever calls the C library gives a text with its end.
    let path = unsafe { CStr::from_ptr(path) }.to_str().ok()?;
    if path.starts_with('/') {
        return Some(path.to_owned());
    }
    let folder = if folder == AT_FDCWD { std::env::current_dir().ok()?.to_str()?.to_owned() } else { path_of(folder)? };
    Some(format!("{folder}/{path}"))
}

fn fail(error: c_int) -> c_int {
    // SAFETY: the place of this thread's error.
    unsafe { *libc::__errno_location() = error };
    -1
}

unsafe fn raw_open(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { libc::syscall(libc::SYS_openat, folder, path, flags, mode) as c_int }
}

unsafe fn open_in(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let Some(mut recorder) = recorder() else {
        // SAFETY: as the caller's.
        return unsafe { raw_open(folder, path, flags, mode) };
    };
    let creates = flags & libc::O_CREAT != 0;
    // SAFETY: as the caller's.
    let is_new = creates && unsafe { libc::syscall(libc::SYS_faccessat, folder, path, libc::F_OK) } != 0;
    // SAFETY: as the caller's.
    if is_new && unsafe { absolute(folder, path) }.is_some_and(|path| recorder.is_recorded(&path)) && recorder.fault() == Fault::Full {
        return fail(libc::ENOSPC);
    }
    // SAFETY: as the caller's.
    let fd = unsafe { raw_open(folder, path, flags, mode) };
    if fd < 0 {
        return fd;
    }
    let found = recorder.look_up(fd, is_new);
    if let Some((Opened::File(file), path)) = &found {
        if is_new {
            recorder.note(&Operation { kind: OperationKind::CreateFile.into(), path: path.clone(), file: *file, ..Operation::default() });
        } else if flags & libc::O_TRUNC != 0 {
            recorder.note(&Operation { kind: OperationKind::Truncate.into(), file: *file, ..Operation::default() });
        }
    }
    recorder.opened.insert(fd, found.map(|(opened, _)| opened));
    fd
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's. The mode is in its register whether or not it was given.
    unsafe { open_in(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_in(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_in(folder, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_in(folder, path, flags, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let mut recorder = recorder();
    if let Some(recorder) = &mut recorder {
        recorder.opened.remove(&fd);
    }
    // SAFETY: as the caller's.
    unsafe { libc::syscall(libc::SYS_close, fd) as c_int }
}

/// Writes bytes at a place, or where the descriptor stands.
unsafe fn write_at(fd: c_int, bytes: *const c_void, count: size_t, place: Option<off_t>) -> ssize_t {
    // SAFETY: as the caller's.
    let write = || unsafe {
        match place {
            Some(place) => libc::syscall(libc::SYS_pwrite64, fd, bytes, count, place) as ssize_t,
            None => libc::syscall(libc::SYS_write, fd, bytes, count) as ssize_t,
        }
    };
    let Some((recorder, file)) = recorder().and_then(|mut recorder| match recorder.opened(fd) {
        Some(Opened::File(file)) => Some((recorder, file)),
        _ => None,
    }) else {
        // Not under the lock: a pipe may wait for its reader.
        return write();
    };
    if recorder.fault() == Fault::Full {
        return fail(libc::ENOSPC) as ssize_t;
    }
    let written = write();
    if let Ok(length @ 1..) = usize::try_from(written) {
        // SAFETY: a descriptor of a file; and the caller's bytes are as many as it said.
        let (end, bytes) = unsafe { (libc::lseek(fd, 0, libc::SEEK_CUR), std::slice::from_raw_parts(bytes.cast::<u8>(), length)) };
        let offset = place.unwrap_or(end - written as off_t);
        let (kind, offset) = (OperationKind::Write.into(), u64::try_from(offset).unwrap_or_else(|_| give_up("a place before the beginning of a file")));
        recorder.note(&Operation { kind, file, offset, bytes: bytes.to_vec(), ..Operation::default() });
    }
    written
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: as the caller's.
    unsafe { write_at(fd, bytes, count, None) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: size_t, place: off_t) -> ssize_t {
    // SAFETY: as the caller's.
    unsafe { write_at(fd, bytes, count, Some(place)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, count: size_t, place: off_t) -> ssize_t {
    // SAFETY: as the caller's.
    unsafe { write_at(fd, bytes, count, Some(place)) }
}

/// Writes the first of several pieces, as the function may: whoever calls it goes on with the rest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, pieces: *const libc::iovec, count: c_int) -> ssize_t {
    let is_file = recorder().is_some_and(|mut recorder| matches!(recorder.opened(fd), Some(Opened::File(_))));
    if !is_file {
        // SAFETY: as the caller's.
        return unsafe { libc::syscall(libc::SYS_writev, fd, pieces, count) as ssize_t };
    }
    // SAFETY: the caller's pieces are as many as it said.
    let pieces = unsafe { std::slice::from_raw_parts(pieces, usize::try_from(count).unwrap_or(0)) };
    match pieces.iter().find(|piece| piece.iov_len > 0) {
        // SAFETY: as the caller's.
        Some(piece) => unsafe { write_at(fd, piece.iov_base, piece.iov_len, None) },
        None => 0,
    }
}

unsafe fn truncate_to(fd: c_int, length: off_t) -> c_int {
    let Some(mut recorder) = recorder() else {
        // SAFETY: as the caller's.
        return unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int };
    };
    let opened = recorder.opened(fd);
    if opened.is_some() && recorder.fault() == Fault::Full && length > 0 {
        return fail(libc::ENOSPC);
    }
    // SAFETY: as the caller's.
    let outcome = unsafe { libc::syscall(libc::SYS_ftruncate, fd, length) as c_int };
    if let (0, Some(Opened::File(file))) = (outcome, opened) {
        recorder.note(&Operation { kind: OperationKind::Truncate.into(), file, offset: u64::try_from(length).unwrap_or(0), ..Operation::default() });
    }
    outcome
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { truncate_to(fd, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { truncate_to(fd, length) }
}

fn sync(fd: c_int) -> c_int {
    let Some(mut recorder) = recorder() else {
        // SAFETY: any number may be given.
        return unsafe { libc::syscall(libc::SYS_fsync, fd) as c_int };
    };
    let opened = recorder.opened(fd);
    if opened.is_some() && recorder.fault() == Fault::Sync {
        if let Some(Opened::File(file)) = opened {
            recorder.note(&Operation { kind: OperationKind::FailSync.into(), file, ..Operation::default() });
        }
        return fail(libc::EIO);
    }
    match opened {
        Some(Opened::File(file)) => recorder.note(&Operation { kind: OperationKind::SyncFile.into(), file, ..Operation::default() }),
        Some(Opened::Folder(path)) => recorder.note_path(OperationKind::SyncFolder, path),
        None => {}
    }
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd)
}

#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd)
}

/// Does what a call says and records it, when it is about a path below the folder.
unsafe fn change(kind: OperationKind, from: (c_int, *const c_char), to: Option<(c_int, *const c_char)>, call: impl FnOnce() -> c_int) -> c_int {
    let Some(recorder) = recorder() else {
        return call();
    };
    // SAFETY: as the caller's.
    let (from, to) = unsafe { (absolute(from.0, from.1), to.and_then(|to| absolute(to.0, to.1))) };
    let is_recorded = from.as_ref().is_some_and(|path| recorder.is_recorded(path));
    if is_recorded && recorder.fault() == Fault::Full && kind != OperationKind::Remove {
        return fail(libc::ENOSPC);
    }
    let outcome = call();
    if outcome == 0 && is_recorded {
        recorder.note(&Operation { kind: kind.into(), path: from.unwrap_or_default(), to: to.unwrap_or_default(), ..Operation::default() });
    }
    outcome
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat2(from_folder, from, to_folder, to, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char, flags: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe {
        change(OperationKind::Rename, (from_folder, from), Some((to_folder, to)), || {
            libc::syscall(libc::SYS_renameat2, from_folder, from, to_folder, to, flags) as c_int
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn linkat(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe {
        change(OperationKind::Link, (from_folder, from), Some((to_folder, to)), || {
            libc::syscall(libc::SYS_linkat, from_folder, from, to_folder, to, flags) as c_int
        })
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { unlinkat(AT_FDCWD, path, 0) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { unlinkat(AT_FDCWD, path, AT_REMOVEDIR) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { change(OperationKind::Remove, (folder, path), None, || libc::syscall(libc::SYS_unlinkat, folder, path, flags) as c_int) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mkdirat(AT_FDCWD, path, mode) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { change(OperationKind::MakeFolder, (folder, path), None, || libc::syscall(libc::SYS_mkdirat, folder, path, mode) as c_int) }
}

/// Bytes that the system copies by itself are not seen: who asks for it copies them by reading and writing. So for the next two.
#[unsafe(no_mangle)]
pub extern "C" fn copy_file_range(_: c_int, _: *mut off_t, _: c_int, _: *mut off_t, _: size_t, _: c_uint) -> ssize_t {
    fail(libc::ENOSYS) as ssize_t
}

#[unsafe(no_mangle)]
pub extern "C" fn sendfile(_: c_int, _: c_int, _: *mut off_t, _: size_t) -> ssize_t {
    fail(libc::EINVAL) as ssize_t
}

#[unsafe(no_mangle)]
pub extern "C" fn sendfile64(_: c_int, _: c_int, _: *mut off_t, _: size_t) -> ssize_t {
    fail(libc::EINVAL) as ssize_t
}
