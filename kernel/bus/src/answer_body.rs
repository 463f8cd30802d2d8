use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body};

use crate::{
    BusFault,
    audit::{CallRecord, reason_of},
    doors::CallPermit,
};

/// The body of an answer while its call is still counted: it ends the call at the deadline, holds the permit, and writes the record when it ends.
pub(crate) struct AnswerBody {
    inner: Body,
    deadline: Instant,
    /// Made when the answer first has to be waited for: most answers never do.
    sleep: Option<Pin<Box<Sleep>>>,
    record: Option<CallRecord>,
    ended: bool,
    _permit: Option<CallPermit>,
}

impl AnswerBody {
    pub(crate) fn new(inner: Body, deadline: Instant, record: CallRecord, permit: Option<CallPermit>) -> AnswerBody {
        AnswerBody { inner, deadline, sleep: None, record: Some(record), ended: false, _permit: permit }
    }

    fn finish(&mut self, code: Code, reason: Option<&str>) {
        self.ended = true;
        if let Some(record) = self.record.take() {
            record.finish(code, reason);
        }
    }

    fn is_past_deadline(&mut self, context: &mut Context<'_>) -> bool {
        let deadline = self.deadline;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(context).is_ready()
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Pending if this.is_past_deadline(context) => {
                let status = Status::from(BusFault::DeadlinePassed);
                this.inner = Body::empty();
                this.finish(Code::DeadlineExceeded, reason_of(&status).as_deref());
                Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                this.finish(Code::Ok, None);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(status))) => {
                this.finish(status.code(), reason_of(&status).as_deref());
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    this.finish(status.code(), reason_of(&status).as_deref());
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn trailers(status: &Status) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if status.add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("13"));
    }
    headers
}
