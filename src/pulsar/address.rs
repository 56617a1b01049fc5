//! Where a broker listens.

use std::fmt;

/// A host and its port. IPv6 hosts are kept without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
}

impl Address {
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Address { host: host.into(), port }
    }

    /// From a `pulsar://host:port` that a lookup answered; `None` for anything else.
    pub fn from_broker_url(url: &str) -> Option<Self> {
        let authority = url.strip_prefix("pulsar://")?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty()).then_some(())?;
        Some(Address { host: host.into(), port: port.parse().ok()? })
    }

    /// `host:port`, an IPv6 host in brackets.
    pub fn authority(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
