use fieldline_model::GatewayId;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::{Certificate, Error};

/// A gateway's private key, ECDSA on P-256. It is never printed and never sent.
pub struct Key {
    pair: KeyPair,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Makes a new one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, Error> {
        Ok(Self { pair: KeyPair::generate()? })
    }

    /// Reads one as [`Key::to_pem`] writes it.
    ///
    /// # Errors
    /// The text is no private key in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        Ok(Self { pair: KeyPair::from_pem(pem)? })
    }

    /// PKCS #8 in PEM: for a file of mode 0600.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// The request to sign a certificate for `gateway` with this key, PEM. AWS IoT asks for nothing
    /// in it; the common name is there for whoever looks at the certificate.
    ///
    /// # Errors
    /// The gateway's id cannot stand in it.
    pub fn request(&self, gateway: &GatewayId) -> Result<String, Error> {
        let mut parameters = CertificateParams::default();
        // RFC 5280 gives a common name 64 characters at most.
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, gateway.as_str().chars().take(64).collect::<String>());
        parameters.distinguished_name = name;
        Ok(parameters.serialize_request(&self.pair)?.pem()?)
    }
}

/// The file of a certificate: its ARN as a comment, then PEM. RFC 7468 lets text stand before the first
/// boundary and has readers skip it. So one file, written at once, says whether there is a certificate
/// and which one.
pub fn with_arn(certificate: &Certificate) -> String {
    format!("# {}\n{}", certificate.arn, certificate.pem)
}

/// The ARN in such a file.
pub fn certificate_arn(file: &str) -> Option<&str> {
    let arn = file.lines().next()?.strip_prefix("# ")?.trim();
    (arn.starts_with("arn:") && arn.contains(":cert/")).then_some(arn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_from_its_file_and_asks_for_the_same() {
        let key = Key::generate().unwrap();
        let again = Key::from_pem(&key.to_pem()).unwrap();
        assert_eq!(again.to_pem(), key.to_pem());
        let request = again.request(&GatewayId::new(&"g".repeat(128)).unwrap()).unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"), "{request}");
        assert_eq!(format!("{key:?}"), "Key");
        assert!(Key::from_pem("nothing").is_err());
    }

    #[test]
    fn a_certificates_file_names_it() {
        let arn = "arn:aws:iot:eu-central-1:111122223333:cert/ab12".to_owned();
        let pem = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_owned();
        let file = with_arn(&Certificate { arn: arn.clone(), pem: pem.clone() });
        assert_eq!(certificate_arn(&file), Some(arn.as_str()));
        for other in [pem.as_str(), "", "# a remark\n"] {
            assert_eq!(certificate_arn(other), None);
        }
    }
}
