//! Which keywords decide about logins, and which do not.

use crate::{machine::sshd::Effective, text::neutral};

/// Keywords that can shut nobody out and let nobody in. All others count. `config/revocation.rs` checks what
/// `RevokedKeys` names, and handshakes prove the host keys.
pub(super) const HARMLESS: [&str; 36] = [
    "acceptenv",
    "allowagentforwarding",
    "allowstreamlocalforwarding",
    "allowtcpforwarding",
    "banner",
    "clientalivecountmax",
    "clientaliveinterval",
    "compression",
    "debianbanner",
    "disableforwarding",
    "exposeauthinfo",
    "fingerprinthash",
    "gatewayports",
    "hostcertificate",
    "hostkey",
    "hostkeyagent",
    "hostkeyalgorithms",
    "ipqos",
    "loglevel",
    "logverbose",
    "permitlisten",
    "permitopen",
    "permittunnel",
    "pidfile",
    "printlastlog",
    "printmotd",
    "revokedkeys",
    "streamlocalbindmask",
    "streamlocalbindunlink",
    "syslogfacility",
    "tcpkeepalive",
    "versionaddendum",
    "x11displayoffset",
    "x11forwarding",
    "x11uselocalhost",
    "xauthlocation",
];
/// Keywords whose effect on logins is compared by the ways in that they open, or by the names in them.
pub(super) const COMPARED: [&str; 19] = [
    "allowgroups",
    "allowusers",
    "authenticationmethods",
    "authorizedkeyscommand",
    "authorizedkeyscommanduser",
    "authorizedkeysfile",
    "authorizedprincipalscommand",
    "authorizedprincipalscommanduser",
    "authorizedprincipalsfile",
    "denygroups",
    "denyusers",
    "gssapiauthentication",
    "hostbasedauthentication",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "permitrootlogin",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "trustedusercakeys",
];
/// Keywords that name files which give users a way in.
pub(super) const NAMING: [&str; 5] = [
    "authorizedkeyscommand",
    "authorizedkeysfile",
    "authorizedprincipalscommand",
    "authorizedprincipalsfile",
    "trustedusercakeys",
];

/// The users and groups whom lists of names would shut out.
pub(super) fn shut_out(before: &Effective, after: &Effective) -> Vec<String> {
    let mut lost = Vec::new();
    for keyword in ["denyusers", "denygroups"] {
        let new = after.values(keyword).iter().filter(|name| !before.values(keyword).contains(name));
        lost.extend(new.map(|name| format!("{keyword} {}", neutral(name))));
    }
    for keyword in ["allowusers", "allowgroups"] {
        let (old, new) = (before.values(keyword), after.values(keyword));
        if old.is_empty() && !new.is_empty() {
            lost.push(format!("everybody but {keyword} {}", neutral(&new.join(" "))));
        } else if !new.is_empty() {
            lost.extend(
                old.iter().filter(|name| !new.contains(name)).map(|name| format!("{keyword} {}", neutral(name))),
            );
        }
    }
    lost
}
