use std::rc::Rc;

use prost::{Message, bytes::Bytes};

use crate::{Context, Kernel, Status, WireStatus, proto::v1::Reason};

/// Brings the methods of one service to its implementation. Generated: `PortalTrafficServer` for a service `PortalTraffic`.
pub trait Dispatch<P> {
    /// Full name, "portal_traffic.v1.PortalTraffic".
    const SERVICE: &'static str;

    /// Decodes the request, runs the method named `method` (without its service) and encodes the answer.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, MESSAGE_MALFORMED for bytes that are no such request; UNIMPLEMENTED, METHOD_UNKNOWN; and what the method answers.
    fn dispatch(plugin: &P, method: &str, context: &Context, request: Bytes) -> Result<Vec<u8>, Status>;
}

/// One service of a plugin: a line of its table of routes.
pub struct Route<P> {
    service: &'static str,
    dispatch: DispatchFn<P>,
}

/// [`Dispatch::dispatch`] as a value.
type DispatchFn<P> = fn(&P, &str, &Context, Bytes) -> Result<Vec<u8>, Status>;

impl<P> Route<P> {
    /// The route of a generated dispatcher.
    pub const fn of<D: Dispatch<P>>() -> Route<P> {
        Route { service: D::SERVICE, dispatch: D::dispatch }
    }

    /// Full name of the service.
    pub fn service(&self) -> &'static str {
        self.service
    }
}

/// A plugin as a whole; implemented by [`export!`](crate::export).
pub trait Plugin: Default + 'static {
    /// The services that it answers.
    const ROUTES: &'static [Route<Self>];
}

/// Answers one call into the plugin: the connector's `handle`, over any kernel.
///
/// # Errors
/// As [`Dispatch::dispatch`], in the connector's form.
///
/// # Panics
/// When the method asks for something of a context that cannot be read: the kernel and the SDK disagree about the connector.
pub fn handle<P: Plugin>(kernel: Rc<dyn Kernel>, method: &str, context: Vec<u8>, request: Vec<u8>) -> Result<Vec<u8>, WireStatus> {
    let context = Context::encoded(context, kernel);
    route::<P>(method, &context, request).map_err(|status| status.into_wire(context.plugin_id_if_readable()))
}

fn route<P: Plugin>(method: &str, context: &Context, request: Vec<u8>) -> Result<Vec<u8>, Status> {
    let (service, name) = method.strip_prefix('/').and_then(|path| path.split_once('/')).unwrap_or((method, ""));
    match P::ROUTES.iter().find(|route| route.service == service) {
        Some(route) => (route.dispatch)(&P::default(), name, context, Bytes::from(request)),
        None => Err(method_unknown(service, name)),
    }
}

/// Decodes, runs, encodes. Called by generated dispatchers.
///
/// # Errors
/// INVALID_ARGUMENT, MESSAGE_MALFORMED; and what `method` answers.
pub fn answer_unary<Q: Message + Default, A: Message>(
    context: &Context,
    request: Bytes,
    method: impl FnOnce(&Context, Q) -> Result<A, Status>,
) -> Result<Vec<u8>, Status> {
    let request = Q::decode(request).map_err(|error| {
        let message = format!("the request cannot be read: {error}: send the message that the method's proto names");
        Status::invalid_argument(Reason::MessageMalformed, message)
    })?;
    Ok(method(context, request)?.encode_to_vec())
}

/// How a call of a method fails that the plugin does not have.
pub fn method_unknown(service: &str, method: &str) -> Status {
    let message = format!("this plugin has no method /{service}/{method}: see its services with reflection or `backplane plugin list`");
    Status::unimplemented(Reason::MethodUnknown, message).at("method", format!("/{service}/{method}"))
}
