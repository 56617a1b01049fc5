//! Where the broker and the bucket are: [`ServiceUrl`] and [`Endpoint`].

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::values::{Malformed, shown};

/// How the broker is asked and reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Pulsar,
    PulsarSsl,
    /// Lookup over HTTP, then the binary protocol to the broker it names.
    Http,
    Https,
}

const SCHEMES: [(&str, Scheme); 4] =
    [("pulsar", Scheme::Pulsar), ("pulsar+ssl", Scheme::PulsarSsl), ("http", Scheme::Http), ("https", Scheme::Https)];

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Pulsar => "pulsar",
            Scheme::PulsarSsl => "pulsar+ssl",
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// Whether every connection is made with TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Scheme::PulsarSsl | Scheme::Https)
    }

    /// The port of an address that names none, as Pulsar's own clients have it.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Pulsar => 6650,
            Scheme::PulsarSsl => 6651,
            Scheme::Http => 8080,
            Scheme::Https => 8443,
        }
    }
}

/// The address of a Pulsar cluster: at least one host, each with its port. IPv6 hosts stand without
/// brackets. `Display` is the URL with every port written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    pub scheme: Scheme,
    pub hosts: Vec<(String, u16)>,
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme.name())?;
        for (index, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}:{port}", bracketed(host))?;
        }
        Ok(())
    }
}

impl FromStr for ServiceUrl {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let read = || {
            let (scheme, rest) = text.split_once("://")?;
            let (_, scheme) = SCHEMES.into_iter().find(|(name, _)| *name == scheme)?;
            let hosts = rest.strip_suffix('/').unwrap_or(rest).split(',').map(|host| {
                let (host, port) = host_and_port(host)?;
                Some((host, port.unwrap_or(scheme.default_port())))
            });
            Some(ServiceUrl { scheme, hosts: hosts.collect::<Option<_>>()? })
        };
        read().ok_or_else(|| {
            Malformed::new(format!(
                "must be the address from the console: http://host:8080, https://host:8443, pulsar://host:6650 or \
                 pulsar+ssl://host:6651 (several hosts: pulsar://a:6650,b:6650), without a path or a password, got {}",
                shown(text)
            ))
        })
    }
}

/// The address of an S3 service, without the bucket. `port` is `None` where the URL has none: the
/// `Host` of a request then has none either. IPv6 hosts stand without brackets. `Display` is the URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub https: bool,
    pub host: String,
    pub port: Option<u16>,
}

impl Endpoint {
    /// COS in a region: `https://cos.<region>.myqcloud.com`.
    pub fn cos(region: &str) -> Self {
        Endpoint { https: true, host: format!("cos.{region}.myqcloud.com"), port: None }
    }

    /// Whether this is COS under one of its own names.
    pub fn is_cos(&self) -> bool {
        [".myqcloud.com", ".tencentcos.cn"].iter().any(|domain| self.host.ends_with(domain))
    }

    pub fn is_ip(&self) -> bool {
        self.host.contains(':') || self.host.parse::<Ipv4Addr>().is_ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, bracketed(&self.host))?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Endpoint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let read = || {
            let (scheme, rest) = text.split_once("://")?;
            let https = match scheme {
                "http" => false,
                "https" => true,
                _ => return None,
            };
            let (host, port) = host_and_port(rest.strip_suffix('/').unwrap_or(rest))?;
            Some(Endpoint { https, host: host.to_ascii_lowercase(), port })
        };
        read().ok_or_else(|| {
            Malformed::new(format!(
                "must be http(s)://host or http(s)://host:port, without the bucket, a path or a password, got {}",
                shown(text)
            ))
        })
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A host name, an IPv4 or a bracketed IPv6 address, and the port if there is one.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let label = |label: &str| {
                !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            };
            if host.len() > 253 || !host.split('.').all(label) {
                return None;
            }
            (host, port)
        }
    };
    let port = match port {
        // `parse` alone would take "+80".
        Some(port) if port.starts_with(|c: char| c.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    Some((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_the_console_and_pulsar_use_is_read() {
        let table = [
            ("http://pulsar-abc.tdmq.ap-gz.qcloud.tencenttdmq.com:8080", None),
            ("http://h", Some("http://h:8080")),
            ("https://h/", Some("https://h:8443")),
            ("pulsar://10.0.0.12", Some("pulsar://10.0.0.12:6650")),
            ("pulsar+ssl://h", Some("pulsar+ssl://h:6651")),
            ("pulsar://a:6000,b,c_d:1", Some("pulsar://a:6000,b:6650,c_d:1")),
            ("pulsar://[::1]:7000,[fe80::1]", Some("pulsar://[::1]:7000,[fe80::1]:6650")),
        ];
        for (text, printed) in table {
            assert_eq!(text.parse::<ServiceUrl>().unwrap().to_string(), printed.unwrap_or(text));
        }
        let url: ServiceUrl = "pulsar://[::1]".parse().unwrap();
        assert_eq!(url.hosts, [("::1".to_owned(), 6650)]);
    }

    #[test]
    fn what_is_not_a_service_address_is_refused() {
        for text in [
            "",
            "host:8080",
            "pulsar://",
            "pulsar:/h",
            "kafka://h",
            "PULSAR://h",
            "pulsar://h:0",
            "pulsar://h:65536",
            "pulsar://h:+1",
            "pulsar://h:",
            "pulsar://h/path",
            "pulsar://h?x",
            "pulsar://a,,b",
            "pulsar://a, b",
            "pulsar://a,pulsar://b",
            "pulsar://u:p@h",
            "pulsar://a..b",
            "pulsar://[::1",
            "pulsar://[zz]",
            "pulsar://[::1]x",
            "pulsar://::1",
        ] {
            assert!(text.parse::<ServiceUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_is_scheme_host_and_perhaps_a_port() {
        for text in ["https://cos.ap-beijing.myqcloud.com", "http://127.0.0.1:9000", "http://[::1]:9000"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("https://Minio.Local/".parse::<Endpoint>().unwrap().host, "minio.local");
        for text in ["", "s3.example.com", "s3://h", "https://", "https://h/bucket", "https://k:s@h", "https://h:x"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        assert!(Endpoint::cos("ap-beijing").is_cos());
        assert!(!"https://s3.example.com".parse::<Endpoint>().unwrap().is_cos());
    }
}
