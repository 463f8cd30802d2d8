use std::ffi::{c_char, c_int, c_uint, c_void};

use libc::{AT_FDCWD, AT_REMOVEDIR, mode_t, off_t, size_t, ssize_t};
use recorded_disk::{Operation, OperationKind};

use crate::recorder::{Fault, Opened, absolute, fail, give_up, raw_open, recorder};

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
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's. The mode is in its register whether or not it was given.
    unsafe { open_in(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_in(AT_FDCWD, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_in(folder, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_in(folder, path, flags, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
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
    let Some((mut recorder, file)) = recorder().and_then(|mut recorder| match recorder.opened(fd) {
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
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: as the caller's.
    unsafe { write_at(fd, bytes, count, None) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: size_t, place: off_t) -> ssize_t {
    // SAFETY: as the caller's.
    unsafe { write_at(fd, bytes, count, Some(place)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, count: size_t, place: off_t) -> ssize_t {
    // SAFETY: as the caller's.
    unsafe { write_at(fd, bytes, count, Some(place)) }
}

/// Writes the first of several pieces, as the function may: whoever calls it goes on with the rest.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, pieces: *const libc::iovec, count: c_int) -> ssize_t {
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
unsafe extern "C" fn ftruncate(fd: c_int, length: off_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { truncate_to(fd, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, length: off_t) -> c_int {
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
extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd)
}

#[unsafe(no_mangle)]
extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd)
}

/// Does what a call says and records it, when it is about a path below the folder.
unsafe fn change(kind: OperationKind, from: (c_int, *const c_char), to: Option<(c_int, *const c_char)>, call: impl FnOnce() -> c_int) -> c_int {
    let Some(mut recorder) = recorder() else {
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
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn renameat(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat2(from_folder, from, to_folder, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn renameat2(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char, flags: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe {
        change(OperationKind::Rename, (from_folder, from), Some((to_folder, to)), || {
            libc::syscall(libc::SYS_renameat2, from_folder, from, to_folder, to, flags) as c_int
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn link(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { linkat(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn linkat(from_folder: c_int, from: *const c_char, to_folder: c_int, to: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe {
        change(OperationKind::Link, (from_folder, from), Some((to_folder, to)), || {
            libc::syscall(libc::SYS_linkat, from_folder, from, to_folder, to, flags) as c_int
        })
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { unlinkat(AT_FDCWD, path, 0) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { unlinkat(AT_FDCWD, path, AT_REMOVEDIR) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { change(OperationKind::Remove, (folder, path), None, || libc::syscall(libc::SYS_unlinkat, folder, path, flags) as c_int) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mkdirat(AT_FDCWD, path, mode) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdirat(folder: c_int, path: *const c_char, mode: mode_t) -> c_int {
    // SAFETY: as the caller's.
    unsafe { change(OperationKind::MakeFolder, (folder, path), None, || libc::syscall(libc::SYS_mkdirat, folder, path, mode) as c_int) }
}

/// Bytes that the system copies by itself are not seen: who asks for it copies them by reading and writing. So for the next two.
#[unsafe(no_mangle)]
extern "C" fn copy_file_range(_: c_int, _: *mut off_t, _: c_int, _: *mut off_t, _: size_t, _: c_uint) -> ssize_t {
    fail(libc::ENOSYS) as ssize_t
}

#[unsafe(no_mangle)]
extern "C" fn sendfile(_: c_int, _: c_int, _: *mut off_t, _: size_t) -> ssize_t {
    fail(libc::EINVAL) as ssize_t
}

#[unsafe(no_mangle)]
extern "C" fn sendfile64(_: c_int, _: c_int, _: *mut off_t, _: size_t) -> ssize_t {
    fail(libc::EINVAL) as ssize_t
}
