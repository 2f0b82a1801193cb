//! The certificates of this machine's host keys, as they are on disk.

use super::vouch::Voucher;
use crate::broker::session::{Level, Session};
use ssh_key::PublicKey;
use warded_lib::{
    ca::{Kind, certificate, now, verify},
    guard::client::known_hosts,
    machine::{path::AbsolutePath, sshd::host_key::Standing},
    text::neutral,
};

/// The certificate of a host key, whether or not it is for that key.
pub(super) struct OwnCertificate {
    pub(super) public: PublicKey,
    pub(super) voucher: Voucher,
    file: AbsolutePath,
}

/// The certificates of the host keys that sshd loads. A file that is not a certificate is left out.
pub(super) fn own_certificates(session: &mut Session) -> Vec<OwnCertificate> {
    let keys = session.host_keys().unwrap_or_default();
    let named = session.values(&[], "hostcertificate").unwrap_or_default();
    keys.into_iter()
        .filter_map(|key| {
            let agent = match &key.standing {
                Standing::Loaded => None,
                Standing::InAgent { socket } => Some(socket.clone()),
                Standing::Ignored(_) => return None,
            };
            let public = key.public.as_ref()?.key()?;
            let path = AbsolutePath::spelled(&key.private_path()).ok()?;
            let file: AbsolutePath = certificate::whereabouts(&named, path.as_str(), Some(&public)).parse().ok()?;
            let place = session.place(&file, file.segments().count()).ok()??;
            let certificate = certificate::parse(&place.snapshot().ok()??.contents).ok()?;
            Some(OwnCertificate { public, voucher: Voucher { key: path, agent, certificate }, file })
        })
        .collect()
}

/// Tells the operator of good certificates that no line of sshd's configuration names, because somebody took the line
/// out, or an update wrote the file anew. Only the procedure that enrolled the machine may write that line. The guard
/// refuses to renew such a certificate, and says the same.
pub fn tell_of_unnamed(session: &mut Session) {
    let [named, algorithms] =
        ["hostcertificate", "hostkeyalgorithms"].map(|keyword| session.values(&[], keyword).unwrap_or_default());
    for OwnCertificate { public, voucher, file } in own_certificates(session) {
        let is_good = verify::problem(&voucher.certificate, Kind::Host, std::slice::from_ref(&public), now()).is_none();
        let is_renewed = session.changes.requests().any(|(_, request)| request.key == voucher.key);
        let is_shown = known_hosts::lacking(&algorithms, public.algorithm().as_str()).is_none();
        if is_good && !is_renewed && is_shown && !named.iter().any(|named| named == file.as_str()) {
            let text = format!(
                "no HostCertificate line of sshd's configuration names {}, so that sshd does not serve it after its \
                 next reload or start. To put the line back: warded apply certify-host",
                neutral(file.as_str())
            );
            session.tell(Level::Warn, text);
        }
    }
}
