//! `rules` for AWS Lambda.

use std::process::ExitCode;

use fieldline_lambda::{Environment, initialise, run};
use rules::lambda::Cloud;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match initialise(Cloud::from(&Environment::of_process())).await {
        Ok(cloud) => run(|event, deadline| cloud.handle(event, deadline)).await,
        Err(code) => code,
    }
}
