use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use kernel_base::TraceId;
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body};

use crate::{
    BusFault,
    audit::{CallRecord, reason_of},
    call_permit::CallPermit,
    open_answers::Listed,
    trace_header,
};

/// The body of an answer while its call is still counted: it ends the call at the deadline, holds the permit, and writes the record when it ends.
pub(crate) struct AnswerBody {
    answer: Arc<Answer>,
    deadline: Instant,
    trace: TraceId,
    /// Made when the answer first has to be waited for: most answers never do.
    sleep: Option<Pin<Box<Sleep>>>,
    _listed: Option<Listed>,
}

/// What the call holds until its answer has ended. Shared with the list of open answers, which ends it when the receiver takes no more.
pub(crate) struct Answer {
    state: Mutex<State>,
}

enum State {
    Running {
        body: Body,
        record: CallRecord,
        _permit: Option<CallPermit>,
    },
    /// Ended at the deadline while nobody asked for more; whoever still does is told.
    Overdue,
    Ended,
}

impl AnswerBody {
    pub(crate) fn new(body: Body, deadline: Instant, record: CallRecord, permit: Option<CallPermit>) -> AnswerBody {
        let trace = record.trace;
        let open = permit.as_ref().map(|permit| Arc::clone(&permit.open));
        let answer = Arc::new(Answer { state: Mutex::new(State::Running { body, record, _permit: permit }) });
        let _listed = open.map(|open| open.list(deadline, &answer));
        AnswerBody { answer, deadline, trace, sleep: None, _listed }
    }

    fn is_past_deadline(&mut self, context: &mut Context<'_>) -> bool {
        let deadline = self.deadline;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        sleep.as_mut().poll(context).is_ready()
    }
}

impl Answer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up what the call holds, because its deadline has passed.
    pub(crate) fn end_overdue(&self) {
        let mut state = self.state();
        if matches!(*state, State::Running { .. }) {
            state.end(Code::DeadlineExceeded, reason_of(&BusFault::DeadlinePassed.into()).as_deref());
            *state = State::Overdue;
        }
    }
}

impl State {
    fn end(&mut self, code: Code, reason: Option<&str>) {
        if let State::Running { record, .. } = std::mem::replace(self, State::Ended) {
            record.finish(code, reason);
        }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let answer = Arc::clone(&self.answer);
        let mut state = answer.state();
        let mut polled = match &mut *state {
            State::Running { body, .. } => Pin::new(body).poll_frame(context),
            State::Overdue => {
                *state = State::Ended;
                return Poll::Ready(Some(Ok(deadline_passed(self.trace))));
            }
            State::Ended => return Poll::Ready(None),
        };
        match &mut polled {
            Poll::Pending if self.is_past_deadline(context) => {
                state.end(Code::DeadlineExceeded, reason_of(&BusFault::DeadlinePassed.into()).as_deref());
                return Poll::Ready(Some(Ok(deadline_passed(self.trace))));
            }
            Poll::Pending => {}
            Poll::Ready(None) => state.end(Code::Ok, None),
            Poll::Ready(Some(Err(status))) => state.end(status.code(), reason_of(status).as_deref()),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_mut()
                    && let Some(status) = Status::from_header_map(trailers)
                {
                    if status.code() != Code::Ok {
                        trace_header::insert(trailers, self.trace);
                    }
                    state.end(status.code(), reason_of(&status).as_deref());
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        matches!(*self.answer.state(), State::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The last frame of an answer whose time is over.
fn deadline_passed(trace: TraceId) -> Frame<Bytes> {
    let mut headers = HeaderMap::new();
    trace_header::insert(&mut headers, trace);
    if Status::from(BusFault::DeadlinePassed).add_header(&mut headers).is_err() {
        headers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("4"));
    }
    Frame::trailers(headers)
}
