//! ECDSA signatures that *ring* does not verify: with P-521, and with SHA-512 on smaller curves. Some roots and
//! intermediates have them; openssl, curl and `step` accept them, too.

use rustls::{
    SignatureScheme,
    crypto::{WebPkiSupportedAlgorithms, ring},
    pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id},
};
use sha2::{Digest as _, Sha384, Sha512};
use signature::hazmat::PrehashVerifier as _;
use std::sync::LazyLock;

/// The algorithms of *ring*, and those of this file.
pub(super) fn algorithms() -> WebPkiSupportedAlgorithms {
    WebPkiSupportedAlgorithms { all: &ALL, mapping: &MAPPING }
}

type Algorithm = &'static dyn SignatureVerificationAlgorithm;

const P256_SHA512: Algorithm = &Ecdsa { curve: Curve::P256, hash: Hash::Sha512 };
const P384_SHA512: Algorithm = &Ecdsa { curve: Curve::P384, hash: Hash::Sha512 };
const P521_SHA384: Algorithm = &Ecdsa { curve: Curve::P521, hash: Hash::Sha384 };
const P521_SHA512: Algorithm = &Ecdsa { curve: Curve::P521, hash: Hash::Sha512 };

static ALL: LazyLock<Vec<Algorithm>> = LazyLock::new(|| {
    let of_ring = ring::default_provider().signature_verification_algorithms.all;
    [of_ring, &[P256_SHA512, P384_SHA512, P521_SHA384, P521_SHA512]].concat()
});

static MAPPING: LazyLock<Vec<(SignatureScheme, &[Algorithm])>> = LazyLock::new(|| {
    let of_ring = ring::default_provider().signature_verification_algorithms.mapping;
    // TLS 1.3 uses only the first one; in TLS 1.2 the scheme names the hash, but not the curve.
    let ours: (_, &[Algorithm]) = (SignatureScheme::ECDSA_NISTP521_SHA512, &[P521_SHA512, P384_SHA512, P256_SHA512]);
    [of_ring, &[ours]].concat()
});

#[derive(Clone, Copy, Debug)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha384,
    Sha512,
}

#[derive(Debug)]
struct Ecdsa {
    curve: Curve,
    hash: Hash,
}

impl SignatureVerificationAlgorithm for Ecdsa {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.curve {
            Curve::P256 => alg_id::ECDSA_P256,
            Curve::P384 => alg_id::ECDSA_P384,
            Curve::P521 => alg_id::ECDSA_P521,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.hash {
            Hash::Sha384 => alg_id::ECDSA_SHA384,
            Hash::Sha512 => alg_id::ECDSA_SHA512,
        }
    }

    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let hashed = match self.hash {
            Hash::Sha384 => Sha384::digest(message).to_vec(),
            Hash::Sha512 => Sha512::digest(message).to_vec(),
        };
        let verified = match self.curve {
            Curve::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
                .and_then(|key| key.verify_prehash(&hashed, &p256::ecdsa::Signature::from_der(signature)?)),
            Curve::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
                .and_then(|key| key.verify_prehash(&hashed, &p384::ecdsa::Signature::from_der(signature)?)),
            Curve::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
                .and_then(|key| key.verify_prehash(&hashed, &p521::ecdsa::Signature::from_der(signature)?)),
        };
        verified.map_err(|_| InvalidSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_cert::{
        Certificate,
        der::{DecodePem as _, Encode as _},
    };

    /// Certificates that `openssl req -x509` signed with their own keys, for each curve and hash.
    #[test]
    fn what_openssl_signs_is_verified_and_nothing_else() {
        for (pem, curve, hash) in [
            (SECP521R1_SHA512, alg_id::ECDSA_P521, alg_id::ECDSA_SHA512),
            (SECP521R1_SHA384, alg_id::ECDSA_P521, alg_id::ECDSA_SHA384),
            (PRIME256V1_SHA512, alg_id::ECDSA_P256, alg_id::ECDSA_SHA512),
            (SECP384R1_SHA512, alg_id::ECDSA_P384, alg_id::ECDSA_SHA512),
        ] {
            let certificate = Certificate::from_pem(pem).unwrap();
            let body = certificate.tbs_certificate.to_der().unwrap();
            let key = certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes();
            let signature = certificate.signature.raw_bytes();
            let fits = |found: &&Algorithm| found.public_key_alg_id() == curve && found.signature_alg_id() == hash;
            let algorithm = algorithms().all.iter().find(fits).unwrap();
            let verify = |key: &[u8], body: &[u8], signature: &[u8]| algorithm.verify_signature(key, body, signature);
            verify(key, &body, signature).unwrap();
            for at in [0, body.len() / 2, body.len() - 1] {
                let mut altered = body.clone();
                altered[at] ^= 1;
                verify(key, &altered, signature).unwrap_err();
            }
            let mut altered = signature.to_vec();
            *altered.last_mut().unwrap() ^= 1;
            verify(key, &body, &altered).unwrap_err();
            for (key, signature) in
                [(&key[1..], signature), (&[][..], signature), (key, &[][..]), (key, &signature[1..])]
            {
                verify(key, &body, signature).unwrap_err();
            }
        }
    }

    #[test]
    fn what_ring_verifies_stays() {
        let of_ring = ring::default_provider().signature_verification_algorithms;
        assert_eq!(algorithms().all.len(), of_ring.all.len() + 4);
        assert_eq!(algorithms().mapping.len(), of_ring.mapping.len() + 1);
    }

    const SECP521R1_SHA512: &str = "-----BEGIN CERTIFICATE-----
MIICFDCCAXagAwIBAgIUMdPAybtJ+/GeKryMRS/s4JDsIZAwCgYIKoZIzj0EAwQw
GzEZMBcGA1UEAwwQc2VjcDUyMXIxIHNoYTUxMjAgFw0yNjExMjgxMTExMjBaGA8y
MTI2MTEwNDExMTEyMFowGzEZMBcGA1UEAwwQc2VjcDUyMXIxIHNoYTUxMjCBmzAQ
BgcqhkjOPQIBBgUrgQQAIwOBhgAEAf+s07dH6qkgsAbbPHKAQMB4m2seXJ0aXK5g
4nB+zjo8+qPS6fexfskvkWVVciwYsmqanJgJn2y8O3gno8u3SRFpADUVAjIfKTsd
nG01nKbFWC/Y4AtnslmicTO14FULHV7hagLwnqamH6R+4VWcD05D8OoQ5O3RaAcg
PO2rphuHMInBo1MwUTAdBgNVHQ4EFgQUPMbRI79Cnqfu2v3Twq4wSsaGqR4wHwYD
VR0jBBgwFoAUPMbRI79Cnqfu2v3Twq4wSsaGqR4wDwYDVR0TAQH/BAUwAwEB/zAK
BggqhkjOPQQDBAOBiwAwgYcCQVEQ67zzeocFmsS7O5fwulqYc77+Aj87Fw5p1Svd
YAqLc4mYBIS1y18AEMf1DQSfA3ayT4Tc1MIsNhw1b+zZlRGsAkIA+s8y29X4NfYY
sbxcJGPOYHKHck1z2izhPnF0J2eKs8Z9rBdrb64WleVo5JP7gxDywXTt3pfHe1yP
kj9QNRuklek=
-----END CERTIFICATE-----
";
    const SECP521R1_SHA384: &str = "-----BEGIN CERTIFICATE-----
MIICFTCCAXagAwIBAgIUW8jk23qqnE+1e5TkEmGUNCbjr3YwCgYIKoZIzj0EAwMw
GzEZMBcGA1UEAwwQc2VjcDUyMXIxIHNoYTM4NDAgFw0yNjExMjgxMTExMjBaGA8y
MTI2MTEwNDExMTEyMFowGzEZMBcGA1UEAwwQc2VjcDUyMXIxIHNoYTM4NDCBmzAQ
BgcqhkjOPQIBBgUrgQQAIwOBhgAEALCkgH4g1FTkUuBd4tqMalNU1WR5sneyIyz4
gQ4uZnx2WVhRBljYZYjuVVkk9lqpekEt2Zj8xgbqzSzPtAA39sYQAIgam+BMTkvF
U2LlcOhSSfVT2CvW1Rdif/w22Qs2mmPHI8AbL3txMykRaWhx9WZgb2HBaoMzSxB8
TooxM/umbHHbo1MwUTAdBgNVHQ4EFgQUcxyteqTdrfk3AHwitMTtIyuRFf8wHwYD
VR0jBBgwFoAUcxyteqTdrfk3AHwitMTtIyuRFf8wDwYDVR0TAQH/BAUwAwEB/zAK
BggqhkjOPQQDAwOBjAAwgYgCQgHGn8eUck+CLQYocVQgwpQVaPxsNxmcuWzT5JHD
8B2WNyhL83k59nlZ2Cv3FmRPd72Wva1Ih79dObLGuDlpfoqaGAJCAXusjDxCrCGQ
F9qWelWXHmYFoQA97M8PuSifgYMfcLcYIucnSgvUAJJDzAfzBIWBexDq6Wj+ZOw0
pnZ3O4N3gIbs
-----END CERTIFICATE-----
";
    const PRIME256V1_SHA512: &str = "-----BEGIN CERTIFICATE-----
MIIBjjCCATWgAwIBAgIUdacUjlA0ASCCYgjBT+xrdglNm1cwCgYIKoZIzj0EAwQw
HDEaMBgGA1UEAwwRcHJpbWUyNTZ2MSBzaGE1MTIwIBcNMjYxMTI4MTExMTIwWhgP
MjEyNjExMDQxMTExMjBaMBwxGjAYBgNVBAMMEXByaW1lMjU2djEgc2hhNTEyMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExP+WBt4rLZGYK+t+bKviWlh+w41V15FO
K1hyufHkXkVEOpXOnBiwEx81628EauEhD1yw6uIkGvD+IxNrClN4faNTMFEwHQYD
VR0OBBYEFD3+HZKjOy8YllAu9WiGBZT1RwEFMB8GA1UdIwQYMBaAFD3+HZKjOy8Y
llAu9WiGBZT1RwEFMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwQDRwAwRAIg
MdHuuxtWowcW0h/o8vEZzE2xjEj+vJEks5El8jzzt8ICICq10/r1YTx3V7mPyf9o
IHMO3FgWs2pkL/RRbjjssLOv
-----END CERTIFICATE-----
";
    const SECP384R1_SHA512: &str = "-----BEGIN CERTIFICATE-----
MIIByzCCAVCgAwIBAgIUG4GZMJGBc2tkSf57SN+gPb5BwXAwCgYIKoZIzj0EAwQw
GzEZMBcGA1UEAwwQc2VjcDM4NHIxIHNoYTUxMjAgFw0yNjExMjgxMTExMjBaGA8y
MTI2MTEwNDExMTEyMFowGzEZMBcGA1UEAwwQc2VjcDM4NHIxIHNoYTUxMjB2MBAG
ByqGSM49AgEGBSuBBAAiA2IABHSr6SZHAXe9SdS3wUYFPhIif7HgBwG1H0SOkGG/
Gx8WhwaHJnJ/b7tH4yQEikVvVInRHLioORs273O2p9JrO0n2xnIF7pkE/G4RtaUV
vWprcNr1wFgVwr8ttHzvX8wOvqNTMFEwHQYDVR0OBBYEFGNuxo7lct/5ah+qdRID
FdHAv1yfMB8GA1UdIwQYMBaAFGNuxo7lct/5ah+qdRIDFdHAv1yfMA8GA1UdEwEB
/wQFMAMBAf8wCgYIKoZIzj0EAwQDaQAwZgIxAPxfaH6PWZeECQmJPTIcvzVgq1JC
v9W3ExpeItaQnuEX7LdaJnmmMlMHlp71HUCd7gIxAP0etC0Tt/mdp1XHq9BFvXu8
kmc8I0GS+YJRUnnvcBGfp6DsLhbv4cvfmOMJWSbUGg==
-----END CERTIFICATE-----
";
}
