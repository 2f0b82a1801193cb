//! The host key algorithms that the client can ask for.

use super::fault::Fault;
use std::{fmt, str::FromStr};

/// A type of key, together with its signature algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA over NIST's P-256, with SHA-256.
    EcdsaP256,
    /// ECDSA over NIST's P-384, with SHA-384.
    EcdsaP384,
    /// ECDSA over NIST's P-521, with SHA-512.
    EcdsaP521,
    /// RSA with SHA-512.
    RsaSha512,
    /// RSA with SHA-256.
    RsaSha256,
}

impl KeyKind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::EcdsaP521, Self::RsaSha512, Self::RsaSha256];

    /// The name of its signatures, which is also the name of the algorithm.
    #[must_use]
    pub fn signature_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::RsaSha512 => "rsa-sha2-512",
            Self::RsaSha256 => "rsa-sha2-256",
        }
    }

    /// The type that a public key of this kind carries in its encoding.
    #[must_use]
    pub fn key_type(self) -> &'static str {
        match self {
            Self::RsaSha512 | Self::RsaSha256 => "ssh-rsa",
            Self::Ed25519 | Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => self.signature_name(),
        }
    }
}

/// An algorithm by which a server can prove that it holds a host key, or the key of a host certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostKeyAlgorithm {
    pub kind: KeyKind,
    /// Whether the server presents it within a certificate.
    pub certificate: bool,
}

impl HostKeyAlgorithm {
    /// For a plain key.
    #[must_use]
    pub const fn key(kind: KeyKind) -> Self {
        Self { kind, certificate: false }
    }

    #[must_use]
    pub const fn certificate(kind: KeyKind) -> Self {
        Self { kind, certificate: true }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        [false, true].into_iter().flat_map(|certificate| KeyKind::ALL.map(|kind| Self { kind, certificate }))
    }

    /// The name in a list of algorithms.
    #[must_use]
    pub fn name(self) -> &'static str {
        if !self.certificate {
            return self.kind.signature_name();
        }
        match self.kind {
            KeyKind::RsaSha512 => "rsa-sha2-512-cert-v01@openssh.com",
            KeyKind::RsaSha256 => "rsa-sha2-256-cert-v01@openssh.com",
            KeyKind::Ed25519 | KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => self.blob_type(),
        }
    }

    /// The type that the presented key or certificate carries in its encoding.
    #[must_use]
    pub fn blob_type(self) -> &'static str {
        if !self.certificate {
            return self.kind.key_type();
        }
        match self.kind {
            KeyKind::Ed25519 => "ssh-ed25519-cert-v01@openssh.com",
            KeyKind::EcdsaP256 => "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            KeyKind::EcdsaP384 => "ecdsa-sha2-nistp384-cert-v01@openssh.com",
            KeyKind::EcdsaP521 => "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            KeyKind::RsaSha512 | KeyKind::RsaSha256 => "ssh-rsa-cert-v01@openssh.com",
        }
    }
}

impl fmt::Display for HostKeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HostKeyAlgorithm {
    type Err = Fault;

    fn from_str(name: &str) -> Result<Self, Fault> {
        Self::all()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| Fault::Unsupported { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        for algorithm in HostKeyAlgorithm::all() {
            assert_eq!(algorithm.name().parse::<HostKeyAlgorithm>().unwrap(), algorithm);
        }
        assert_eq!(HostKeyAlgorithm::all().count(), 12);
    }

    #[test]
    fn others_cannot_be_asked_for() {
        for name in ["ssh-rsa", "ssh-dss", "ssh-rsa-cert-v01@openssh.com", "ssh-mldsa44-ed25519", "ssh-Ed25519", ""] {
            let fault = name.parse::<HostKeyAlgorithm>().unwrap_err();
            assert!(matches!(&fault, Fault::Unsupported { name: refused } if refused == name));
        }
    }
}
