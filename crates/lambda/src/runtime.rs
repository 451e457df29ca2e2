use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use fieldline_model::Timestamp;
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing_subscriber::EnvFilter;

/// How much is logged, as `tracing`'s filters have it; `info` where it is not set.
const LOG: &str = "FIELDLINE_LOG";

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
    let wish = std::env::var(LOG).ok().filter(|wish| !wish.is_empty());
    let filter = EnvFilter::try_new(wish.as_deref().unwrap_or("info"));
    let wrong = filter.as_ref().err().map(ToString::to_string);
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter.unwrap_or_else(|_told_below| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_current_span(true)
        .with_span_list(false)
        // CloudWatch stamps every line.
        .without_time()
        .init();
    if let Some(why) = wrong {
        tracing::error!(
            value = wish,
            why,
            "the function cannot start: {LOG} is no filter such as info,storage=debug"
        );
        return Err(ExitCode::FAILURE);
    }
    context.await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "the function cannot start");
        ExitCode::FAILURE
    })
}

/// The time by the clock of the machine.
pub fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// Serves invocations until Lambda ends the process. Each runs in a span that carries its request id, and
/// is told when Lambda would cut it off.
pub async fn run<A, B, F>(handler: impl Fn(A, Instant) -> F) -> ExitCode
where
    A: DeserializeOwned,
    B: Serialize,
    F: Future<Output = Result<B, Error>>,
{
    let service = service_fn(|event: LambdaEvent<A>| {
        let deadline = Duration::from_millis(event.context.deadline);
        let left = (SystemTime::UNIX_EPOCH + deadline).duration_since(SystemTime::now()).unwrap_or_default();
        handler(event.payload, Instant::now() + left)
    });
    match lambda_runtime::run(service).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            tracing::error!(error, "the runtime has ended");
            ExitCode::FAILURE
        }
    }
}
