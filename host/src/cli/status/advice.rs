//! What `status` says of a certificate that clients do not accept, and what a person does about it.

use warded_lib::ca::verify::Wrong;

/// What a person does about a certificate that sshd does not serve.
pub(super) const UNSERVED: &str =
    "warded apply certify-host puts its line back where it is gone; warded renew has sshd read it";
/// What is said of a certificate that sshd would not present after its next start.
pub(super) const UNNAMED: &str = "no HostCertificate line of sshd's configuration names its certificate, which sshd would not present after its next start";
pub(super) const NAME_AGAIN: &str = "warded apply certify-host puts the line back";
/// As [`UNSERVED`], where it offers a key that it would end by reading its files.
pub(super) const UNSERVED_FOR_A_FORMER_KEY: &str = "have sshd read its files, as is said of its former host key";
const REPLACED: &str = "if the key was replaced on purpose: warded renew, which has the new key certified or says that it \
                        takes a token";
const EXPIRED: &str = "warded renew; if the CA does not renew what has expired: warded apply certify-host";

/// What is wrong with the certificate beside a host key, and what to do where that is known. `until` tells its end, with
/// the distance from now.
pub(super) fn on(wrong: &Wrong, until: &str, enrolled: bool) -> (String, Option<String>) {
    match wrong {
        Wrong::OtherKey(fingerprint) => {
            let seen = format!("its certificate is for another key, {fingerprint}");
            (seen, enrolled.then(|| REPLACED.to_owned()))
        }
        Wrong::Expired(_) => (format!("its certificate {until}"), Some(EXPIRED.to_owned())),
        Wrong::OtherKind(_)
        | Wrong::NoPrincipals
        | Wrong::MissingPrincipal(_)
        | Wrong::ExtraPrincipal(_)
        | Wrong::UnknownSigner(_)
        | Wrong::WeakSignature(_)
        | Wrong::BadSignature
        | Wrong::NotYetValid(_)
        | Wrong::NoEnd
        | Wrong::CriticalOption(_) => (wrong.to_string(), None),
    }
}
