//! What comes in: names, parameters, bodies, tokens. Whatever is wrong with them is said as AWS says it.

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::data_plane::Failure;

/// Results of a page where nothing is said.
const PAGE: usize = 25;
/// Results of a page at most.
const PAGE_MAX: usize = 250;

/// The parts of a path.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let outcome = Path::<T>::from_request_parts(parts, state).await;
        let Path(named) =
            outcome.map_err(|rejection: PathRejection| Failure::invalid(rejection.body_text()))?;
        Ok(Self(named))
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let outcome = Query::<T>::from_request_parts(parts, state).await;
        let Query(parameters) =
            outcome.map_err(|rejection: QueryRejection| Failure::invalid(rejection.body_text()))?;
        Ok(Self(parameters))
    }
}

/// A JSON body, whatever its content type says; none stands for an empty object.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|rejection: BytesRejection| Failure::invalid(rejection.body_text()))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let body = serde_json::from_slice(text);
        body.map(Self).map_err(|error| Failure::invalid(format!("the body is not what is needed: {error}")))
    }
}

/// A page by `maxResults` and `nextToken`, or by `pageSize` and `marker`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Paging {
    max_results: Option<String>,
    next_token: Option<String>,
    page_size: Option<String>,
    marker: Option<String>,
}

impl Paging {
    /// How many results, and after which key.
    pub(super) fn read(&self) -> Result<(usize, Option<String>), Failure> {
        let limit = match self.max_results.as_ref().or(self.page_size.as_ref()) {
            None => PAGE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=PAGE_MAX).contains(limit))
                .ok_or_else(|| Failure::invalid(format!("a page has 1 to {PAGE_MAX} results")))?,
        };
        let token = self.next_token.as_ref().or(self.marker.as_ref());
        Ok((limit, token.map(|token| key_of(token)).transpose()?))
    }
}

/// A token is the key of the last result, so that it looks like nothing to be made up.
pub(super) fn token(key: &str) -> String {
    STANDARD.encode(key)
}

fn key_of(token: &str) -> Result<String, Failure> {
    let key = STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    key.ok_or_else(|| Failure::invalid("Invalid nextToken"))
}

/// A flag of a query, as AWS's clients write it.
pub(super) fn flag(text: Option<&String>) -> Result<Option<bool>, Failure> {
    match text.map(String::as_str) {
        None => Ok(None),
        Some("true" | "True") => Ok(Some(true)),
        Some("false" | "False") => Ok(Some(false)),
        Some(other) => Err(Failure::invalid(format!("{other} is neither true nor false"))),
    }
}

/// A number of a query.
pub(super) fn number(text: Option<&String>) -> Result<Option<u64>, Failure> {
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|_| Failure::invalid("a version is a whole number"))
}
