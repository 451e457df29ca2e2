//! Gateways in the registry of AWS IoT: things, certificates, and what hangs on what.
//!
//! The six operations are called without `aws-sdk-iot`, which is the largest of the SDK's crates
//! (docs/decisions/0008-enrolment-without-the-iot-sdk.md); retries, timeouts, credentials and signature are the SDK's.

mod call;
mod error;
mod key;

use fieldline_model::GatewayId;
use serde_json::{Value, json};

use crate::Aws;
use call::{Call, encoded, send};
pub use error::Error;
pub use key::{Key, certificate_arn, with_arn};

/// The registry of an account in a region. Each call may be made twice. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    aws: Aws,
}

/// What AWS made of a signing request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// `arn:aws:iot:<region>:<account>:cert/<id>`
    pub arn: String,
    /// PEM.
    pub pem: String,
}

impl Registry {
    /// The registry that `aws` leads to.
    pub fn new(aws: &Aws) -> Self {
        Self { aws: aws.clone() }
    }

    /// The address of the control plane.
    ///
    /// # Errors
    /// No region is set.
    pub fn endpoint(&self) -> Result<String, Error> {
        call::endpoint(&self.aws)
    }

    /// Asks whether the policy is there.
    ///
    /// # Errors
    /// It is not ([`Error::is_not_found`]), or the call fails.
    pub async fn find_policy(&self, name: &str) -> Result<(), Error> {
        self.get("GetPolicy", format!("/policies/{}", encoded(name))).await.map(drop)
    }

    /// The host that gateways connect to.
    ///
    /// # Errors
    /// The call fails.
    pub async fn data_endpoint(&self) -> Result<String, Error> {
        let path = format!("/endpoint?endpointType={}", encoded("iot:Data-ATS"));
        let answer = self.get("DescribeEndpoint", path).await?;
        text(&answer, "DescribeEndpoint", "endpointAddress")
    }

    /// Makes the thing of a gateway. One that is there already is left as it is.
    ///
    /// # Errors
    /// The call fails.
    pub async fn create_thing(&self, gateway: &GatewayId) -> Result<(), Error> {
        let call = Call {
            operation: "CreateThing",
            method: "POST",
            path: format!("/things/{}", encoded(gateway.as_str())),
            principal: None,
            body: Some(json!({})),
        };
        match send(&self.aws, call).await {
            // With attributes that somebody gave it; without any, AWS says that all is well.
            Err(Error::Refused { code, .. }) if code == "ResourceAlreadyExistsException" => Ok(()),
            other => other.map(drop),
        }
    }

    /// Has a signing request, PEM, made into a certificate that is active at once. Called twice, it
    /// makes two; one that nothing is attached to lets nobody in.
    ///
    /// # Errors
    /// The call fails.
    pub async fn create_certificate(&self, request: &str) -> Result<Certificate, Error> {
        let operation = "CreateCertificateFromCsr";
        let call = Call {
            operation,
            method: "POST",
            path: "/certificates?setAsActive=true".to_owned(),
            principal: None,
            body: Some(json!({ "certificateSigningRequest": request })),
        };
        let answer = send(&self.aws, call).await?;
        Ok(Certificate {
            arn: text(&answer, operation, "certificateArn")?,
            pem: text(&answer, operation, "certificatePem")?,
        })
    }

    /// Whether the certificate is there: `ACTIVE`, `INACTIVE`, `REVOKED` and so on.
    ///
    /// # Errors
    /// It is not ([`Error::is_not_found`]), or the call fails.
    pub async fn certificate_status(&self, arn: &str) -> Result<String, Error> {
        let id = arn.rsplit('/').next().unwrap_or_default();
        let answer = self.get("DescribeCertificate", format!("/certificates/{}", encoded(id))).await?;
        let description = answer.get("certificateDescription").unwrap_or(&Value::Null);
        text(description, "DescribeCertificate", "status")
    }

    /// Lets the certificate do what the policy says.
    ///
    /// # Errors
    /// The call fails.
    pub async fn attach_policy(&self, policy: &str, certificate: &str) -> Result<(), Error> {
        let call = Call {
            operation: "AttachPolicy",
            method: "PUT",
            path: format!("/target-policies/{}", encoded(policy)),
            principal: None,
            body: Some(json!({ "target": certificate })),
        };
        send(&self.aws, call).await.map(drop)
    }

    /// Makes the certificate the gateway's.
    ///
    /// # Errors
    /// The call fails.
    pub async fn attach_thing(&self, gateway: &GatewayId, certificate: &str) -> Result<(), Error> {
        let call = Call {
            operation: "AttachThingPrincipal",
            method: "PUT",
            path: format!("/things/{}/principals", encoded(gateway.as_str())),
            principal: Some(certificate.to_owned()),
            body: None,
        };
        send(&self.aws, call).await.map(drop)
    }

    async fn get(&self, operation: &'static str, path: String) -> Result<Value, Error> {
        send(&self.aws, Call { operation, method: "GET", path, principal: None, body: None }).await
    }
}

fn text(answer: &Value, operation: &'static str, field: &'static str) -> Result<String, Error> {
    let found = answer.get(field).and_then(Value::as_str);
    found.map(str::to_owned).ok_or(Error::Answer { operation, field })
}
