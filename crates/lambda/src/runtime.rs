use std::future::Future;
use std::process::ExitCode;
use std::time::SystemTime;

use fieldline_model::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing_subscriber::EnvFilter;

/// What a function fails with: Lambda tries again, and then hands the event to where failures go.
pub type Error = lambda_runtime::Error;

/// Starts logging, and makes a function's context; what is wrong with its settings is logged, with the
/// whole chain of causes.
///
/// # Errors
/// The exit code to end the process with.
pub async fn initialise<C, E>(context: impl Future<Output = Result<C, E>>) -> Result<C, ExitCode>
where
    E: std::error::Error + 'static,
{
    let filter = EnvFilter::try_from_env("FIELDLINE_LOG").unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_current_span(true)
        .with_span_list(false)
        // CloudWatch stamps every line.
        .without_time()
        .init();
    context.await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the function cannot start");
        ExitCode::FAILURE
    })
}

/// The time by the clock of the machine.
pub fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// Serves invocations until Lambda ends the process. Each runs in a span that carries its request id.
pub async fn run<A, B, F>(handler: impl Fn(A) -> F) -> ExitCode
where
    A: DeserializeOwned,
    B: Serialize,
    F: Future<Output = Result<B, Error>>,
{
    let service = service_fn(|event: LambdaEvent<A>| handler(event.payload));
    match lambda_runtime::run(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            tracing::error!(error, "the runtime has ended");
            ExitCode::FAILURE
        }
    }
}
