//! The certificates of a CA that may lie. ssh-keygen makes them: it shares no code with the program that has to detect
//! the lie.

use super::{
    super::{machine::keygen, run::Run},
    fault::Lie,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// The requested certificate.
#[derive(Clone, Debug)]
pub(super) struct CertificateSpec {
    /// The public key: its type, and the key in Base64.
    pub(super) key: String,
    /// Whether it is a host certificate.
    pub(super) host: bool,
    /// The names that the certificate is for.
    pub(super) principals: Vec<String>,
    /// The key ID.
    pub(super) id: String,
}

/// The keys that sign.
#[derive(Debug)]
pub(super) struct Signer {
    keys: TempDir,
    lie: Option<Lie>,
}

impl Signer {
    /// Makes new keys. Their certificates are correct, or have this fault.
    pub(super) fn new(lie: Option<Lie>) -> Self {
        let keys = tempfile::tempdir().unwrap();
        for name in ["host_ca", "user_ca", "unknown_ca", "other"] {
            // Only RSA can sign with SHA-1.
            let algorithm = if lie == Some(Lie::Sha1) && name.ends_with("_ca") { "rsa" } else { "ed25519" };
            keygen(&["-q", "-N", "", "-C", "", "-t", algorithm, "-f"], &keys.path().join(name));
        }
        Self { keys, lie }
    }

    /// One of the public keys.
    pub(super) fn public(&self, name: &str) -> String {
        fs::read_to_string(self.keys.path().join(format!("{name}.pub"))).unwrap()
    }

    /// A certificate, in the form for an answer. `None` if the answer is to contain none.
    pub(super) fn certificate(&self, wanted: &CertificateSpec) -> Option<String> {
        let (mut wanted, mut window, mut signer) = (wanted.clone(), "-1m:+30d", None);
        match self.lie {
            Some(Lie::OtherKey) => wanted.key = self.public("other"),
            Some(Lie::OtherKind) => wanted.host = !wanted.host,
            Some(Lie::NoPrincipals) => wanted.principals.clear(),
            Some(Lie::ExtraPrincipal) => wanted.principals.push("extra.example.org".to_owned()),
            Some(Lie::OtherPrincipal) => wanted.principals = vec!["other.example.org".to_owned()],
            Some(Lie::UnknownSigner) => signer = Some("unknown_ca"),
            Some(Lie::Expired) => window = "-2d:-1d",
            Some(Lie::NotYetValid) => window = "+1d:+2d",
            Some(Lie::Forever) => window = "always:forever",
            Some(Lie::PlainKey) => return wanted.key.split(' ').nth(1).map(|key| key.trim_end().to_owned()),
            Some(Lie::Noise) => return Some("no certificate".to_owned()),
            Some(Lie::Missing) => return None,
            Some(Lie::BadSignature | Lie::Sha1) | None => {}
        }
        let signer = signer.unwrap_or(if wanted.host { "host_ca" } else { "user_ca" });
        let line = self.sign(&wanted, window, signer);
        let encoded = line.split(' ').nth(1).unwrap();
        if self.lie != Some(Lie::BadSignature) {
            return Some(encoded.to_owned());
        }
        let mut blob = BASE64_STANDARD.decode(encoded).unwrap();
        *blob.last_mut().unwrap() ^= 1;
        Some(BASE64_STANDARD.encode(blob))
    }

    fn sign(&self, wanted: &CertificateSpec, window: &str, signer: &str) -> String {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("key.pub");
        fs::write(&file, &wanted.key).unwrap();
        let mut command = Command::new("ssh-keygen");
        command.arg("-q").arg("-s").arg(self.keys.path().join(signer)).args(["-I", &wanted.id, "-V", window]);
        command.args(["-z", "17548415121532624335"]);
        if wanted.host {
            command.arg("-h");
        }
        if !wanted.principals.is_empty() {
            command.args(["-n", &wanted.principals.join(",")]);
        }
        if self.lie == Some(Lie::Sha1) {
            command.args(["-t", "ssh-rsa"]);
        }
        Run::of(command.arg(&file)).ends(0);
        fs::read_to_string(Path::new(&file).with_file_name("key-cert.pub")).unwrap()
    }
}
