use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

// Limit: what is kept of the output of one call, the end of it. A panic text with its backtrace is 4 KiB.
const OUTPUT_BYTES_MAX: usize = 16 << 10;

/// What a guest wrote to stdout and stderr during one call: its log lines and its panic text.
#[derive(Clone, Default)]
pub(crate) struct Output {
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Spares the lock in the calls that write nothing, which are most.
    written: AtomicBool,
    bytes: Mutex<Vec<u8>>,
}

impl Output {
    /// Takes what was written since the last time; `None` when that is nothing.
    pub(crate) fn take(&self) -> Option<String> {
        if !self.kept.written.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut bytes = std::mem::take(&mut *self.kept.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        keep_end(&mut bytes);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn append(&self, written: &[u8]) {
        let mut bytes = self.kept.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(written);
        if bytes.len() > 2 * OUTPUT_BYTES_MAX {
            keep_end(&mut bytes);
        }
        self.kept.written.store(true, Ordering::Release);
    }
}

fn keep_end(bytes: &mut Vec<u8>) {
    let surplus = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
    bytes.drain(..surplus);
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(OUTPUT_BYTES_MAX)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
