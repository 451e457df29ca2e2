//! The authority at work in the server: it signs for the registry, and shows its certificate.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use query::Problem;
use serde_json::{Value, json};

use super::{Authority, DEVICE_VALIDITY};
use crate::registry::{SignError, Signer};

impl Signer for Authority {
    fn issue(&self, common_name: &str) -> Result<(String, String), SignError> {
        let issued = Self::issue(self, common_name, DEVICE_VALIDITY).map_err(|error| refused(&error))?;
        Ok((issued.certificate, issued.key))
    }

    fn sign(&self, request_pem: &str) -> Result<String, SignError> {
        self.sign_csr(request_pem, None, DEVICE_VALIDITY).map_err(|error| refused(&error))
    }
}

fn refused(error: &super::Error) -> SignError {
    SignError(error.to_string())
}

/// `GET /api/v1/authority`: `{"certificate": PEM}`.
pub(crate) fn router(authority: Option<Arc<Authority>>) -> Router {
    Router::new().route("/api/v1/authority", get(show)).with_state(authority)
}

async fn show(State(authority): State<Option<Arc<Authority>>>) -> Result<Json<Value>, Problem> {
    match authority {
        Some(authority) => Ok(Json(json!({ "certificate": authority.certificate() }))),
        None => {
            let detail = "this site has no authority; make one with `fieldline certs init`".to_owned();
            Err(Problem::new(StatusCode::NOT_FOUND, "no authority", detail))
        }
    }
}
