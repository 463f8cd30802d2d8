use std::collections::HashMap;

use tonic_types::{ErrorDetails, StatusExt};

use crate::Reason;

/// The domain of every `google.rpc.ErrorInfo` that the platform sends.
const DOMAIN: &str = "backplane";

/// How calls fail: the part of gRPC's codes that the platform uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    Aborted,
    ResourceExhausted,
    DeadlineExceeded,
    Unimplemented,
    Unavailable,
    DataLoss,
    Internal,
}

/// An error that can leave a crate: each crate has one enum that implements this.
pub trait Fault: std::error::Error {
    fn code(&self) -> Code;

    /// The stable name that programs branch on.
    fn reason(&self) -> Reason;

    /// Where: pairs such as ("field", "page_size") or ("line", "3").
    fn place(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// What the caller may read: what was wrong, where, what to do next. Internal faults say only that the log knows more.
    fn public(&self) -> String {
        if self.code() == Code::Internal {
            "the kernel failed on this call: its log has the cause under the trace id of this call".to_owned()
        } else {
            self.to_string()
        }
    }
}

/// The one mapping from faults to the wire. Internal faults are logged here with their whole chain, since the caller does not get to see it.
pub fn status(fault: &(impl Fault + ?Sized)) -> tonic::Status {
    if fault.code() == Code::Internal {
        tracing::error!(reason = fault.reason().as_str_name(), error = %chain(fault), "call failed inside the kernel");
    }
    let metadata: HashMap<String, String> = fault.place().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let details = ErrorDetails::with_error_info(fault.reason().as_str_name(), DOMAIN, metadata);
    tonic::Status::with_error_details(grpc(fault.code()), fault.public(), details)
}

fn chain(fault: &(impl std::error::Error + ?Sized)) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn grpc(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::Aborted => tonic::Code::Aborted,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Internal => tonic::Code::Internal,
    }
}
