//! Files that the system generates itself, whatever link leads to them. A change there would be lost when the system
//! generates them again, if it can be made at all.

use super::Failure;
use crate::broker::session::Session;
use sshd_config::known_hosts::{Entry, Marker};
use warded_lib::{
    machine::{files::Place, path::AbsolutePath},
    text::neutral,
};

/// The program that generates a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Maker {
    /// NixOS, from its configuration.
    NixOs,
    /// The cluster of Proxmox VE.
    Proxmox,
}

impl Maker {
    pub(super) fn of(place: &Place) -> Option<Self> {
        let resolved = place.resolved();
        let resolved = resolved.to_string_lossy();
        if resolved.contains("/nix/store/") {
            Some(Self::NixOs)
        } else {
            resolved.contains("/etc/pve/").then_some(Self::Proxmox)
        }
    }
}

/// Refuses to change such a file, and says how to get the same result on that system.
///
/// # Errors
/// `io`: the system generates the file.
pub(super) fn refuse_managed(
    session: &mut Session,
    path: &AbsolutePath,
    place: &Place,
    after: &[u8],
) -> Result<(), Failure> {
    let Some(maker) = Maker::of(place) else { return Ok(()) };
    let before = session.changes.look(place)?.map(|snapshot| snapshot.contents.to_vec()).unwrap_or_default();
    if before == after {
        return Ok(());
    }
    let added = added(&before, after);
    let failure = |why: &str| Failure::new("io", format!("{path} stays as it is: {why}")).about("path", path);
    Err(match maker {
        Maker::NixOs => {
            let failure = failure("NixOS makes it from its configuration, and a change of it would not last");
            let failure = on_nixos(&added).into_iter().fold(failure, |failure, next| failure.about("next", next));
            failure.about("next", "then: nixos-rebuild switch")
        }
        Maker::Proxmox => {
            let failure = failure("it is a link to a file of the Proxmox VE cluster, which writes that file itself");
            added.iter().fold(failure, |failure, line| {
                let line = line.replace('\'', r"'\''");
                failure.about(
                    "next",
                    format!(
                        "put the line into a file that ssh reads beside it: echo '{line}' >>/etc/ssh/ssh_known_hosts2"
                    ),
                )
            })
        }
    })
}

/// The lines that would be added, without comments.
fn added(before: &[u8], after: &[u8]) -> Vec<String> {
    let known: Vec<&[u8]> = lines(before).collect();
    let is_new = |line: &&[u8]| !known.contains(line) && !line.is_empty() && !line.starts_with(b"#");
    lines(after).filter(is_new).map(|line| neutral(&String::from_utf8_lossy(line))).collect()
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

/// What to write into NixOS's configuration in place of these lines.
fn on_nixos(added: &[String]) -> Vec<String> {
    let trusts = |line: &String| {
        let entry = Entry::parse(line.as_bytes()).filter(|entry| entry.marker == Marker::Authority)?;
        let (key_type, key) = entry.key();
        let [hosts, key_type, key] = [entry.hosts, key_type, key].map(String::from_utf8_lossy);
        let hosts: Vec<String> = hosts.split(',').map(in_nix).collect();
        Some(format!(
            "put this into configuration.nix: programs.ssh.knownHosts.warded = {{ certAuthority = true; hostNames = [ {} ]; \
             publicKey = {}; }};",
            hosts.join(" "),
            in_nix(&format!("{key_type} {key}"))
        ))
    };
    let known: Vec<String> = added.iter().filter_map(trusts).collect();
    if !known.is_empty() {
        return known;
    }
    let mut next =
        vec![format!("put this into configuration.nix: services.openssh.extraConfig = {};", in_nix(&added.join("\n")))];
    let has = |keyword: &str| added.iter().any(|line| line.starts_with(keyword));
    if has("HostCertificate") {
        next.push("run this again after that: it writes the certificates alone, and renews them".to_owned());
    }
    if has("TrustedUserCAKeys") {
        next.push(
            "write the CA's keys (warded ca roots --user) to the file that TrustedUserCAKeys names, by environment.etc"
                .to_owned(),
        );
    }
    next
}

/// A string literal in the Nix language.
fn in_nix(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('"', r#"\""#).replace("${", r"\${").replace('\n', r"\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_come_is_told_in_the_words_of_nix() {
        let before = b"Port 22\nMatch all\n";
        let after = b"Port 22\n# BEGIN warded\nHostCertificate /a-cert.pub\nHostCertificate \"/b c\"\n# END warded\nMatch all\n";
        let lines = added(before, after);
        assert_eq!(lines, ["HostCertificate /a-cert.pub", "HostCertificate \"/b c\""]);
        let next = on_nixos(&lines);
        let expected = r#"services.openssh.extraConfig = "HostCertificate /a-cert.pub\nHostCertificate \"/b c\"";"#;
        assert!(next.first().unwrap().ends_with(expected), "{next:?}");
        let next = on_nixos(&["@cert-authority *.x.test,!b.x.test ssh-ed25519 AAAA warded".to_owned()]);
        let expected = r#"hostNames = [ "*.x.test" "!b.x.test" ]; publicKey = "ssh-ed25519 AAAA"; };"#;
        assert!(next.first().unwrap().ends_with(expected), "{next:?}");
        assert_eq!(in_nix("${x}\\"), r#""\${x}\\""#);
    }
}
