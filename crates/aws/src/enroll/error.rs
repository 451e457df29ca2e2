use aws_credential_types::provider::error::CredentialsError;

/// Why a call of the control plane came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No region is set.
    #[error("no region is set: give --region, or set AWS_REGION")]
    NoRegion,
    /// No credentials were found, or they cannot be had.
    #[error(
        "no credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; after \
         `aws sso login` run `eval \"$(aws configure export-credentials --format env)\"`"
    )]
    NoCredentials(#[source] Option<CredentialsError>),
    /// The service said no.
    #[error("{operation} was refused, {code}: {message}")]
    Refused {
        /// AWS's name of the operation.
        operation: &'static str,
        /// AWS's name of the reason.
        code: String,
        /// The reason in words.
        message: String,
    },
    /// There was no answer.
    #[error("{operation}: no answer from {endpoint}; is it the right region, and is the network up?")]
    Unreachable {
        /// AWS's name of the operation.
        operation: &'static str,
        /// Where it went.
        endpoint: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer lacks what the operation promises.
    #[error("{operation}: the answer has no {field}")]
    Answer {
        /// AWS's name of the operation.
        operation: &'static str,
        /// What it lacks.
        field: &'static str,
    },
    /// No key could be made.
    #[error("cannot make a key and a signing request")]
    Key(#[from] rcgen::Error),
}

impl Error {
    /// The service does not know what was asked for.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "ResourceNotFoundException")
    }
}
