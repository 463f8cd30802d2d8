use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use arrow_array::RecordBatch;
use prost::Message;

use super::answers::query_messages;
use crate::{
    Context, Kernel, Messages, Plugin, Status, WireStatus, handle,
    proto::{
        guest::v1::{CallContext, Caller},
        ingest::v1::{AppendRequest, AppendResponse},
        v1::Reason,
        warehouse::v1::{Parameter, QueryRequest},
    },
};

const QUERY: &str = "/backplane.warehouse.v1.Warehouse/Query";
const APPEND: &str = "/backplane.ingest.v1.Ingest/Append";

type Answer = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Status>>;
type AnswerQuery = Box<dyn Fn(&str, &[Parameter]) -> Result<RecordBatch, Status>>;
type Handle = fn(Rc<dyn Kernel>, &str, Vec<u8>, Vec<u8>) -> Result<Vec<u8>, WireStatus>;

/// A kernel for native tests: it answers what it was told to, calls the plugin under test as the host would, and remembers what the plugin asked.
#[derive(Default)]
pub struct FakeKernel {
    answers: BTreeMap<String, Answer>,
    on_query: Option<AnswerQuery>,
    services: BTreeMap<&'static str, Handle>,
    snapshot_id: i64,
    plugin_id: String,
    configuration_json: String,
    /// Of the city that the test's context was made for.
    city: RefCell<String>,
    queries: RefCell<Vec<QueryRequest>>,
    appends: RefCell<Vec<AppendRequest>>,
}

impl FakeKernel {
    /// A kernel that answers nothing yet.
    pub fn new() -> FakeKernel {
        FakeKernel { snapshot_id: 1, plugin_id: "plugin-under-test".to_owned(), ..FakeKernel::default() }
    }

    /// Mounts the plugin under test.
    #[must_use]
    pub fn plugin<P: Plugin>(mut self) -> FakeKernel {
        self.services.extend(P::ROUTES.iter().map(|route| (route.service(), handle::<P> as Handle)));
        self
    }

    /// The plugin's id, which is the domain of its own reasons.
    #[must_use]
    pub fn plugin_id(mut self, plugin_id: &str) -> FakeKernel {
        plugin_id.clone_into(&mut self.plugin_id);
        self
    }

    /// The deployment's configuration, JSON.
    #[must_use]
    pub fn configuration(mut self, json: &str) -> FakeKernel {
        json.clone_into(&mut self.configuration_json);
        self
    }

    /// The newest snapshot; queries that pin another are answered with the one that they pin.
    #[must_use]
    pub fn snapshot(mut self, snapshot_id: i64) -> FakeKernel {
        self.snapshot_id = snapshot_id;
        self
    }

    /// Answers queries, given the SQL and the parameters.
    #[must_use]
    pub fn on_query(mut self, answer: impl Fn(&str, &[Parameter]) -> Result<RecordBatch, Status> + 'static) -> FakeKernel {
        self.on_query = Some(Box::new(answer));
        self
    }

    /// Answers a unary method, "/package.Service/Method".
    #[must_use]
    pub fn on_unary<Q: Message + Default, A: Message>(mut self, method: &str, answer: impl Fn(Q) -> Result<A, Status> + 'static) -> FakeKernel {
        let answer = move |request: &[u8]| {
            let request = Q::decode(request).map_err(|error| Status::invalid_argument(Reason::MessageMalformed, error.to_string()))?;
            Ok(answer(request)?.encode_to_vec())
        };
        self.answers.insert(method.to_owned(), Box::new(answer));
        self
    }

    /// From here the kernel is used: a handle on it, to ask afterwards what was called, and a context to call the plugin with, in this city.
    pub fn start(self, city: &str) -> (Rc<FakeKernel>, Context) {
        city.clone_into(&mut self.city.borrow_mut());
        let kernel = Rc::new(self);
        let context = Context::new(kernel.call_context(), Rc::new(Shared(Rc::clone(&kernel))));
        (kernel, context)
    }

    /// The context alone.
    pub fn context(self, city: &str) -> Context {
        self.start(city).1
    }

    /// The queries so far.
    pub fn queries(&self) -> Vec<QueryRequest> {
        self.queries.borrow().clone()
    }

    /// The appends so far; each was answered as taken. A key that comes again with other rows is refused, as the kernel does.
    pub fn appends(&self) -> Vec<AppendRequest> {
        self.appends.borrow().clone()
    }

    fn call_context(&self) -> CallContext {
        CallContext {
            plugin_id: self.plugin_id.clone(),
            version: "0.0.0".to_owned(),
            city: self.city.borrow().clone(),
            caller: Some(Caller { principal_id: "tester".to_owned(), kind: "person".to_owned() }),
            // A minute before the year 9999: tests do not time out.
            deadline_micros: 253_370_764_740_000_000,
            trace_id: "0123456789abcdef0123456789abcdef".to_owned(),
            configuration_json: self.configuration_json.clone(),
            configuration_revision: 1,
        }
    }

    fn append(&self, request: &[u8]) -> Result<Vec<u8>, Status> {
        let request = AppendRequest::decode(request).map_err(|error| Status::invalid_argument(Reason::MessageMalformed, error.to_string()))?;
        let mut appends = self.appends.borrow_mut();
        let earlier = appends.iter().find(|earlier| earlier.idempotency_key == request.idempotency_key);
        if earlier.is_some_and(|earlier| *earlier != request) {
            let message = format!("the idempotency key {} came before with other rows: send the same rows, or a new key", request.idempotency_key);
            return Err(Status::already_exists(Reason::IdempotencyKeyReused, message));
        }
        let repeated_batch = earlier.is_some();
        if !repeated_batch {
            appends.push(request);
        }
        Ok(AppendResponse { snapshot_id: self.snapshot_id + 1, rows: 0, repeated_batch }.encode_to_vec())
    }
}

/// The fake as the plugin sees it: calls of the plugin's own services come back into the plugin.
struct Shared(Rc<FakeKernel>);

impl Kernel for Shared {
    fn call(&self, method: &str, _options: &[u8], request: &[u8]) -> Result<Vec<u8>, Status> {
        let service = method.trim_start_matches('/').split('/').next().unwrap_or_default();
        if let Some(handle) = self.0.services.get(service) {
            let context = self.0.call_context().encode_to_vec();
            return handle(Rc::new(Shared(Rc::clone(&self.0))), method, context, request.to_vec()).map_err(Status::from);
        }
        match self.0.answers.get(method) {
            // Through the wire's form, so that a test sees what of a status survives it.
            Some(answer) => answer(request).map_err(|status| Status::from(status.into_wire(&self.0.plugin_id))),
            None if method == APPEND => self.0.append(request),
            None => Err(unanswered(method, "on_unary")),
        }
    }

    fn open(&self, method: &str, _options: &[u8], request: &[u8]) -> Result<Box<dyn Messages>, Status> {
        let Some(answer) = self.0.on_query.as_ref().filter(|_| method == QUERY) else {
            return Err(unanswered(method, "on_query"));
        };
        let request = QueryRequest::decode(request).map_err(|error| Status::invalid_argument(Reason::MessageMalformed, error.to_string()))?;
        self.0.queries.borrow_mut().push(request.clone());
        let batch = answer(&request.sql, &request.parameters).map_err(|status| Status::from(status.into_wire(&self.0.plugin_id)))?;
        let snapshot_id = if request.snapshot_id == 0 { self.0.snapshot_id } else { request.snapshot_id };
        Ok(Box::new(query_messages(&batch, snapshot_id)?))
    }
}

fn unanswered(method: &str, how: &str) -> Status {
    Status::unimplemented(Reason::MethodUnknown, format!("the fake kernel has no answer for {method}: add one with FakeKernel::{how}"))
}
