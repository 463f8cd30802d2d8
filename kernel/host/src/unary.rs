//! gRPC's framing of one message each way, over bytes that nobody here reads: a flag (0, not compressed), the length as four big-endian bytes, the message.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use kernel_base::limits::MESSAGE_BYTES_MAX;
use tonic::{Status, body::Body};

use crate::HostError;

const HEADER_BYTES: usize = 5;

/// The one message of a request. A request that came in one piece is not copied.
///
/// # Errors
/// MESSAGE_TOO_LARGE, found at the header; INVALID_ARGUMENT when the body is not exactly one message without compression; what the body itself fails with.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
        let Ok(piece) = frame?.into_data() else {
            continue;
        };
        if first.is_empty() && rest.is_empty() {
            first = piece;
        } else {
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&piece);
        }
        refuse_large(if rest.is_empty() { &first } else { &rest })?;
    }
    let framed = if rest.is_empty() { first } else { rest.freeze() };
    message_of(framed).ok_or_else(|| {
        let problem = "is not one gRPC message without compression: send one, with the length that its header says".to_owned();
        HostError::Field { field: "request", problem }.into()
    })
}

fn refuse_large(framed: &[u8]) -> Result<(), HostError> {
    let announced = length_of(framed).unwrap_or(0);
    // What follows the message is no part of it, and must not be gathered without end either.
    let bytes = announced.max(framed.len().saturating_sub(HEADER_BYTES));
    if bytes > MESSAGE_BYTES_MAX { Err(HostError::MessageTooLarge { bytes, bytes_max: MESSAGE_BYTES_MAX }) } else { Ok(()) }
}

fn length_of(framed: &[u8]) -> Option<usize> {
    let length: [u8; 4] = framed.get(1..HEADER_BYTES)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(length)).ok()
}

fn message_of(mut framed: Bytes) -> Option<Bytes> {
    let (flag, length) = (*framed.first()?, length_of(&framed)?);
    let message = framed.split_off(HEADER_BYTES);
    (flag == 0 && message.len() == length).then_some(message)
}

/// An answer of one message.
pub(crate) fn answer(message: &[u8]) -> Response<Body> {
    let mut framed = BytesMut::with_capacity(HEADER_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    let mut response = Response::new(Body::new(Answer { framed: Some(framed.freeze()), ended: false }));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The message, then the trailers that say OK.
struct Answer {
    framed: Option<Bytes>,
    ended: bool,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(framed) = self.framed.take() {
            return Poll::Ready(Some(Ok(Frame::data(framed))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    /// All of it is there. Without a lower bound: an exact size would be announced in a header.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_upper(self.framed.as_ref().map_or(0, Bytes::len) as u64);
        hint
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use tonic::Code;

    use super::*;

    /// A body of these pieces.
    struct Pieces(Vec<&'static [u8]>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            let next = (!self.0.is_empty()).then(|| self.0.remove(0));
            Poll::Ready(next.map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
        }
    }

    async fn read_pieces(pieces: &'static [&'static [u8]]) -> Result<Bytes, Status> {
        read(Body::new(Pieces(pieces.to_vec()))).await
    }

    #[tokio::test]
    async fn a_message_is_read_however_it_was_cut() {
        let cuts: [&'static [&'static [u8]]; 3] = [&[b"\0\0\0\0\x03abc"], &[b"\0\0", b"\0\0\x03a", b"", b"bc"], &[b"", b"\0\0\0\0\x03", b"abc"]];
        for pieces in cuts {
            assert_eq!(read_pieces(pieces).await.unwrap(), "abc");
        }
        assert_eq!(read_pieces(&[b"\0\0\0\0\0"]).await.unwrap(), "");
    }

    #[tokio::test]
    async fn what_is_not_one_plain_message_is_refused() {
        let wrong: [&'static [&'static [u8]]; 5] = [&[], &[b"\0\0\0"], &[b"\0\0\0\0\x03ab"], &[b"\0\0\0\0\x03abcd"], &[b"\x01\0\0\0\x03abc"]];
        for pieces in wrong {
            assert_eq!(read_pieces(pieces).await.unwrap_err().code(), Code::InvalidArgument, "{pieces:?}");
        }
        assert_eq!(read_pieces(&[b"\0\xff\xff\xff\xff", b"a"]).await.unwrap_err().code(), Code::ResourceExhausted);
    }

    #[tokio::test]
    async fn an_answer_is_one_message_and_says_ok() {
        let mut body = pin!(answer(b"abc").into_body());
        let mut next = async || std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await;
        assert_eq!(next().await.unwrap().unwrap().into_data().unwrap(), b"\0\0\0\0\x03abc".as_slice());
        assert_eq!(next().await.unwrap().unwrap().into_trailers().unwrap()["grpc-status"], "0");
        assert!(next().await.is_none());
    }
}
