//! `query` for AWS Lambda.

use std::process::ExitCode;

use fieldline_lambda::{Environment, initialise};
use query::lambda::{routes, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match initialise(routes(&Environment::of_process())).await {
        Ok(routes) => run(routes).await,
        Err(code) => code,
    }
}
