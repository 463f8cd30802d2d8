use std::fmt::Write;

use prost_build::{Comments, Method, Service, ServiceGenerator};

use crate::generate::Sdk;

/// The package of the services that plugins answer to the kernel.
const HOOKS: &str = "backplane.guest.v1";

/// Writes what a guest needs of a service: the trait with its dispatcher (in plugins), and the client.
pub(crate) struct Services {
    pub(crate) sdk: Sdk,
}

impl ServiceGenerator for Services {
    fn generate(&mut self, service: Service, buf: &mut String) {
        // The kernel's services are answered by the kernel, and the SDK itself only calls them; but the hooks are a plugin's to answer.
        if self.sdk == Sdk::Dependency || service.package == HOOKS {
            buf.push_str(&trait_of(&service, self.sdk.path()));
            buf.push_str(&dispatcher_of(&service, self.sdk.path()));
        }
        buf.push_str(&client_of(&service, self.sdk.path()));
    }
}

fn full_name(service: &Service) -> String {
    if service.package.is_empty() { service.proto_name.clone() } else { format!("{}.{}", service.package, service.proto_name) }
}

fn docs(comments: &Comments, depth: u8) -> String {
    let mut text = String::new();
    // Detached blocks belong to the file, not to the item.
    let own = Comments { leading_detached: Vec::new(), leading: comments.leading.clone(), trailing: comments.trailing.clone() };
    own.append_with_indent(depth, &mut text);
    text
}

fn trait_of(service: &Service, sdk: &str) -> String {
    let mut text = docs(&service.comments, 0);
    let _ = writeln!(text, "pub trait {} {{", service.name);
    for method in &service.methods {
        text.push_str(&docs(&method.comments, 1));
        let Method { name, input_type, output_type, .. } = method;
        let _ =
            writeln!(text, "    fn {name}(&self, context: &{sdk}::Context, request: {input_type}) -> ::core::result::Result<{output_type}, {sdk}::Status>;");
    }
    text.push_str("}\n");
    text
}

fn dispatcher_of(service: &Service, sdk: &str) -> String {
    let Service { name, .. } = service;
    let full_name = full_name(service);
    let mut text = format!(
        "/// Brings calls of `{full_name}` to a [`{name}`].\n\
         pub struct {name}Server;\n\
         impl<S: {name}> {sdk}::Dispatch<S> for {name}Server {{\n\
         const SERVICE: &'static str = \"{full_name}\";\n\
         fn dispatch(service: &S, method: &str, context: &{sdk}::Context, request: {sdk}::prost::bytes::Bytes) \
         -> ::core::result::Result<::std::vec::Vec<u8>, {sdk}::Status> {{\n\
         match method {{\n"
    );
    for Method { name, proto_name, .. } in &service.methods {
        let _ = writeln!(text, "\"{proto_name}\" => {sdk}::answer_unary(context, request, |context, request| service.{name}(context, request)),");
    }
    let _ = writeln!(text, "_ => Err({sdk}::method_unknown(\"{full_name}\", method)),\n}}\n}}\n}}");
    text
}

fn client_of(service: &Service, sdk: &str) -> String {
    let Service { name, .. } = service;
    let full_name = full_name(service);
    let left_out: String = service
        .methods
        .iter()
        .filter(|method| method.client_streaming)
        .map(|method| format!("///\n/// Left out: `{}`, since the connector carries one request a call.\n", method.proto_name))
        .collect();
    let mut text = format!(
        "/// Calls `{full_name}` through the connector, with the rights that the plugin and its caller share.\n{left_out}\
         #[derive(Clone, Copy)]\n\
         pub struct {name}Client<'a> {{\n    context: &'a {sdk}::Context,\n}}\n\
         impl<'a> {name}Client<'a> {{\n\
         /// Calls made here belong to the call that `context` is of.\n\
         pub fn new(context: &'a {sdk}::Context) -> Self {{ Self {{ context }} }}\n"
    );
    for method in service.methods.iter().filter(|method| !method.client_streaming) {
        text.push_str(&client_method(&full_name, method, sdk));
    }
    text.push_str("}\n");
    text
}

fn client_method(service: &str, method: &Method, sdk: &str) -> String {
    let Method { name, proto_name, input_type, output_type, comments, server_streaming, .. } = method;
    let (answer, call) = if *server_streaming { (format!("{sdk}::Reader<{output_type}>"), "open") } else { (output_type.clone(), "call") };
    format!(
        "{docs}pub fn {name}(&self, options: &{sdk}::CallOptions, request: &{input_type}) -> ::core::result::Result<{answer}, {sdk}::Status> {{\n\
         self.context.{call}(\"/{service}/{proto_name}\", options, request)\n}}\n",
        docs = docs(comments, 1)
    )
}
