//! Clients, and where they send.
//!
//! AWS serves Timestream in cells: a client asks `DescribeEndpoints` for the address of its own, asks
//! anew before that expires, and sends everything there, always by HTTPS. An emulator has no cells; what
//! it answers to that question would lead away from it. So where an endpoint is configured, nothing is
//! discovered.

use aws_types::service_config::ServiceConfigKey;
use fieldline_store::StoreError;

use super::SERVICE;
use crate::Aws;

const WRITE: &str = "Timestream Write";
const QUERY: &str = "Timestream Query";

/// Whether an endpoint is configured for all services, or for this one: by `AWS_ENDPOINT_URL_…` or in
/// the profile. [`aws_config::SdkConfig::endpoint_url`] shows only the former, the clients follow both.
fn is_custom(aws: &Aws, service: &str) -> bool {
    let key = ServiceConfigKey::builder().service_id(service).env("AWS_ENDPOINT_URL").profile("endpoint_url");
    let own = key.build().ok().and_then(|key| aws.config().service_config()?.load_config(key));
    aws.has_custom_endpoint() || own.is_some()
}

fn undiscovered(source: Box<dyn std::error::Error + Send + Sync>) -> StoreError {
    StoreError::Unavailable { service: SERVICE, source }
}

pub(super) async fn writer(aws: &Aws) -> Result<aws_sdk_timestreamwrite::Client, StoreError> {
    let client = aws_sdk_timestreamwrite::Client::new(aws.config());
    if is_custom(aws, WRITE) {
        return Ok(client);
    }
    let (client, reload) = client.with_endpoint_discovery_enabled().await.map_err(undiscovered)?;
    // It ends by itself once the client is gone.
    tokio::spawn(reload.reload_task());
    Ok(client)
}

pub(super) async fn reader(aws: &Aws) -> Result<aws_sdk_timestreamquery::Client, StoreError> {
    let client = aws_sdk_timestreamquery::Client::new(aws.config());
    if is_custom(aws, QUERY) {
        return Ok(client);
    }
    let (client, reload) = client.with_endpoint_discovery_enabled().await.map_err(undiscovered)?;
    tokio::spawn(reload.reload_task());
    Ok(client)
}

#[cfg(test)]
mod tests;
