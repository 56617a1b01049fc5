//! TLS as a client, for the broker and for the store: rustls with ring, handed over explicitly so that no
//! process-wide default is needed.
//!
//! Owns: which authorities are trusted, and what a failed handshake means. Does not own connections.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::iter;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{CertificateError, ClientConfig, RootCertStore};

use crate::error::{Error, Kind};

/// Trusts these authorities, or Mozilla's where there are none, and nobody for another host's name or address.
pub(crate) fn client(authorities: Option<&Arc<RootCertStore>>) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3");
    match authorities {
        Some(authorities) => config.with_root_certificates(Arc::clone(authorities)),
        None => config.with_webpki_roots(),
    }
    .with_no_client_auth()
}

/// The certificates of a PEM file, at least one; what stands between them is passed over. The error says
/// what is wrong with the file.
pub(crate) fn authorities(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        authorities.add(certificate).map_err(|error| format!("holds a certificate that cannot be read: {error}"))?;
    }
    match authorities.is_empty() {
        true => Err("holds no certificate".into()),
        false => Ok(authorities),
    }
}

/// What is wrong, and what to do, where the handshake with the broker at `address` failed; `None` where `error`
/// is about something else.
pub(crate) fn refused(address: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
    let Some(cause) = chain(error).find_map(|error| error.downcast_ref::<rustls::Error>()) else {
        // Who does not know TLS takes our first words for nonsense, and hangs up.
        let ended = |error: &io::Error| matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset);
        let ended = chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).find(|error| ended(error))?;
        return Some(Error::new(Kind::Unavailable, not_tls(address)).because(ended.to_string()));
    };
    let (kind, text) = match cause {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                (Kind::Unavailable, format!("the certificate of {address} has expired; have it renewed"))
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                Kind::Unavailable,
                format!("the certificate of {address} is not valid yet; check the clock here and there"),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                Kind::Invalid,
                format!(
                    "the certificate of {address} is for another name; write the name that it is for in service_url, \
                     or have this one put into it"
                ),
            ),
            _ => (
                Kind::Invalid,
                format!(
                    "the certificate of {address} is not trusted; name the PEM file of the authority that issued it \
                     in ca_file"
                ),
            ),
        },
        rustls::Error::InvalidMessage(_) => (Kind::Invalid, not_tls(address)),
        _ => (Kind::Unavailable, format!("no TLS connection to {address}")),
    };
    Some(Error::new(kind, text).because(cause.clone()))
}

/// For an address that answers a handshake with something else, or not at all.
pub(crate) fn not_tls(address: &str) -> String {
    format!(
        "{address} does not speak TLS; write pulsar:// or http:// for a port without TLS, or the port that has it \
         (mostly 6651 or 8443)"
    )
}

/// The error and what is inside it: an [`io::Error`] does not name that as its source.
fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    iter::successors(Some(error), |&error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as _).or_else(|| error.source())
    })
}
