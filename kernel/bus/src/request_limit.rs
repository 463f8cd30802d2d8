use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use kernel_base::limits::MESSAGE_BYTES_MAX;
use tonic::{Status, body::Body};

use crate::BusFault;

/// A request body that ends with an error at the header of a message above the limit, before any of it is kept.
pub(crate) struct LimitedBody {
    inner: Body,
    header: [u8; 5],
    header_bytes: usize,
    /// Bytes of the current message that are still to come.
    message_left: u64,
}

impl LimitedBody {
    pub(crate) fn new(inner: Body) -> LimitedBody {
        LimitedBody { inner, header: [0; 5], header_bytes: 0, message_left: 0 }
    }

    fn check(&mut self, mut data: &[u8]) -> Result<(), BusFault> {
        while data.has_remaining() {
            if self.message_left > 0 {
                let step = usize::try_from(self.message_left).unwrap_or(usize::MAX).min(data.len());
                data.advance(step);
                self.message_left -= step as u64;
                continue;
            }
            self.header[self.header_bytes] = data.get_u8();
            self.header_bytes += 1;
            if self.header_bytes == self.header.len() {
                self.header_bytes = 0;
                let [_, a, b, c, d] = self.header;
                self.message_left = u64::from(u32::from_be_bytes([a, b, c, d]));
                if self.message_left > MESSAGE_BYTES_MAX as u64 {
                    return Err(BusFault::MessageTooLarge { bytes: self.message_left, bytes_max: MESSAGE_BYTES_MAX });
                }
            }
        }
        Ok(())
    }
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            let data = data.clone();
            if let Err(fault) = self.check(&data) {
                return Poll::Ready(Some(Err(fault.into())));
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
