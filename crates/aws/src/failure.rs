use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fieldline_store::StoreError;

/// Error codes that say: not now, but perhaps later. Beside them every failure without a code (no
/// connection, no answer in time) is one.
const PASSING: [&str; 18] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "InternalServerException",
    "InternalServerError",
    "InternalServiceError",
    "InternalFailureException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "KMSThrottling",
    "KMSThrottlingException",
    "SlowDown",
];

/// What a service said, in words: the SDK's own errors keep them to themselves.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
struct Said<E: std::error::Error + 'static> {
    code: String,
    message: String,
    #[source]
    source: E,
}

/// What a failed call of an AWS service is to whoever asked the store: something to try again, or
/// something that a person has to change.
pub fn failure<E>(service: &'static str, error: E) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let passing = error.code().is_none_or(|code| PASSING.contains(&code));
    let source = Box::new(Said {
        code: error.code().unwrap_or("no answer").to_owned(),
        message: error.message().unwrap_or("the call came to nothing").to_owned(),
        source: error,
    });
    if passing {
        StoreError::Unavailable { service, source }
    } else {
        StoreError::Rejected { service, source }
    }
}
