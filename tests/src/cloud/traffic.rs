//! What was asked of AWS's services: calls and bytes by service and operation.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::request::Parts;

/// Calls of one operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// How many.
    pub calls: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

/// All calls so far.
#[derive(Debug, Default)]
pub(super) struct Traffic(BTreeMap<String, Volume>);

impl Traffic {
    pub(super) fn count(&mut self, call: &Parts, body: &[u8]) {
        let volume = self.0.entry(operation(call, body)).or_default();
        volume.calls += 1;
        volume.bytes += body.len() as u64;
    }

    pub(super) fn volumes(&self) -> Vec<(String, Volume)> {
        self.0.iter().map(|(name, volume)| (name.clone(), *volume)).collect()
    }
}

/// `<service> <operation>`: the service by the signature's scope, the operation by the target, by the
/// form's action, or by the method where there is neither.
fn operation(call: &Parts, body: &[u8]) -> String {
    let service = header(&call.headers, "authorization").and_then(scope).unwrap_or("unsigned");
    let target = header(&call.headers, "x-amz-target").and_then(|target| target.rsplit('.').next());
    let action = || {
        let form = std::str::from_utf8(body).ok()?.split('&');
        form.filter_map(|field| field.strip_prefix("Action=")).next()
    };
    let operation = target.or_else(action).unwrap_or(call.method.as_str());
    format!("{service} {operation}")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// `Credential=<key>/<day>/<region>/<service>/aws4_request`.
fn scope(authorization: &str) -> Option<&str> {
    authorization.split("Credential=").nth(1)?.split('/').nth(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_service_and_operation() {
        let scope = |service: &str| {
            format!("AWS4-HMAC-SHA256 Credential=key/20261122/us-east-1/{service}/aws4_request, Signature=0")
        };
        let call = |service: &str, target: Option<&str>| {
            let mut request = axum::http::Request::put("/").header("authorization", scope(service));
            if let Some(target) = target {
                request = request.header("x-amz-target", target);
            }
            request.body(()).expect("a request").into_parts().0
        };
        let mut traffic = Traffic::default();
        traffic.count(&call("dynamodb", Some("DynamoDB_20120810.GetItem")), b"{}");
        traffic.count(&call("sns", None), b"Action=Publish&Message=x");
        traffic.count(&call("s3", None), b"12345");
        traffic.count(&call("s3", None), b"");
        let expected = [("dynamodb GetItem", 1, 2), ("s3 PUT", 2, 5), ("sns Publish", 1, 24)];
        let expected = expected.map(|(name, calls, bytes)| (name.to_owned(), Volume { calls, bytes }));
        assert_eq!(traffic.volumes(), expected);
    }
}
