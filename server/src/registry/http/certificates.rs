//! `/certificates` and their makings: CreateKeysAndCertificate, CreateCertificateFromCsr,
//! RegisterCertificate, RegisterCertificateWithoutCA, DescribeCertificate, ListCertificates,
//! UpdateCertificate, DeleteCertificate.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use fieldline_registry::{Certificate, CertificateStatus, NewCertificate};
use serde::Deserialize;
use serde_json::{Value, json};

use super::read::{Body, Named, Paging, Parameters, flag};
use super::{ControlPlane, Reply, done, listed, seconds};
use crate::data_plane::Failure;
use crate::registry::x509::Read;
use crate::registry::{SignError, Signer};

/// As AWS has it; blanks make it no name of a thing.
const COMMON_NAME: &str = "AWS-IoT-Certificate";

pub(super) fn routes() -> Router<ControlPlane> {
    Router::new()
        .route("/keys-and-certificate", post(create_keys))
        .route("/certificates", get(list).post(create_from_request))
        .route("/certificates/{certificate}", get(describe).put(update).delete(delete))
        .route("/certificate/register", post(register))
        .route("/certificate/register-no-ca", post(register_without_ca))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Activation {
    set_as_active: Option<String>,
}

impl Activation {
    fn status(&self) -> Result<CertificateStatus, Failure> {
        Ok(match flag(self.set_as_active.as_ref())? {
            Some(true) => CertificateStatus::Active,
            Some(false) | None => CertificateStatus::Inactive,
        })
    }
}

fn signer(plane: &ControlPlane) -> Result<&dyn Signer, Failure> {
    let message = "there is no certificate authority here; make one with `fieldline certs init`";
    plane.signer.as_deref().ok_or_else(|| Failure::invalid(message))
}

/// The cause may be the request's as well as ours: it is said, for it holds no secret.
fn not_signed(error: SignError) -> Failure {
    Failure::invalid(error.to_string())
}

/// Registers what a PEM text holds.
async fn keep(
    plane: &ControlPlane,
    pem: String,
    read: Read,
    status: CertificateStatus,
    without_ca: bool,
) -> Result<Certificate, Failure> {
    let Read { id, not_before_s, not_after_s, .. } = read;
    let new = NewCertificate { id, pem, status, without_ca, not_before_s, not_after_s };
    plane.keeper.change(|registry, fresh| registry.register_certificate(new, fresh)).await
}

async fn create_keys(
    State(plane): State<ControlPlane>,
    Parameters(activation): Parameters<Activation>,
) -> Reply {
    let status = activation.status()?;
    let (pem, key) = signer(&plane)?.issue(COMMON_NAME).map_err(not_signed)?;
    let read = Read::pem(&pem)?;
    let public = read.public_key_pem.clone();
    let kept = keep(&plane, pem, read, status, false).await?;
    let mut answer = with_pem(&kept);
    answer["keyPair"] = json!({ "PublicKey": public, "PrivateKey": key });
    Ok(Json(answer))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SigningRequest {
    certificate_signing_request: String,
}

async fn create_from_request(
    State(plane): State<ControlPlane>,
    Parameters(activation): Parameters<Activation>,
    Body(body): Body<SigningRequest>,
) -> Reply {
    let status = activation.status()?;
    let pem = signer(&plane)?.sign(&body.certificate_signing_request).map_err(not_signed)?;
    let read = Read::pem(&pem)?;
    let kept = keep(&plane, pem, read, status, false).await?;
    Ok(Json(with_pem(&kept)))
}

fn with_pem(kept: &Certificate) -> Value {
    json!({ "certificateArn": kept.arn(), "certificateId": kept.id, "certificatePem": kept.pem })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Register {
    certificate_pem: String,
    ca_certificate_pem: Option<String>,
    status: Option<String>,
}

impl Register {
    fn status(&self) -> Result<Option<CertificateStatus>, Failure> {
        Ok(self.status.as_deref().map(str::parse).transpose()?)
    }
}

async fn register(
    State(plane): State<ControlPlane>,
    Parameters(activation): Parameters<Activation>,
    Body(body): Body<Register>,
) -> Reply {
    let status = match body.status()? {
        Some(status) => status,
        None => activation.status()?,
    };
    let read = Read::pem(&body.certificate_pem)?;
    if let Some(authority) = &body.ca_certificate_pem
        && !read.names_as_issuer(&Read::pem(authority)?)
    {
        let message = "the certificate names another issuer than this CA certificate";
        return Err(Failure::new(StatusCode::BAD_REQUEST, "CertificateValidationException", message));
    }
    registered(keep(&plane, body.certificate_pem, read, status, false).await?)
}

async fn register_without_ca(State(plane): State<ControlPlane>, Body(body): Body<Register>) -> Reply {
    // Without a word it is inactive, as with RegisterCertificate.
    let status = body.status()?.unwrap_or(CertificateStatus::Inactive);
    let read = Read::pem(&body.certificate_pem)?;
    registered(keep(&plane, body.certificate_pem, read, status, true).await?)
}

fn registered(kept: Certificate) -> Reply {
    Ok(Json(json!({ "certificateArn": kept.arn(), "certificateId": kept.id })))
}

async fn describe(State(plane): State<ControlPlane>, Named(id): Named<String>) -> Reply {
    let found = plane.keeper.handle().read(|registry| registry.certificate(&id).cloned())?;
    let mut answer = summary(&found);
    answer["certificatePem"] = json!(found.pem);
    answer["ownedBy"] = json!("000000000000");
    answer["lastModifiedDate"] = seconds(found.modified_ms);
    answer["customerVersion"] = json!(found.version);
    answer["validity"] = json!({ "notBefore": found.not_before_s, "notAfter": found.not_after_s });
    Ok(Json(json!({ "certificateDescription": answer })))
}

/// What a list says of a certificate.
fn summary(found: &Certificate) -> Value {
    json!({
        "certificateArn": found.arn(),
        "certificateId": found.id,
        "status": found.status.as_str(),
        "certificateMode": found.mode(),
        "creationDate": seconds(found.created_ms),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewStatus {
    new_status: String,
}

async fn update(
    State(plane): State<ControlPlane>,
    Named(id): Named<String>,
    Parameters(parameters): Parameters<NewStatus>,
) -> Reply {
    let status = parameters.new_status.parse()?;
    plane.keeper.change(move |registry, fresh| registry.update_certificate(&id, status, fresh)).await?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Force {
    force_delete: Option<String>,
}

async fn delete(
    State(plane): State<ControlPlane>,
    Named(id): Named<String>,
    Parameters(parameters): Parameters<Force>,
) -> Reply {
    let force = flag(parameters.force_delete.as_ref())?.unwrap_or_default();
    plane.keeper.change(move |registry, _| registry.delete_certificate(&id, force)).await?;
    done()
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Order {
    is_ascending_order: Option<String>,
}

impl Order {
    pub(super) fn ascending(&self) -> Result<Option<bool>, Failure> {
        flag(self.is_ascending_order.as_ref())
    }
}

async fn list(
    State(plane): State<ControlPlane>,
    Parameters(order): Parameters<Order>,
    Parameters(paging): Parameters<Paging>,
) -> Reply {
    let (limit, after) = paging.read()?;
    let ascending = order.ascending()?.unwrap_or_default();
    plane.keeper.handle().read(|registry| {
        let page = registry.list_certificates(ascending, after.as_deref(), limit);
        Ok(Json(listed(page, "certificates", "nextMarker", |found| summary(found))))
    })
}
