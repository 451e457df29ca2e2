//! Who makes an HTTP request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fieldline_policy::{Action, Resource};

use super::{Access, Principal, is_reserved};
use crate::data_plane::Failure;
use crate::https::Peer;

/// Who makes a request: somebody with a certificate, or a program on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Option<Arc<Principal>>);

impl Caller {
    /// Whether the caller may do it; a refusal is AWS IoT's.
    pub(crate) fn check(&self, action: Action, resource: Resource<'_>) -> Result<(), Failure> {
        match &self.0 {
            Some(principal) if !principal.may(action, resource) => Err(Failure::forbidden("Forbidden")),
            _ => Ok(()),
        }
    }

    /// Whether the caller may publish there, the server's own topics set aside.
    pub(crate) fn check_publish(&self, topic: &str, retain: bool) -> Result<(), Failure> {
        self.check(Action::Publish, Resource::Topic(topic))?;
        if retain {
            self.check(Action::RetainPublish, Resource::Topic(topic))?;
        }
        // On this machine a `storage` that runs elsewhere speaks for the server.
        match self.0.is_some() && is_reserved(topic) {
            true => Err(Failure::forbidden("this topic is the server's own")),
            false => Ok(()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Arc<Principal>>().cloned()))
    }
}

/// Finds out who calls over TLS, and turns away whose certificate may not be used.
pub(crate) async fn identify(
    State(access): State<Access>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = peer.identity.as_deref();
    let principal = identity.and_then(|identity| access.principal(identity, None, peer.address.ip()));
    match principal {
        Some(principal) => {
            request.extensions_mut().insert(Arc::new(principal));
            next.run(request).await
        }
        None => Failure::forbidden("Forbidden").into_response(),
    }
}
