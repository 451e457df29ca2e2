use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fieldline_store::StoreError;

/// Error codes that say: not now, but perhaps later. Beside them every failure without a code (no
/// connection, no answer in time) is one.
const PASSING: [&str; 14] = [
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "InternalServerException",
    "InternalServerError",
    "InternalFailureException",
    "InternalFailure",
    "InternalError",
    "ServiceUnavailable",
    "SlowDown",
];

/// What a failed call of an AWS service is to whoever asked the store: something to try again, or
/// something that a person has to change.
pub fn failure<E>(service: &'static str, error: E) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let passing = error.code().is_none_or(|code| PASSING.contains(&code));
    let source = Box::new(error);
    if passing {
        StoreError::Unavailable { service, source }
    } else {
        StoreError::Rejected { service, source }
    }
}
