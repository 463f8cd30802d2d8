use std::{
    cell::OnceCell,
    rc::Rc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prost::{DecodeError, Message};
use serde::de::DeserializeOwned;

use crate::{
    CallOptions, Caller, Kernel, Reader, Status,
    proto::{guest::v1::CallContext, v1::Reason},
    warehouse::Warehouse,
};

/// The call that a plugin is answering: who asks, for which city, until when, with which configuration; and the way out to other services.
#[derive(Clone)]
pub struct Context {
    call: Rc<Call>,
    kernel: Rc<dyn Kernel>,
}

/// Decoded when the plugin first asks for something of it: many a method never does.
struct Call {
    encoded: Vec<u8>,
    decoded: OnceCell<CallContext>,
}

impl Context {
    /// Of a call that is at hand; tests take theirs from `testing::FakeKernel`.
    pub fn new(call: CallContext, kernel: Rc<dyn Kernel>) -> Context {
        Context { call: Rc::new(Call { encoded: Vec::new(), decoded: OnceCell::from(call) }), kernel }
    }

    /// Of a call as the kernel encodes it.
    pub(crate) fn encoded(encoded: Vec<u8>, kernel: Rc<dyn Kernel>) -> Context {
        Context { call: Rc::new(Call { encoded, decoded: OnceCell::new() }), kernel }
    }

    #[allow(clippy::panic, reason = "a kernel of another connector: no method of the plugin can go on, and its caller reads this text")]
    fn call_context(&self) -> &CallContext {
        match self.read() {
            Ok(call) => call,
            Err(error) => panic!("the call's context cannot be read: {error}: the kernel and the plugin's SDK disagree about the connector"),
        }
    }

    fn read(&self) -> Result<&CallContext, DecodeError> {
        if let Some(call) = self.call.decoded.get() {
            return Ok(call);
        }
        let call = CallContext::decode(self.call.encoded.as_slice())?;
        Ok(self.call.decoded.get_or_init(|| call))
    }

    /// For the domain of an error that is on its way already.
    pub(crate) fn plugin_id_if_readable(&self) -> &str {
        self.read().map_or("", |call| &call.plugin_id)
    }

    /// The six-digit code of the city whose rows and configuration this call sees; `440000` is the province.
    pub fn city(&self) -> &str {
        &self.call_context().city
    }

    /// Who calls. `None` when the plugin runs for itself (a job, an event).
    pub fn caller(&self) -> Option<&Caller> {
        self.call_context().caller.as_ref()
    }

    /// The plugin's own id.
    pub fn plugin_id(&self) -> &str {
        &self.call_context().plugin_id
    }

    /// The plugin's own version.
    pub fn version(&self) -> &str {
        &self.call_context().version
    }

    /// 32 hex digits that every log line of this call carries, in every service that it reaches.
    pub fn trace_id(&self) -> &str {
        &self.call_context().trace_id
    }

    /// When the caller stops waiting.
    pub fn deadline(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(u64::try_from(self.call_context().deadline_micros).unwrap_or_default())
    }

    /// How long the caller still waits; zero when it no longer does.
    pub fn remaining(&self) -> Duration {
        self.deadline().duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// The deployment's configuration. The kernel has checked it against `configuration.schema.json`; a `T` that does not read what the schema allows is a mistake.
    /// `backplane_build::configuration` makes the type from the schema.
    ///
    /// ```
    /// use backplane_sdk::testing::FakeKernel;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Configuration {
    ///     rows_max: i64,
    /// }
    ///
    /// let context = FakeKernel::new().configuration(r#"{"rows_max": 20}"#).context("440600");
    /// assert_eq!(context.configuration::<Configuration>()?.rows_max, 20);
    /// # Ok::<(), backplane_sdk::Status>(())
    /// ```
    ///
    /// # Errors
    /// FAILED_PRECONDITION, CONFIGURATION_INVALID with the position in the JSON.
    pub fn configuration<T: DeserializeOwned>(&self) -> Result<T, Status> {
        let text = if self.call_context().configuration_json.is_empty() { "{}" } else { &self.call_context().configuration_json };
        serde_json::from_str(text).map_err(|error| {
            let message =
                format!("the configuration does not fit the plugin: {error}: correct the plugin's configuration.schema.json or the deployment's configuration");
            Status::failed_precondition(Reason::ConfigurationInvalid, message).at("line", error.line().to_string()).at("column", error.column().to_string())
        })
    }

    /// Grows with each change of the deployment: what was computed from an older configuration is stale.
    pub fn configuration_revision(&self) -> i64 {
        self.call_context().configuration_revision
    }

    /// The shared data warehouse.
    pub fn warehouse(&self) -> Warehouse<'_> {
        Warehouse::new(self)
    }

    /// Calls a unary method, "/package.Service/Method". Generated clients are the typed form of this.
    ///
    /// # Errors
    /// What the method answers; INTERNAL, MESSAGE_MALFORMED when its answer cannot be read.
    pub fn call<Q: Message, A: Message + Default>(&self, method: &str, options: &CallOptions, request: &Q) -> Result<A, Status> {
        let answer = self.kernel.call(method, &options.encode_to_vec(), &request.encode_to_vec())?;
        A::decode(prost::bytes::Bytes::from(answer)).map_err(|error| answer_malformed(method, &error))
    }

    /// Calls a server-streaming method.
    ///
    /// # Errors
    /// What the method answers instead of its first message.
    pub fn open<Q: Message, A: Message + Default>(&self, method: &str, options: &CallOptions, request: &Q) -> Result<Reader<A>, Status> {
        let messages = self.kernel.open(method, &options.encode_to_vec(), &request.encode_to_vec())?;
        Ok(Reader::new(method, messages))
    }
}

pub(crate) fn answer_malformed(method: &str, error: &DecodeError) -> Status {
    let message = format!("the answer of {method} cannot be read: {error}: build the plugin against the contracts that the service serves");
    Status::internal(Reason::MessageMalformed, message).at("method", method)
}
