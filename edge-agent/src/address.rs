//! Addresses of brokers as they stand in configurations: `mqtt://host:port`, `mqtts://host:port`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Where a broker is and whether it speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ServerAddress {
    /// A name or an address.
    pub host: String,
    /// The port; 1883 for `mqtt://` and 8883 for `mqtts://` where none is given.
    pub port: u16,
    /// Whether the scheme is `mqtts`.
    pub tls: bool,
}

/// The text is no address of a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an address such as mqtt://127.0.0.1:1884 or mqtts://example.org:8883")]
pub struct AddressError(String);

impl FromStr for ServerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (tls, default_port) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return Err(wrong()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map_or(Ok(default_port), str::parse).map_err(|_| wrong())?;
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), port, tls })
    }
}

impl ServerAddress {
    /// Whether the name is one of AWS's own.
    pub(crate) fn is_aws(&self) -> bool {
        [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| self.host.ends_with(end))
    }
}

impl TryFrom<String> for ServerAddress {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_they_were_written() {
        for text in ["mqtt://127.0.0.1:1884", "mqtts://example.org:8883", "mqtt://[::1]:1883"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        assert_eq!("mqtts://x".parse::<ServerAddress>().unwrap().port, 8883);
    }

    #[test]
    fn what_is_no_address_is_named() {
        for text in ["", "127.0.0.1", "http://x", "mqtt://", "mqtt://x:99999", "mqtt://user@x"] {
            assert!(text.parse::<ServerAddress>().unwrap_err().to_string().contains(text));
        }
    }
}
