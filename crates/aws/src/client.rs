use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls;
use aws_smithy_types::retry::RetryConfig;

/// Attempts at one call, the first included; between them the SDK waits with backoff and jitter.
const ATTEMPTS_MAX: u32 = 5;
/// A connection stands, or the attempt has failed.
const CONNECT: Duration = Duration::from_secs(3);
/// An attempt is answered, or it has failed.
const ATTEMPT: Duration = Duration::from_secs(10);
/// A call is answered, with all its attempts, or it has failed: an HTTP API waits for 30 s.
const CALL: Duration = Duration::from_secs(20);

/// The settings that all clients share: region, credentials, endpoint, HTTP client, retries. They come
/// from AWS's own environment variables and profiles. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
}

/// What a person's flags choose.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// A profile of `~/.aws/config`.
    pub profile: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// The URL that all calls go to: an emulator's.
    pub endpoint: Option<String>,
}

impl Aws {
    /// Reads AWS's environment.
    pub async fn load() -> Self {
        Self { config: Self::shared().load().await }
    }

    /// Reads AWS's environment; what `choice` says goes before it.
    pub async fn load_with(choice: Choice) -> Self {
        let mut config = Self::shared();
        if let Some(profile) = choice.profile {
            config = config.profile_name(profile);
        }
        if let Some(region) = choice.region {
            config = config.region(Region::new(region));
        }
        if let Some(endpoint) = choice.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Self { config: config.load().await }
    }

    fn shared() -> ConfigLoader {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(CALL)
            .build();
        aws_config::defaults(BehaviorVersion::latest())
            .http_client(http)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts)
    }

    /// Settings for an emulator at `endpoint`, with a region and credentials of its own; an attempt at a
    /// call may take `attempt`.
    pub async fn emulator(endpoint: &str, attempt: Duration) -> Self {
        let credentials = Credentials::new("emulator", "emulator", None, None, "emulator");
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt);
        let config = Self::shared()
            .endpoint_url(endpoint)
            .region(Region::from_static("us-east-1"))
            .credentials_provider(credentials)
            .timeout_config(timeouts.build());
        Self { config: config.load().await }
    }

    /// Settings of a test.
    #[cfg(all(test, feature = "timestream"))]
    pub(crate) fn of(config: SdkConfig) -> Self {
        Self { config }
    }

    /// The settings as the SDK's clients take them.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// A client for S3. With a custom endpoint the bucket stands in the path, since an emulator has no
    /// host for each bucket.
    #[cfg(any(feature = "ledger", feature = "rules", feature = "s3"))]
    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config);
        let config = config.force_path_style(self.has_custom_endpoint());
        aws_sdk_s3::Client::from_conf(config.build())
    }

    /// Whether calls go to an endpoint that was configured for all services, such as an emulator.
    pub fn has_custom_endpoint(&self) -> bool {
        self.config.endpoint_url().is_some()
    }
}
