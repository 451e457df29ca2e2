/// Why a request is refused, as AWS IoT names it. `Display` is the message for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The request is not well formed, or what it asks for is against a rule.
    #[error("{0}")]
    Invalid(String),
    /// It is not there.
    #[error("{kind} {name} cannot be found.")]
    NotFound {
        /// `Thing`, `Policy`, …
        kind: &'static str,
        /// Its name or id.
        name: String,
    },
    /// It is there already, and is different.
    #[error("{kind} {name} already exists in account with different properties")]
    Exists {
        /// `Thing`, `Policy`, …
        kind: &'static str,
        /// Its name or id.
        name: String,
        /// The id of the one that is there.
        resource_id: String,
        /// Its ARN.
        resource_arn: String,
    },
    /// The record has another version than the caller thought.
    #[error("The version {expected} for {kind} {name} does not match the expected version {found}")]
    Version {
        /// `Thing`, `Thing group`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the caller said.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// It is still attached to something.
    #[error("{0}")]
    DeleteConflict(String),
    /// The certificate's status does not allow it.
    #[error("{0}")]
    CertificateState(String),
    /// A quota of AWS IoT's is reached.
    #[error("{0}")]
    LimitExceeded(String),
    /// A policy has all the versions that it may have.
    #[error("{0}")]
    VersionsLimitExceeded(String),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    pub(crate) fn not_found(kind: &'static str, name: &str) -> Self {
        Self::NotFound { kind, name: name.to_owned() }
    }

    /// The name by which AWS's clients know it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "InvalidRequestException",
            Self::NotFound { .. } => "ResourceNotFoundException",
            Self::Exists { .. } => "ResourceAlreadyExistsException",
            Self::Version { .. } => "VersionConflictException",
            Self::DeleteConflict(_) => "DeleteConflictException",
            Self::CertificateState(_) => "CertificateStateException",
            Self::LimitExceeded(_) => "LimitExceededException",
            Self::VersionsLimitExceeded(_) => "VersionsLimitExceededException",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::NotFound { .. } => 404,
            Self::CertificateState(_) => 406,
            Self::LimitExceeded(_) => 410,
            Self::Exists { .. }
            | Self::Version { .. }
            | Self::DeleteConflict(_)
            | Self::VersionsLimitExceeded(_) => 409,
        }
    }
}
