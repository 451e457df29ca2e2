//! Secrets by name, out of Secrets Manager.

use aws_sdk_secretsmanager::Client;
use fieldline_store::StoreError;

use crate::{Aws, failure};

const SERVICE: &str = "Secrets Manager";

/// The current text of a secret; `id` is its name or ARN. Keep it out of logs and errors.
///
/// # Errors
/// There is no such secret, it may not be read, or it holds bytes instead of a text.
pub async fn secret(aws: &Aws, id: &str) -> Result<String, StoreError> {
    let answer = Client::new(aws.config()).get_secret_value().secret_id(id).send().await;
    let answer = answer.map_err(|error| failure(SERVICE, error.into_service_error()))?;
    answer.secret_string.ok_or_else(|| {
        let source = format!("the secret {id} holds bytes: put its text into SecretString").into();
        StoreError::Rejected { service: SERVICE, source }
    })
}
