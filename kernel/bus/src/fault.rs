use kernel_base::{Code, Fault, Reason};

/// Why a call ended on the bus and not in a service.
#[derive(Debug, thiserror::Error)]
pub enum BusFault {
    #[error("the call did not end before its deadline: raise grpc-timeout (at most one hour), or ask for less")]
    DeadlinePassed,
    #[error("the kernel has {calls_max} {calls} in flight, which is its limit: try again in a moment")]
    CallsSaturated { calls_max: usize, calls: &'static str },
    #[error("a message of {bytes} bytes is above the limit of {bytes_max}: send less at a time")]
    MessageTooLarge { bytes: u64, bytes_max: usize },
    #[error("the message cannot be read{place}: {problem}: send the message that the method's contract names, as reflection shows it")]
    MessageMalformed { place: String, problem: String },
    #[error("the answer of {method} is not the message that its contract names: its plugin's author has to correct it, and gRPC passes it on as it is")]
    AnswerInvalid { method: String },
    #[error("the header '{header}' cannot be read: {problem}")]
    HeaderInvalid { header: &'static str, problem: String },
    #[error("content type '{content_type}' is not served: send application/grpc, application/grpc-web+proto, or a POST of application/json")]
    ContentTypeUnsupported { content_type: String },
    #[error("{path} streams, and plain JSON carries one message each way: call it over gRPC or gRPC-Web")]
    StreamingOverJson { path: String },
}

impl Fault for BusFault {
    fn code(&self) -> Code {
        match self {
            BusFault::DeadlinePassed => Code::DeadlineExceeded,
            BusFault::CallsSaturated { .. } | BusFault::MessageTooLarge { .. } => Code::ResourceExhausted,
            BusFault::MessageMalformed { .. } | BusFault::HeaderInvalid { .. } => Code::InvalidArgument,
            BusFault::ContentTypeUnsupported { .. } | BusFault::StreamingOverJson { .. } => Code::Unimplemented,
            BusFault::AnswerInvalid { .. } => Code::Internal,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            BusFault::DeadlinePassed => Reason::DeadlinePassed,
            BusFault::CallsSaturated { .. } => Reason::CallsSaturated,
            BusFault::MessageTooLarge { .. } => Reason::MessageTooLarge,
            BusFault::MessageMalformed { .. } | BusFault::HeaderInvalid { .. } => Reason::MessageMalformed,
            BusFault::ContentTypeUnsupported { .. } | BusFault::StreamingOverJson { .. } => Reason::ContentTypeUnsupported,
            BusFault::AnswerInvalid { .. } => Reason::PluginAnswerInvalid,
        }
    }

    fn place(&self) -> Vec<(&'static str, String)> {
        match self {
            BusFault::HeaderInvalid { header, .. } => vec![("header", (*header).to_owned())],
            BusFault::AnswerInvalid { method } => vec![("method", method.clone())],
            _ => Vec::new(),
        }
    }

    /// Nothing of it is a secret of the kernel's, an answer that nobody can read among them.
    fn public(&self) -> String {
        self.to_string()
    }
}

impl From<BusFault> for tonic::Status {
    fn from(fault: BusFault) -> tonic::Status {
        kernel_base::status(&fault)
    }
}
