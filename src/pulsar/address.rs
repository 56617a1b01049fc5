//! Where a broker listens.

use std::fmt;

use crate::error::{Error, Kind, Result};

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

    /// Which of a broker's two addresses we connect to: with TLS never the plain one. `doing` is for errors.
    pub fn to_reach(doing: &str, plain: Option<String>, tls: Option<String>, with_tls: bool) -> Result<Self> {
        let (plain, tls) = (plain.unwrap_or_default(), tls.unwrap_or_default());
        let (found, why) = match with_tls {
            true => (
                Address::from_url("pulsar+ssl", &tls),
                "it has none with TLS, and the token goes nowhere else; give the brokers one, or write pulsar:// or \
                 http:// in service_url",
            ),
            false => (
                Address::from_url("pulsar", &plain),
                "it has none without TLS; write pulsar+ssl:// or https:// in service_url if it has one with TLS",
            ),
        };
        found.ok_or_else(|| {
            let text = format!("{doing}: the broker's addresses are {plain:?} and {tls:?}: {why}");
            Error::new(Kind::Unavailable, text)
        })
    }

    /// The broker behind a proxy, for the proxy alone to connect to: its scheme is the proxy's own affair.
    pub fn behind_proxy(doing: &str, urls: [Option<String>; 2]) -> Result<Self> {
        let url = urls.into_iter().flatten().find(|url| !url.is_empty()).unwrap_or_default();
        let found = ["pulsar", "pulsar+ssl"].iter().find_map(|scheme| Address::from_url(scheme, &url));
        found.ok_or_else(|| {
            let text = format!("{doing}: the broker behind the proxy is {url:?}, not pulsar://host:port");
            Error::new(Kind::Unavailable, text)
        })
    }

    /// From `scheme://host:port`; `None` for another scheme, and for anything else.
    fn from_url(scheme: &str, url: &str) -> Option<Self> {
        let authority = url.strip_prefix(scheme)?.strip_prefix("://")?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        (!host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic())).then_some(())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn with_tls_only_the_address_with_tls_will_do() {
        let reach = |plain, tls, with_tls| Address::to_reach("looking", plain, tls, with_tls);
        let both = || (url("pulsar://a:1"), url("pulsar+ssl://[::1]:2"));
        assert_eq!(reach(both().0, both().1, false).unwrap(), Address::new("a", 1));
        assert_eq!(reach(both().0, both().1, true).unwrap(), Address::new("::1", 2));
        assert_eq!(reach(both().0, both().1, true).unwrap().authority(), "[::1]:2");
        for tls in [
            None,
            url(""),
            url("pulsar://a:1"),
            url("https://a:1"),
            url("pulsar+ssl://a"),
            url("pulsar+ssl://:1"),
            url("pulsar+ssl://a\u{7f}:1"),
            url("pulsar+ssl://a\u{202e}:1"),
            url("pulsar+ssl://a b:1"),
        ] {
            let error = reach(url("pulsar://a:1"), tls, true).unwrap_err().to_string();
            assert!(error.contains("none with TLS"), "{error}");
        }
        let error = reach(None, both().1, false).unwrap_err().to_string();
        assert!(error.contains("write pulsar+ssl://"), "{error}");
    }

    #[test]
    fn a_proxy_names_the_broker_behind_it_with_the_scheme_that_it_uses_itself() {
        for (urls, found) in [
            ([url("pulsar://b:1"), url("pulsar://b:1")], Some(Address::new("b", 1))),
            ([url(""), url("pulsar+ssl://b:1")], Some(Address::new("b", 1))),
            ([None, url("http://b:1")], None),
        ] {
            assert_eq!(Address::behind_proxy("looking", urls).ok(), found);
        }
    }
}
