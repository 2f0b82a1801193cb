//! Whether a client accepts what a server proved, by the rules of OpenSSH's client (sshconnect.c).

use super::{
    Question,
    known_hosts::ClientKnowledge,
    transcript::{End, PresentedCertificate, Transcript},
};
use crate::{
    ca::Certificate,
    guard::config::files,
    handshake::{HostKey, HostKeyAlgorithm},
    text,
};
use ssh_key::{HashAlg, PublicKey};
use std::time::{SystemTime, UNIX_EPOCH};

/// The time in seconds since 1970.
pub(in crate::guard) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// What a client sees, and whether it continues, at a time in seconds since 1970.
pub(super) fn judge(proved: &HostKey, offer: Vec<String>, question: &Question<'_>, now: u64) -> Transcript {
    let mut seen = Transcript { end: End::HostKeyRefused, offer, ..Transcript::default() };
    if proved.certificate().is_none() {
        seen.key = Some((proved.algorithm.kind.key_type().to_owned(), print(&proved.key)));
        match question.knows {
            ClientKnowledge::Keys(known) if known.iter().any(|key| key.key_data() == proved.key.key_data()) => {
                seen.end = End::NotLoggedIn;
            }
            ClientKnowledge::Keys(_) => seen.words.push("it is another key than the client knows".to_owned()),
            ClientKnowledge::Nothing | ClientKnowledge::Authorities(_) => {}
        }
        return seen;
    }
    let certificate = match Certificate::from_bytes(&proved.blob) {
        Ok(certificate) => certificate,
        Err(error) => {
            seen.words.push(format!("the certificate that it serves cannot be read: {error}"));
            return seen;
        }
    };
    match refusal(&certificate, &proved.key, question, now) {
        None => {
            seen.end = End::NotLoggedIn;
            seen.by_certificate = true;
        }
        Some(why) => seen.words.extend(why),
    }
    seen.certificate = Some(described(&certificate, proved.algorithm));
    seen
}

/// Why a client would not accept a certificate; an empty list where the client knows no CA.
fn refusal(certificate: &Certificate, key: &PublicKey, question: &Question<'_>, now: u64) -> Option<Vec<String>> {
    let ClientKnowledge::Authorities(authorities) = question.knows else { return Some(Vec::new()) };
    if !authorities.iter().any(|known| known.key_data() == certificate.signer().key_data()) {
        return Some(vec![format!(
            "its signer {} is not a CA that the client knows",
            certificate.signer_fingerprint()
        )]);
    }
    let checked = files::checkable(certificate)
        .and_then(|certificate| files::check_certificate(&certificate, std::slice::from_ref(key), now));
    if let Err(problem) = checked {
        return Some(vec![format!("the certificate {problem}")]);
    }
    if !certificate.principals().iter().any(|name| name == question.name) {
        let names = certificate.principals().join(" ");
        return Some(vec![text::neutral(&format!("the certificate is for {names}, not for {}", question.name))]);
    }
    None
}

fn described(certificate: &Certificate, algorithm: HostKeyAlgorithm) -> PresentedCertificate {
    PresentedCertificate {
        algorithm: algorithm.blob_type().to_owned(),
        key: print(certificate.key()),
        serial: certificate.serial(),
        key_id: certificate.key_id().to_owned(),
        signer: certificate.signer_fingerprint(),
        principals: certificate.principals().to_vec(),
    }
}

fn print(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ca::testing::Certifies as _,
        handshake::KeyKind,
        machine::{
            keys::testing::{TYPES, Workshop},
            sshd::host_key,
        },
    };
    use ssh_key::{
        PrivateKey,
        certificate::{Builder, CertType},
        rand_core::OsRng,
    };

    const NOW: u64 = 1_800_000_000;

    /// OpenSSH takes it; ssh-key can neither make nor read it.
    #[test]
    fn a_certificate_without_an_end_is_named_as_one() {
        let workshop = Workshop::new();
        let [ca, host] = ["ca", "host"].map(|name| workshop.key(name, TYPES[0]));
        let blob = workshop.certify("ca", "host", &["-h", "-n", "a.example"]).bytes().to_vec();
        let proved = HostKey { algorithm: HostKeyAlgorithm::certificate(KeyKind::Ed25519), key: host.clone(), blob };
        let known = [ca];
        let (knows, key_type) = (ClientKnowledge::Authorities(&known), "ssh-ed25519");
        let question = Question { knows, key_type, certificate: true, name: "a.example" };
        let seen = judge(&proved, Vec::new(), &question, NOW);
        assert_eq!((seen.end, seen.by_certificate), (End::HostKeyRefused, false));
        assert_eq!(seen.words, ["the certificate never expires, and so it is not checked any further"]);
        assert_eq!(seen.certificate.unwrap().key, print(&host));
        let cut_off = HostKey { blob: proved.blob[..40].to_vec(), ..proved };
        let seen = judge(&cut_off, Vec::new(), &question, NOW);
        assert!(seen.said().contains("cannot be read: not an SSH certificate: it is cut off"), "{seen:?}");
    }

    fn certificate(ca: &PrivateKey, host: &PublicKey, kind: CertType, name: &str, until: u64) -> HostKey {
        let mut builder = Builder::new_with_random_nonce(&mut OsRng, host, NOW - 60, until).unwrap();
        builder.cert_type(kind).unwrap().valid_principal(name).unwrap();
        let blob = builder.sign(ca).unwrap().to_bytes().unwrap();
        HostKey { algorithm: HostKeyAlgorithm::certificate(KeyKind::Ed25519), key: host.clone(), blob }
    }

    #[test]
    fn a_client_takes_what_it_knows_and_nothing_else() {
        let [ca, other, host] = [(); 3].map(|()| host_key::throw_away().unwrap().0);
        let (known, host_public) = ([ca.public_key().clone()], host.public_key().clone());
        let question = |knows| Question { knows, key_type: "ssh-ed25519", certificate: true, name: "a.example" };
        let authorities = ClientKnowledge::Authorities(&known);
        for (proved, knows, end, said) in [
            (certificate(&ca, &host_public, CertType::Host, "a.example", NOW + 60), authorities, End::NotLoggedIn, ""),
            (
                certificate(&ca, &host_public, CertType::Host, "a.example", NOW + 60),
                ClientKnowledge::Nothing,
                End::HostKeyRefused,
                "",
            ),
            (
                certificate(&other, &host_public, CertType::Host, "a.example", NOW + 60),
                authorities,
                End::HostKeyRefused,
                "is not a CA that the client knows",
            ),
            (
                certificate(&ca, &host_public, CertType::Host, "b.example", NOW + 60),
                authorities,
                End::HostKeyRefused,
                "is for b.example, not for a.example",
            ),
            (
                certificate(&ca, &host_public, CertType::Host, "a.example", NOW - 1),
                authorities,
                End::HostKeyRefused,
                "expired",
            ),
            (
                certificate(&ca, &host_public, CertType::User, "a.example", NOW + 60),
                authorities,
                End::HostKeyRefused,
                "is a user certificate",
            ),
            (
                certificate(&ca, other.public_key(), CertType::Host, "a.example", NOW + 60),
                authorities,
                End::NotLoggedIn,
                "",
            ),
        ] {
            let seen = judge(&proved, Vec::new(), &question(knows), NOW);
            assert_eq!((seen.end, seen.by_certificate), (end, end == End::NotLoggedIn), "{seen:?}");
            assert!(seen.words.join(" ").contains(said) && seen.words.is_empty() == said.is_empty(), "{seen:?}");
            assert_eq!(seen.certificate.unwrap().serial, 0);
        }
        let plain = HostKey {
            algorithm: HostKeyAlgorithm::key(KeyKind::Ed25519),
            key: host_public.clone(),
            blob: host_public.to_bytes().unwrap(),
        };
        for (knows, end) in [
            (ClientKnowledge::Keys(std::slice::from_ref(&host_public)), End::NotLoggedIn),
            (ClientKnowledge::Keys(&known), End::HostKeyRefused),
            (ClientKnowledge::Nothing, End::HostKeyRefused),
        ] {
            let seen = judge(&plain, Vec::new(), &question(knows), NOW);
            assert_eq!((seen.end, seen.by_certificate), (end, false));
            assert_eq!(seen.key.unwrap().1, host_public.fingerprint(HashAlg::Sha256).to_string());
        }
    }
}
