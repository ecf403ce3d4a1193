//! Which certificates count.

use std::{io::Cursor, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::HttpError;
use crate::store::settings::Http;

/// The configuration of all connections.
pub(super) fn config(settings: &Http, http1_only: bool) -> Result<ClientConfig, HttpError> {
    let mut config = authenticated(settings)?;
    let protocols: &[&[u8]] = if http1_only { &[b"http/1.1"] } else { &[b"h2", b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// Whom we trust, and who we are.
fn authenticated(settings: &Http) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| HttpError::setting(error.to_string(), "please report this"))?;
    let builder = if settings.insecure_tls {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
    } else {
        builder.with_root_certificates(roots(settings)?)
    };
    let Some(pem) = &settings.client_certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let advice = "give a PEM file that holds the client's certificate and its key";
    let unreadable = |what: &str| HttpError::setting(what, advice);
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_reader_iter(Cursor::new(pem.expose())).collect();
    let certificates =
        certificates.map_err(|_error| unreadable("the client's certificate cannot be read"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.expose())
        .map_err(|_error| unreadable("the client certificate's key cannot be read"))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(|error| unreadable(&format!("the client's certificate cannot be used: {error}")))
}

/// Those that were given, else the system's, else those compiled in.
fn roots(settings: &Http) -> Result<RootCertStore, HttpError> {
    let mut roots = RootCertStore::empty();
    if !settings.ca_certificates.is_empty() {
        let advice = "give a PEM file with certificates of authorities";
        for pem in &settings.ca_certificates {
            for certificate in CertificateDer::pem_reader_iter(Cursor::new(pem)) {
                let certificate = certificate
                    .map_err(|_error| HttpError::setting("no PEM in a --cacert file", advice))?;
                roots.add(certificate).map_err(|error| {
                    HttpError::setting(
                        format!("a --cacert certificate is unusable: {error}"),
                        advice,
                    )
                })?;
            }
        }
        if roots.is_empty() {
            return Err(HttpError::setting("no certificate in the --cacert files", advice));
        }
        return Ok(roots);
    }
    // Some of a system's certificates may be unreadable; the others still count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

/// Takes any certificate; the handshake still proves that the server has its key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
