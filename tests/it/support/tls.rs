//! TLS servers of tests, with a certificate of their own.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The configuration of a server named `localhost`, whose certificate is written to `certificate`.
pub fn server_config(certificate: &Path) -> ServerConfig {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(certificate, cert.pem()).unwrap();
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    // Refused when it is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .unwrap()
}

/// Accepts connections with such a configuration.
pub fn acceptor(config: ServerConfig) -> tokio_rustls::TlsAcceptor {
    Arc::new(config).into()
}
