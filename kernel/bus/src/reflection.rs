use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt};
use kernel_auth::AccessTable;
use kernel_base::{CallContext, context_of};
use prost::Message;
use prost_reflect::FileDescriptor;
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::pb::{
    v1::{
        self, ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest, ServerReflectionResponse,
        ServiceResponse, server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

/// gRPC reflection over what is mounted now, plugins included, held to what the caller may call. Serves v1 and v1alpha, which are the same on the wire.
#[derive(Clone)]
pub struct Reflection {
    access: Arc<AccessTable>,
}

impl Reflection {
    pub fn new(access: Arc<AccessTable>) -> Reflection {
        Reflection { access }
    }

    fn answer(&self, context: &CallContext, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let visible = Visible::to(&self.access, context);
        let answer = match &request.message_request {
            Some(MessageRequest::ListServices(_)) => visible.list_services(),
            Some(MessageRequest::FileByFilename(name)) => visible.files.get(name).map(|file| visible.with_dependencies(file)),
            Some(MessageRequest::FileContainingSymbol(symbol)) => visible.file_of_symbol(symbol).map(|file| visible.with_dependencies(file)),
            Some(MessageRequest::FileContainingExtension(extension)) => {
                visible.file_of_extension(&extension.containing_type, extension.extension_number).map(|file| visible.with_dependencies(file))
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => Some(visible.extension_numbers(name)),
            None => None,
        };
        let not_found = || {
            MessageResponse::ErrorResponse(ErrorResponse {
                error_code: tonic::Code::NotFound as i32,
                error_message: "nothing of this name is mounted that the caller may call".to_owned(),
            })
        };
        ServerReflectionResponse { valid_host: request.host.clone(), message_response: Some(answer.unwrap_or_else(not_found)), original_request: Some(request) }
    }
}

/// The services that a caller may call something of, and the files that describe them.
struct Visible {
    services: Vec<String>,
    files: BTreeMap<String, FileDescriptor>,
}

impl Visible {
    fn to(access: &AccessTable, context: &CallContext) -> Visible {
        let mut visible = Visible { services: Vec::new(), files: BTreeMap::new() };
        for method in access.visible(|method| AccessTable::may_call(method, context)) {
            let service = method.method.parent_service();
            visible.services.push(service.full_name().to_owned());
            visible.add(service.parent_file());
        }
        visible.services.sort();
        visible.services.dedup();
        visible
    }

    fn add(&mut self, file: FileDescriptor) {
        if self.files.contains_key(file.name()) {
            return;
        }
        self.files.insert(file.name().to_owned(), file.clone());
        for dependency in file.dependencies() {
            self.add(dependency);
        }
    }

    fn list_services(&self) -> Option<MessageResponse> {
        let service = self.services.iter().map(|name| ServiceResponse { name: name.clone() }).collect();
        Some(MessageResponse::ListServicesResponse(ListServiceResponse { service }))
    }

    fn file_of_symbol(&self, symbol: &str) -> Option<&FileDescriptor> {
        self.files.values().find(|file| {
            let inside = |name: &str| name == symbol || symbol.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            file.services().any(|service| inside(service.full_name()))
                || file.messages().any(|message| inside(message.full_name()))
                || file.enums().any(|enumeration| inside(enumeration.full_name()))
                || file.extensions().any(|extension| extension.full_name() == symbol)
        })
    }

    fn file_of_extension(&self, containing_type: &str, number: i32) -> Option<&FileDescriptor> {
        self.files.values().find(|file| {
            file.extensions()
                .any(|extension| extension.containing_message().full_name() == containing_type && i64::from(extension.number()) == i64::from(number))
        })
    }

    fn extension_numbers(&self, name: &str) -> MessageResponse {
        let numbers = self.files.values().flat_map(|file| file.extensions().collect::<Vec<_>>());
        let extension_number = numbers
            .filter(|extension| extension.containing_message().full_name() == name)
            .filter_map(|extension| i32::try_from(extension.number()).ok())
            .collect();
        MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse { base_type_name: name.to_owned(), extension_number })
    }

    /// The file and everything that it imports, as clients expect it.
    fn with_dependencies(&self, file: &FileDescriptor) -> MessageResponse {
        let mut wanted = Visible { services: Vec::new(), files: BTreeMap::new() };
        wanted.add(file.clone());
        let mut encoded = vec![file.encode_to_vec()];
        encoded.extend(wanted.files.values().filter(|other| other.name() != file.name()).map(FileDescriptor::encode_to_vec));
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: encoded })
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl v1::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<ServerReflectionResponse>;

    async fn server_reflection_info(&self, request: Request<Streaming<ServerReflectionRequest>>) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let context = context_of(&request)?;
        let reflection = self.clone();
        let answers = request.into_inner().map(move |asked| asked.map(|asked| reflection.answer(&context, asked)));
        Ok(Response::new(Box::pin(answers)))
    }
}

#[tonic::async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let context = context_of(&request)?;
        let reflection = self.clone();
        let answers = request.into_inner().map(move |asked| recode(&reflection.answer(&context, recode(&asked?)?)));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One version's message as the other's.
fn recode<A: Message, B: Message + Default>(message: &A) -> Result<B, Status> {
    B::decode(message.encode_to_vec().as_slice()).map_err(|error| Status::internal(error.to_string()))
}
