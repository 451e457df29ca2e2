//! Device shadows in AWS IoT Core.

use std::time::Duration;

use aws_sdk_iotdataplane::Client;
use aws_sdk_iotdataplane::config::timeout::TimeoutConfig;
use aws_sdk_iotdataplane::operation::get_thing_shadow::GetThingShadowError;
use aws_sdk_iotdataplane::operation::update_thing_shadow::UpdateThingShadowError;
use aws_sdk_iotdataplane::primitives::Blob;
use fieldline_model::{ShadowId, ShadowName};
use fieldline_store::StoreError;

use crate::{Aws, failure};

/// An attempt is answered, or it has failed.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Then the call is given up.
const PATIENCE: Duration = Duration::from_secs(8);

/// The data plane's shadows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IotShadows {
    client: Client,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShadowUpdate {
    /// It is done.
    Done,
    /// The shadow has another version.
    Conflict,
    /// The shadow would be larger than a shadow may be.
    TooLarge,
}

impl IotShadows {
    /// `endpoint` is the URL of the account's data plane, `https://…-ats.iot.<region>.amazonaws.com`.
    pub fn new(aws: &Aws, endpoint: &str) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(PATIENCE)
            .build();
        let config = aws_sdk_iotdataplane::config::Builder::from(aws.config())
            .endpoint_url(endpoint)
            .timeout_config(timeouts);
        Self { client: Client::from_conf(config.build()) }
    }

    /// The document as AWS IoT gives it; none where there is no such shadow.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn get(&self, shadow: &ShadowId) -> Result<Option<Vec<u8>>, StoreError> {
        let call = self.client.get_thing_shadow().thing_name(shadow.thing.as_str());
        let call = call.set_shadow_name(name(shadow));
        match call.send().await.map_err(|error| error.into_service_error()) {
            Ok(answer) => Ok(answer.payload.map(Blob::into_inner)),
            Err(GetThingShadowError::ResourceNotFoundException(_)) => Ok(None),
            Err(error) => Err(failure("AWS IoT", error)),
        }
    }

    /// Updates with a request as it would be published.
    ///
    /// # Errors
    /// It may or may not have been done.
    pub async fn update(&self, shadow: &ShadowId, request: Vec<u8>) -> Result<ShadowUpdate, StoreError> {
        let call = self.client.update_thing_shadow().thing_name(shadow.thing.as_str());
        let call = call.set_shadow_name(name(shadow)).payload(Blob::new(request));
        match call.send().await.map_err(|error| error.into_service_error()) {
            Ok(_) => Ok(ShadowUpdate::Done),
            Err(UpdateThingShadowError::ConflictException(_)) => Ok(ShadowUpdate::Conflict),
            Err(UpdateThingShadowError::RequestEntityTooLargeException(_)) => Ok(ShadowUpdate::TooLarge),
            Err(error) => Err(failure("AWS IoT", error)),
        }
    }
}

fn name(shadow: &ShadowId) -> Option<String> {
    shadow.name.as_ref().map(ShadowName::to_string)
}
