//! Where requests go: scheme, host and port, and where in them the bucket stands.
//!
//! Owns: the endpoint's syntax and both ways of addressing a bucket. Does not own: the encoding of paths,
//! which is the signature's.

use std::net::IpAddr;

use hyper::Uri;

use crate::{Error, Kind, Result};

/// Where the bucket's name stands in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// In the host: `bucket.host/key`. COS takes nothing else for buckets made since 2024.
    #[default]
    Virtual,
    /// In the path: `host/bucket/key`.
    Path,
}

#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// `http://host[:port]`, without a path.
    base: String,
    https: bool,
    /// What the `Host` header says.
    authority: String,
    bucket: String,
    addressing: Addressing,
}

impl Endpoint {
    pub fn new(endpoint: &str, bucket: &str, addressing: Addressing) -> Result<Self> {
        let wrong = |why: &str| Err(Error::new(Kind::Invalid, format!("endpoint: {why}, got `{endpoint}`")));
        // Anything before an `@` may be a password, so the text is not repeated.
        if endpoint.contains('@') {
            return Err(Error::new(Kind::Invalid, "endpoint: must not hold a user name or a password"));
        }
        let Ok(uri) = endpoint.parse::<Uri>() else { return wrong("must be http(s)://host[:port]") };
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return wrong("must begin with http:// or https://"),
        };
        let Some(authority) = uri.authority() else { return wrong("must name a host") };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return wrong("must end after the host and port, the bucket has a key of its own");
        }
        let address = authority.host().trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if addressing == Addressing::Virtual && address {
            return wrong("virtual addressing needs a name, set addressing = \"path\" for an address");
        }
        let authority = match addressing {
            Addressing::Virtual => format!("{bucket}.{authority}"),
            Addressing::Path => authority.to_string(),
        };
        let scheme = if https { "https" } else { "http" };
        let base = format!("{scheme}://{authority}");
        Ok(Endpoint { base, https, authority, bucket: bucket.to_owned(), addressing })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The path of a request, made from the one with the bucket in front that rusoto writes.
    pub fn path(&self, path: &str) -> String {
        let own = match self.addressing {
            Addressing::Path => path,
            Addressing::Virtual => {
                path.strip_prefix('/').and_then(|path| path.strip_prefix(&self.bucket)).unwrap_or(path)
            }
        };
        if own.is_empty() { "/".to_owned() } else { own.to_owned() }
    }
}

/// Whether an endpoint is Tencent's, whose keys are Tencent's too.
pub(super) fn is_cos(endpoint: &str) -> bool {
    host(endpoint)
        .is_some_and(|host| ["myqcloud.com", "tencentcos.cn", "tencentcos.com"].iter().any(|zone| within(&host, zone)))
}

/// Whether an endpoint is Amazon's.
pub(super) fn is_aws(endpoint: &str) -> bool {
    host(endpoint).is_some_and(|host| ["amazonaws.com", "amazonaws.com.cn"].iter().any(|zone| within(&host, zone)))
}

fn host(endpoint: &str) -> Option<String> {
    Some(endpoint.parse::<Uri>().ok()?.host()?.to_ascii_lowercase())
}

fn within(host: &str, zone: &str) -> bool {
    host.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_moves_into_the_host_with_its_port() {
        let endpoint = Endpoint::new("http://s3.localhost:9000/", "orders", Addressing::Virtual).unwrap();
        assert_eq!(endpoint.authority(), "orders.s3.localhost:9000");
        assert_eq!(endpoint.base(), "http://orders.s3.localhost:9000");
        assert_eq!(endpoint.path("/orders/orders/a=1"), "/orders/a=1");
        assert_eq!(endpoint.path("/orders"), "/");
    }

    #[test]
    fn the_bucket_stays_in_the_path_when_that_is_asked_for() {
        let endpoint = Endpoint::new("https://127.0.0.1:9000", "orders", Addressing::Path).unwrap();
        assert_eq!((endpoint.scheme(), endpoint.authority()), ("https", "127.0.0.1:9000"));
        assert_eq!(endpoint.path("/orders/a"), "/orders/a");
    }

    #[test]
    fn an_endpoint_that_cannot_work_is_refused_with_what_to_write() {
        for (endpoint, addressing, said) in [
            ("cos.ap-guangzhou.myqcloud.com", Addressing::Virtual, "http://"),
            ("ftp://host", Addressing::Virtual, "http://"),
            ("https://host/bucket", Addressing::Virtual, "end after the host"),
            ("http://127.0.0.1:9000", Addressing::Virtual, "addressing = \"path\""),
            ("http://[::1]:9000", Addressing::Virtual, "addressing = \"path\""),
        ] {
            let error = Endpoint::new(endpoint, "orders", addressing).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.chain().contains(said), "{}", error.chain());
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_refused_and_not_repeated() {
        let error = Endpoint::new("http://me:marker-password@host", "orders", Addressing::Path).unwrap_err();
        assert!(!error.chain().contains("marker"), "{}", error.chain());
    }

    #[test]
    fn whose_endpoint_it_is_comes_from_the_whole_domain() {
        assert!(is_cos("https://cos.ap-guangzhou.myqcloud.com"));
        assert!(is_cos("https://cos-internal.ap-guangzhou.tencentcos.cn:443"));
        assert!(!is_cos("https://notmyqcloud.com"));
        assert!(!is_cos("https://cos.myqcloud.com.example.org"));
        assert!(is_aws("https://s3.us-east-1.amazonaws.com"));
        assert!(!is_aws("https://cos.ap-guangzhou.myqcloud.com"));
    }
}
