//! `query` on AWS Lambda: the same router as on site, behind an HTTP API.

use std::process::ExitCode;

use axum::Router;
use fieldline_aws::Aws;
use fieldline_lambda::{Environment, SettingError, now, open_stores};

use crate::{State, router};

/// Lambda answers with 6 MB at most.
const PAGE_BYTES_MAX: usize = 5 << 20;

/// The router over the store that the settings name.
///
/// # Errors
/// A setting is missing or wrong.
pub async fn routes(environment: &Environment) -> Result<Router, SettingError> {
    let stores = open_stores(environment, &Aws::load().await).await?;
    let state = State::new(stores.readings, stores.ledger, now).with_page_bytes_max(PAGE_BYTES_MAX);
    Ok(router(state))
}

/// Answers requests until Lambda ends the process.
pub async fn run(routes: Router) -> ExitCode {
    match lambda_http::run(routes).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: &(dyn std::error::Error + 'static) = error.as_ref();
            tracing::error!(error, "the runtime has ended");
            ExitCode::FAILURE
        }
    }
}
