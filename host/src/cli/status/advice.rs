//! What `status` says of a certificate that clients do not accept, and what a person should do about it.

use super::HostKey;
use crate::{
    cli::outlook::{Problem, ProblemKind},
    context::Context,
};
use ssh_key::PublicKey;
use std::{io, path::Path};
use warded_lib::{
    ca::{Certificate, certificate, verify::CertificateFault},
    error::Error,
    guard::client::known_hosts,
    machine::{
        bounded,
        path::AbsolutePath,
        sshd::{
            HostKey as HostKeyFile,
            host_key::{self, IgnoredReason, Standing},
            tree::{Overlay, StagedFiles},
        },
    },
    text::neutral,
};

const UNSERVED: &str = "warded apply certify-host puts its line back where it is gone; warded renew has sshd read it";
/// Like [`UNSERVED`], if sshd offers a key that it would stop offering after reading its files.
const UNSERVED_FOR_A_FORMER_KEY: &str = "follow what is said of its former host key, so that sshd reads its files";
/// What to do about a host key without a certificate.
pub(super) const NONE: &str = "warded renew gets one, or says that it takes a token";
const REPLACED: &str = "if the key was replaced on purpose: warded renew, which has the new key certified or says that it \
                        takes a token";
const EXPIRED: &str = "warded renew; if the CA does not renew what has expired: warded apply certify-host";

/// What may keep sshd from serving a certificate that its configuration names.
#[derive(Debug)]
pub(super) struct Unserved {
    /// The values of `HostKeyAlgorithms`.
    pub(super) algorithms: Vec<String>,
    /// Whether sshd offers a key that it would stop offering after reading its files.
    pub(super) has_former_key: bool,
}

impl Unserved {
    /// What is wrong with this certificate, which sshd does not serve, and what to do.
    pub(super) fn problem(&self, certificate: &Certificate) -> (Option<String>, Option<String>) {
        let seen = format!("serial {} is on disk, and not served", certificate.serial());
        let next = if self.has_former_key { UNSERVED_FOR_A_FORMER_KEY } else { UNSERVED };
        match known_hosts::lacking(&self.algorithms, certificate.key().algorithm().as_str()) {
            None => (Some(seen), Some(next.to_owned())),
            Some(lacking) => {
                let seen = format!("{seen}: sshd's HostKeyAlgorithms hides it");
                (Some(seen), Some(format!("add {lacking} to HostKeyAlgorithms, and reload sshd")))
            }
        }
    }
}

/// Whether a host key's file does not exist or cannot be read.
pub(super) fn is_hidden(key: &HostKeyFile) -> bool {
    matches!(&key.standing, Standing::Ignored(IgnoredReason::Unreadable(_) | IgnoredReason::Missing))
}

/// The certificate in a file, or what is wrong with it; `None` if there is no such file.
pub(super) fn certificate_in(file: &str) -> Option<Result<Certificate, String>> {
    Some(match bounded::read(Path::new(file)) {
        Ok(bytes) => certificate::parse(&bytes).map_err(|error| format!("its certificate is {error}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => Err(format!("its certificate {} cannot be read: {error}", neutral(file))),
    })
}

/// Why `renew` would not use a host key's file, if so. If the path to the certificate has a fault, that is reported
/// with the certificate.
pub(super) fn unusable(context: &Context, key: &HostKeyFile, path: &AbsolutePath, is_certified: bool) -> Option<Error> {
    if key.standing != Standing::Loaded {
        return None;
    }
    match context.root.place(path, usize::MAX) {
        Ok(place) => place?.metadata().err().map(Error::from),
        Err(error) => (!is_certified).then(|| error.into()),
    }
}

/// What is wrong, and what to do, if no line of sshd's configuration names the certificate. `served` is whether sshd
/// still serves it, having not read its configuration again; `None` if nobody could ask sshd.
pub(super) fn unnamed(served: Option<bool>) -> (Option<String>, Option<String>, ProblemKind) {
    let seen = "no HostCertificate line of sshd's configuration names its certificate";
    let until = match served {
        Some(true) => ": sshd serves it until its next reload or start",
        Some(false) => ", and sshd does not serve it",
        None => "",
    };
    let next = "warded apply certify-host puts its line back".to_owned();
    (Some(format!("{seen}{until}")), Some(next), ProblemKind::Drift)
}

/// The certificates that sshd's configuration names and for which sshd has no host key; `keys` are those it has. A
/// certificate with its key beside it belongs to another sshd.
pub(super) fn without_key<T>(named: &[String], shown: &[HostKey], keys: &[(T, PublicKey)]) -> Vec<Problem> {
    let nothing = StagedFiles::new();
    let there = Overlay(&nothing);
    let is_of_a_key = |path: &str| {
        let certificate = there.read(Path::new(path)).ok().and_then(|bytes| certificate::parse(&bytes).ok());
        let beside = path.strip_suffix("-cert.pub").and_then(|key| host_key::public(Path::new(key)));
        let mut keys = keys.iter().map(|(_, key)| key).chain(&beside);
        certificate.is_some_and(|one| keys.any(|key| key.key_data() == one.key().key_data()))
    };
    let is_shown = |path: &str| shown.iter().any(|key| key.certificate_file == path);
    let lost = named.iter().filter(|path| !is_shown(path) && !is_of_a_key(path));
    let problem = |path: &String| {
        let shown = neutral(path);
        let line = format!(
            "remove the line HostCertificate {shown}; if Warded wrote that line, warded apply certify-host removes it"
        );
        match there.read(Path::new(path)).map(|bytes| certificate::parse(&bytes).is_ok()) {
            Ok(true) => {
                let seen = format!("sshd's configuration names the certificate {shown}, and has no host key for it");
                Problem::with(seen, format!("put the key back; or {line}"))
            }
            Ok(false) => Problem::with(
                format!("sshd's configuration names the certificate {shown}, which is no certificate"),
                line,
            ),
            Err(error) => Problem::with(
                format!("sshd's configuration names the certificate {shown}, which cannot be read: {error}"),
                line,
            ),
        }
    };
    lost.map(problem).collect()
}

/// What is wrong with the certificate beside a host key, and what to do, if that is known. `until` is the text for its
/// expiry, with the time from now.
pub(super) fn on(wrong: &CertificateFault, until: &str, enrolled: bool) -> (String, Option<String>) {
    match wrong {
        CertificateFault::OtherKey(fingerprint) => {
            let seen = format!("its certificate is for another key, {fingerprint}");
            (seen, enrolled.then(|| REPLACED.to_owned()))
        }
        CertificateFault::Expired(_) => (format!("its certificate {until}"), Some(EXPIRED.to_owned())),
        CertificateFault::OtherKind(_)
        | CertificateFault::NoPrincipals
        | CertificateFault::MissingPrincipal(_)
        | CertificateFault::ExtraPrincipal(_)
        | CertificateFault::UnknownSigner(_)
        | CertificateFault::WeakSignature(_)
        | CertificateFault::BadSignature
        | CertificateFault::NotYetValid(_)
        | CertificateFault::NoEnd
        | CertificateFault::CriticalOption(_) => (wrong.to_string(), None),
    }
}
