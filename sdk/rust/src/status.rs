mod code;
mod details;
mod wire;

use std::{collections::BTreeMap, fmt, str::FromStr};

pub use code::Code;
pub use wire::WireStatus;

use crate::proto::v1::Reason;

/// How a call fails: a code of gRPC, a reason that programs branch on, a message that says what was wrong, where and what to do next, and places.
///
/// A reason is an upper-case word that is never renamed: one of `backplane.v1.Reason`, or a plugin's own.
///
/// ```
/// use backplane_sdk::{Code, Status};
///
/// let status = Status::failed_precondition("MONTH_NOT_VALUED", "2026-03 is not valued: run the job first").at("month", "2026-03");
/// assert_eq!((status.code(), status.reason(), status.places()["month"].as_str()), (Code::FailedPrecondition, "MONTH_NOT_VALUED", "2026-03"));
/// ```
#[derive(Clone, PartialEq)]
pub struct Status(Box<Parts>);

#[derive(Clone, PartialEq)]
struct Parts {
    code: Code,
    message: String,
    reason: String,
    /// Empty until the status leaves the plugin or when it came without one.
    domain: String,
    places: BTreeMap<String, String>,
    /// Details other than the ErrorInfo of a status that came in: passed on as they are.
    others: Vec<prost_types::Any>,
}

impl Status {
    /// A failure with a reason. The constructors named for a code are shorter.
    pub fn new(code: Code, reason: impl Into<String>, message: impl Into<String>) -> Status {
        let (reason, message) = (reason.into(), message.into());
        Status(Box::new(Parts { code, message, reason, domain: String::new(), places: BTreeMap::new(), others: Vec::new() }))
    }

    /// The request is wrong, whatever the state of the system.
    pub fn invalid_argument(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::InvalidArgument, reason, message)
    }

    /// A field of the request is wrong: INVALID_ARGUMENT, FIELD_INVALID, with the field as its place.
    pub fn field_invalid(field: &str, message: impl Into<String>) -> Status {
        Status::invalid_argument(Reason::FieldInvalid, message).at("field", field)
    }

    /// Reads a field of the request that is written as text: a [`Day`](crate::Day), a [`Month`](crate::Month), whatever says in its error how it is written.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, FIELD_INVALID with the field and what its type says.
    pub fn read_field<T: FromStr<Err: fmt::Display>>(field: &str, text: &str) -> Result<T, Status> {
        text.parse().map_err(|error| Status::field_invalid(field, format!("{field}: {error}")))
    }

    /// What was asked for does not exist, or not for this caller.
    pub fn not_found(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::NotFound, reason, message)
    }

    /// What was to be made exists.
    pub fn already_exists(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::AlreadyExists, reason, message)
    }

    /// The caller may not do this.
    pub fn permission_denied(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::PermissionDenied, reason, message)
    }

    /// The system must be brought into another state first.
    pub fn failed_precondition(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::FailedPrecondition, reason, message)
    }

    /// A concurrent change won; the whole operation may be tried again.
    pub fn aborted(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::Aborted, reason, message)
    }

    /// A bound was reached.
    pub fn resource_exhausted(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::ResourceExhausted, reason, message)
    }

    /// The time given did not suffice.
    pub fn deadline_exceeded(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::DeadlineExceeded, reason, message)
    }

    /// The plugin does not do this.
    pub fn unimplemented(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::Unimplemented, reason, message)
    }

    /// Something needed is not there now; the same call may be tried again.
    pub fn unavailable(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::Unavailable, reason, message)
    }

    /// A mistake in the plugin or the kernel.
    pub fn internal(reason: impl Into<String>, message: impl Into<String>) -> Status {
        Status::new(Code::Internal, reason, message)
    }

    /// Names where: ("field", "page_size"), ("line", "3").
    #[must_use]
    pub fn at(mut self, key: &str, value: impl Into<String>) -> Status {
        self.0.places.insert(key.to_owned(), value.into());
        self
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What people read.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What programs branch on; empty when a foreign status came without one.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Where, by kind of place.
    pub fn places(&self) -> &BTreeMap<String, String> {
        &self.0.places
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {}", self.0.code, self.0.reason, self.0.message)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} {:?}", self.0.places)
    }
}

impl std::error::Error for Status {}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.as_str_name().to_owned()
    }
}
