//! What is known about who asks.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The thing of a connection, as far as policies ask.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Thing {
    /// Its name.
    pub name: String,
    /// Its type, if it has one.
    pub type_name: Option<String>,
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
}

/// What is known about who asks: the values of policy variables. What is none has no value, and a resource
/// with a variable without a value matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// `iot:ClientId`: none over HTTP.
    pub client_id: Option<String>,
    /// `iot:Connection.Thing.…`: the thing attached to the certificate.
    pub thing: Option<Thing>,
    /// `iot:CertificateId`: SHA-256 of the certificate in lower-case hexadecimal.
    pub certificate_id: Option<String>,
    /// `iot:Certificate.Subject.CommonName`.
    pub common_name: Option<String>,
    /// `aws:SourceIp`: where the connection comes from.
    pub source_ip: Option<SourceIp>,
}

/// An address, and how it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceIp {
    address: IpAddr,
    text: Box<str>,
}

impl From<IpAddr> for SourceIp {
    /// An IPv4 address in IPv6's clothes is taken for what it is.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, text: address.to_string().into() }
    }
}

impl SourceIp {
    /// The address.
    pub fn address(&self) -> IpAddr {
        self.address
    }
}

/// A policy variable or condition key that has values here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Variable {
    ClientId,
    ThingName,
    ThingTypeName,
    Attribute(Box<str>),
    IsAttached,
    CertificateId,
    CommonName,
    SourceIp,
}

/// Keys are compared without case (IAM, "JSON policy elements: Condition").
const NAMES: [(&str, Variable); 7] = [
    ("iot:ClientId", Variable::ClientId),
    ("iot:Connection.Thing.ThingName", Variable::ThingName),
    ("iot:Connection.Thing.ThingTypeName", Variable::ThingTypeName),
    ("iot:Connection.Thing.IsAttached", Variable::IsAttached),
    ("iot:CertificateId", Variable::CertificateId),
    ("iot:Certificate.Subject.CommonName", Variable::CommonName),
    ("aws:SourceIp", Variable::SourceIp),
];
const ATTRIBUTE: &str = "iot:Connection.Thing.Attributes[";

impl Variable {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if let Some((_, variable)) = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Some(variable.clone());
        }
        let (prefix, rest) = name.split_at_checked(ATTRIBUTE.len())?;
        let attribute = rest.strip_suffix(']').filter(|attribute| !attribute.is_empty())?;
        prefix.eq_ignore_ascii_case(ATTRIBUTE).then(|| Self::Attribute(attribute.into()))
    }

    pub(crate) fn value<'a>(&self, variables: &'a Variables) -> Option<&'a str> {
        let thing = variables.thing.as_ref();
        match self {
            Self::ClientId => variables.client_id.as_deref(),
            Self::ThingName => thing.map(|thing| thing.name.as_str()),
            Self::ThingTypeName => thing.and_then(|thing| thing.type_name.as_deref()),
            Self::Attribute(name) => {
                thing.and_then(|thing| thing.attributes.get(&**name)).map(String::as_str)
            }
            Self::IsAttached => Some(if thing.is_some() { "true" } else { "false" }),
            Self::CertificateId => variables.certificate_id.as_deref(),
            Self::CommonName => variables.common_name.as_deref(),
            Self::SourceIp => variables.source_ip.as_ref().map(|source| &*source.text),
        }
        // An empty name is none: it would open `telemetry//`, which is nobody's.
        .filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_whatever_their_case() {
        assert_eq!(Variable::parse("IOT:clientid"), Some(Variable::ClientId));
        assert_eq!(
            Variable::parse("iot:Connection.Thing.Attributes[Hall]"),
            Some(Variable::Attribute("Hall".into()))
        );
        for name in
            ["", "iot:Client", "iot:Connection.Thing.Attributes[]", "iot:Connection.Thing.Attributes[x"]
        {
            assert_eq!(Variable::parse(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_value() {
        let mut variables = Variables { common_name: Some(String::new()), ..Variables::default() };
        for (name, variable) in NAMES {
            let expected = (variable == Variable::IsAttached).then_some("false");
            assert_eq!(variable.value(&variables), expected, "{name}");
        }
        variables.source_ip = Some("::ffff:10.0.0.7".parse::<IpAddr>().unwrap().into());
        assert_eq!(Variable::SourceIp.value(&variables), Some("10.0.0.7"));
    }
}
