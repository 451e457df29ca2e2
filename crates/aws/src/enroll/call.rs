//! One signed call of AWS IoT's control plane, which speaks JSON over plain HTTP methods.

use std::time::SystemTime;

use aws_config::BehaviorVersion;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{HttpStatusCodeClassifier, TransientErrorClassifier};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::body::SdkBody;
use serde_json::Value;

use super::Error;
use crate::Aws;

/// Answers that say: not now, but perhaps in a moment.
const PASSING: &[u16] = &[429, 500, 502, 503, 504];

/// What is asked of the control plane.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// AWS's name of the operation.
    pub(super) operation: &'static str,
    pub(super) method: &'static str,
    /// The path and, where there is one, the query, percent-encoded.
    pub(super) path: String,
    /// The header `x-amzn-principal`, where the operation takes it.
    pub(super) principal: Option<String>,
    pub(super) body: Option<Value>,
}

/// What the service said when it said no.
#[derive(Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct Refusal {
    code: String,
    message: String,
}

/// Signs, sends, tries again within the bounds of `aws`, and reads the answer.
pub(super) async fn send(aws: &Aws, call: Call) -> Result<Value, Error> {
    let operation = call.operation;
    let endpoint = endpoint(aws)?;
    let config = aws.config();
    let region = config.region().ok_or(Error::NoRegion)?.to_string();
    let provider = config.credentials_provider().ok_or(Error::NoCredentials(None))?;
    let credentials = provider.provide_credentials().await.map_err(|error| match error {
        // It lists over many lines where it has looked; what to do is said in one.
        CredentialsError::CredentialsNotLoaded(_) => Error::NoCredentials(None),
        other => Error::NoCredentials(Some(other)),
    })?;
    let http = config.http_client().ok_or_else(|| Error::Unreachable {
        operation,
        endpoint: endpoint.clone(),
        source: "the settings have no HTTP client".into(),
    })?;
    let identity = Identity::from(credentials);
    let base = endpoint.clone();
    let mut builder = Operation::builder()
        .service_name("iot")
        .operation_name(operation)
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(&endpoint)
        .no_auth()
        .retry_classifier(HttpStatusCodeClassifier::new_from_codes(PASSING))
        .retry_classifier(TransientErrorClassifier::<Refusal>::new());
    if let Some(retry) = config.retry_config() {
        builder = builder.standard_retry(retry);
    }
    if let Some(timeouts) = config.timeout_config() {
        builder = builder.timeout_config(timeouts.clone());
    }
    let done = builder
        .serializer(move |call: Call| request(&call, &base, &region, &identity))
        .deserializer(answer)
        .build()
        .invoke(call)
        .await;
    done.map_err(|error| told(operation, endpoint, error))
}

/// The control plane's address: the one for all services, or the region's own.
pub(super) fn endpoint(aws: &Aws) -> Result<String, Error> {
    if let Some(url) = aws.config().endpoint_url() {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    let region = aws.config().region().ok_or(Error::NoRegion)?;
    let suffix = if region.as_ref().starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Ok(format!("https://iot.{region}.{suffix}"))
}

fn request(call: &Call, endpoint: &str, region: &str, identity: &Identity) -> Result<HttpRequest, BoxError> {
    let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
    let mut headers = Vec::new();
    if call.body.is_some() {
        headers.push(("content-type", "application/json"));
    }
    if let Some(principal) = &call.principal {
        headers.push(("x-amzn-principal", principal));
    }
    let parameters = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name("iot")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let uri = format!("{endpoint}{}", call.path);
    let signable = SignableRequest::new(
        call.method,
        uri,
        headers.iter().copied(),
        SignableBody::Bytes(body.as_bytes()),
    )?;
    let (signature, _) = sign(signable, &parameters)?.into_parts();
    let mut request = HttpRequest::new(SdkBody::from(body.as_str()));
    request.set_method(call.method)?;
    request.set_uri(call.path.as_str())?;
    for (name, value) in headers.into_iter().chain(signature.headers()) {
        request.headers_mut().try_insert(name.to_owned(), value.to_owned())?;
    }
    Ok(request)
}

fn answer(response: &HttpResponse) -> Result<Value, OrchestratorError<Refusal>> {
    let bytes = response.body().bytes().unwrap_or_default();
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if response.status().is_success() {
        return Ok(body);
    }
    let text = |key: &str| body.get(key).and_then(Value::as_str);
    let named = response.headers().get("x-amzn-errortype").or_else(|| text("__type")).unwrap_or_default();
    // "ResourceNotFoundException:http://…" in the header, "namespace#ResourceNotFoundException" in a body.
    let named = named.split(':').next().and_then(|name| name.rsplit('#').next()).unwrap_or_default();
    let status = response.status().as_u16();
    let code = if named.is_empty() { format!("HTTP {status}") } else { named.to_owned() };
    let message = text("message").or_else(|| text("Message")).unwrap_or("no reason given").to_owned();
    Err(OrchestratorError::operation(Refusal { code, message }))
}

fn told(operation: &'static str, endpoint: String, error: SdkError<Refusal, HttpResponse>) -> Error {
    match error {
        SdkError::ServiceError(refused) => {
            let Refusal { code, message } = refused.into_err();
            Error::Refused { operation, code, message }
        }
        other => Error::Unreachable { operation, endpoint, source: Box::new(other) },
    }
}

/// A part of a path or a query, with everything but the unreserved characters percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}
