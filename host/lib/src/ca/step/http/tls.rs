//! TLS that trusts given roots or, if the caller says so, any certificate. Either way it remembers the certificates
//! that the server presented.

mod ecdsa;

use super::{Problem, Trust};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::{Arc, Mutex, PoisonError};

/// The certificates that a server presented last, its own first.
#[derive(Clone, Debug, Default)]
pub(super) struct ServerChain(Arc<Mutex<Vec<Vec<u8>>>>);

impl ServerChain {
    /// The certificates in DER.
    pub(super) fn chain(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, end_entity: &CertificateDer<'_>, above: &[CertificateDer<'_>]) {
        let chain = std::iter::once(end_entity).chain(above).map(|certificate| certificate.to_vec()).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = chain;
    }
}

/// The configuration of a client without a certificate of its own: step-ca requests one, but does not require it.
pub(super) fn configuration(trust: Trust<'_>, shown: &ServerChain) -> Result<ClientConfig, Problem> {
    let mut provider = ring::default_provider();
    provider.signature_verification_algorithms = ecdsa::algorithms();
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::Local(error.to_string()))?;
    fn untrusted(error: impl std::fmt::Display) -> Problem {
        Problem::Local(format!("the root certificate cannot be trusted: {error}"))
    }
    let judge: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Root(root) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(root.to_vec())).map_err(untrusted)?;
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(untrusted)?
        }
        Trust::Roots(found) => {
            let mut roots = RootCertStore::empty();
            // Some of a system's old roots cannot be parsed.
            roots.add_parsable_certificates(found.iter().map(|root| CertificateDer::from(root.as_slice())));
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(untrusted)?
        }
        Trust::Anybody => Arc::new(PossessionVerifier { provider }),
    };
    let observer = Observer { judge, shown: shown.clone() };
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(observer)).with_no_client_auth())
}

/// Remembers the certificates that a server presents, and leaves the verification to `judge`.
#[derive(Debug)]
struct Observer {
    judge: Arc<dyn ServerCertVerifier>,
    shown: ServerChain,
}

impl ServerCertVerifier for Observer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.shown.remember(end_entity, intermediates);
        self.judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.judge.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.judge.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.judge.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.judge.root_hint_subjects()
    }
}

/// Accepts every certificate whose key the server holds.
#[derive(Debug)]
struct PossessionVerifier {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PossessionVerifier {
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
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
