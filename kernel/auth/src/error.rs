use kernel_base::{CityUnknown, Code, Fault, PageTokenInvalid, PermissionInvalid, PrincipalIdInvalid, Reason, status};
use kernel_storage::StorageError;

/// Why a token proves nothing, or a change to principals, roles and tokens was refused.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("the token is not known: check that it was copied whole ('bp_' and 43 characters), or have a new one issued with 'backplane token issue'")]
    TokenInvalid,
    #[error("the token has expired: have a new one issued with 'backplane token issue'")]
    TokenExpired,
    #[error("the token was revoked: have a new one issued with 'backplane token issue'")]
    TokenRevoked,
    #[error("the principal '{principal}' is disabled: ask central operations")]
    PrincipalDisabled { principal: String },
    #[error("there is no {what} '{id}': see 'backplane user list'")]
    NotFound { what: &'static str, id: String },
    #[error("the {what} '{id}' exists already: choose another id")]
    Exists { what: &'static str, id: String },
    #[error("{field}: {problem}")]
    Field { field: &'static str, problem: String },
    #[error("permissions: {0}")]
    Permission(#[from] PermissionInvalid),
    #[error("principal_id: {0}")]
    PrincipalId(#[source] PrincipalIdInvalid),
    #[error(transparent)]
    City(#[from] CityUnknown),
    #[error(transparent)]
    Page(#[from] PageTokenInvalid),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("a change to rights was interrupted")]
    Interrupted,
}

impl Fault for AuthError {
    fn code(&self) -> Code {
        match self {
            AuthError::TokenInvalid | AuthError::TokenExpired | AuthError::TokenRevoked | AuthError::PrincipalDisabled { .. } => Code::Unauthenticated,
            AuthError::NotFound { .. } => Code::NotFound,
            AuthError::Exists { .. } => Code::AlreadyExists,
            AuthError::Field { .. } | AuthError::Permission(_) | AuthError::PrincipalId(_) => Code::InvalidArgument,
            AuthError::City(error) => error.code(),
            AuthError::Page(error) => error.code(),
            AuthError::Storage(error) => error.code(),
            AuthError::Interrupted => Code::Internal,
        }
    }

    fn reason(&self) -> Reason {
        match self {
            AuthError::TokenInvalid => Reason::TokenInvalid,
            AuthError::TokenExpired => Reason::TokenExpired,
            AuthError::TokenRevoked => Reason::TokenRevoked,
            AuthError::PrincipalDisabled { .. } => Reason::PrincipalDisabled,
            AuthError::NotFound { .. } => Reason::ResourceNotFound,
            AuthError::Exists { .. } => Reason::ResourceExists,
            AuthError::Field { .. } | AuthError::Permission(_) | AuthError::PrincipalId(_) => Reason::FieldInvalid,
            AuthError::City(error) => error.reason(),
            AuthError::Page(error) => error.reason(),
            AuthError::Storage(error) => error.reason(),
            AuthError::Interrupted => Reason::InternalFault,
        }
    }

    fn place(&self) -> Vec<(&'static str, String)> {
        match self {
            AuthError::Field { field, .. } => vec![("field", (*field).to_owned())],
            AuthError::Permission(_) => vec![("field", "permissions".to_owned())],
            AuthError::PrincipalId(_) => vec![("field", "principal_id".to_owned())],
            AuthError::City(error) => error.place(),
            _ => Vec::new(),
        }
    }
}

impl From<AuthError> for tonic::Status {
    fn from(error: AuthError) -> tonic::Status {
        status(&error)
    }
}
