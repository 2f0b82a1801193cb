//! Configurations of sshd as administrators write them.

use crate::support::{Peer, Run, peer::OLD};
use std::{fs, os::unix::fs::symlink, path::Path};

/// The main file of a second sshd, and its port.
pub(super) const SECOND: (&str, u16) = ("/etc/ssh/sshd_config_second", 2222);
/// The ordinary user.
const PERSON: &str = "ann";
const AGENT: &str = "/run/host-agent";

/// A variant of Debian's stock configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Stock,
    RootOut,
    HostKeys,
    NoInclude,
    MatchAtTheEnd,
    Hardened,
    SeveralDropIns,
    ExtraPort,
    Penalties,
    Links,
    MatchLocalPort,
    DirectoryGroups,
    SecondSshd,
    KeyInAgent,
    TwoFactors,
    AllowGroups,
    LockedPassword,
    NoLogin,
    EcdsaOnly,
    RsaOnly,
    ListOfNethServer,
}

impl Shape {
    pub(super) const ALL: [Self; 21] = [
        Self::Stock,
        Self::RootOut,
        Self::HostKeys,
        Self::NoInclude,
        Self::MatchAtTheEnd,
        Self::Hardened,
        Self::SeveralDropIns,
        Self::ExtraPort,
        Self::Penalties,
        Self::Links,
        Self::MatchLocalPort,
        Self::DirectoryGroups,
        Self::SecondSshd,
        Self::KeyInAgent,
        Self::TwoFactors,
        Self::AllowGroups,
        Self::LockedPassword,
        Self::NoLogin,
        Self::EcdsaOnly,
        Self::RsaOnly,
        Self::ListOfNethServer,
    ];

    /// Whether the matrix has a row of this shape for a suite. The release that is built from source has only the two
    /// shapes that its machines have.
    pub(super) fn is_for(self, suite: &str) -> bool {
        match self {
            Self::Stock => true,
            Self::ListOfNethServer => suite == OLD,
            // OpenSSH before 9.2 serves no certificate for such a key, so a client that knows only that key's
            // certificate would get another's.
            Self::KeyInAgent => suite != OLD && suite != "bullseye",
            _ => suite != OLD,
        }
    }

    /// Whether the private key of this file is in an agent.
    pub(super) fn has_in_agent(self, path: &Path) -> bool {
        self == Self::KeyInAgent && path.to_string_lossy().contains("ecdsa")
    }

    /// The name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock, no HostKey lines",
            Self::RootOut => "root out, ordinary users",
            Self::HostKeys => "explicit HostKey lines",
            Self::NoInclude => "no Include",
            Self::MatchAtTheEnd => "Match at the end",
            Self::Hardened => "hardened algorithms",
            Self::SeveralDropIns => "several drop-ins",
            Self::ExtraPort => "extra port",
            Self::Penalties => "penalties tight",
            Self::Links => "keys and certificates by links",
            Self::MatchLocalPort => "Match LocalPort",
            Self::DirectoryGroups => "users and groups of LDAP",
            Self::SecondSshd => "a second sshd",
            Self::KeyInAgent => "a key in an agent",
            Self::TwoFactors => "two factors",
            Self::AllowGroups => "AllowGroups, without root",
            Self::LockedPassword => "root's password locked",
            Self::NoLogin => "/etc/nologin",
            Self::EcdsaOnly => "ECDSA only",
            Self::RsaOnly => "RSA only",
            Self::ListOfNethServer => "NethServer's list of algorithms",
        }
    }

    /// The user as whom people log in.
    pub(super) fn user(self) -> &'static str {
        if matches!(self, Self::RootOut | Self::AllowGroups) { PERSON } else { "root" }
    }

    /// Whether a key alone is not enough to log in.
    pub(super) fn asks_twice(self) -> bool {
        self == Self::TwoFactors
    }

    /// Whether it serves a single host key.
    pub(super) fn has_one_key(self) -> bool {
        matches!(self, Self::EcdsaOnly | Self::RsaOnly | Self::ListOfNethServer)
    }

    /// The types of host keys with which clients must get in.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::EcdsaOnly => &["ecdsa"],
            Self::RsaOnly => &["rsa"],
            Self::ListOfNethServer => &["ed25519"],
            Self::Stock
            | Self::RootOut
            | Self::HostKeys
            | Self::NoInclude
            | Self::MatchAtTheEnd
            | Self::Hardened
            | Self::SeveralDropIns
            | Self::ExtraPort
            | Self::Penalties
            | Self::Links
            | Self::MatchLocalPort
            | Self::DirectoryGroups
            | Self::SecondSshd
            | Self::KeyInAgent
            | Self::TwoFactors
            | Self::AllowGroups
            | Self::LockedPassword
            | Self::NoLogin => &["ed25519", "rsa"],
        }
    }

    /// Changes a machine with the stock configuration into this shape.
    pub(super) fn make(self, suite: &str, peer: &Peer) {
        let directory = &peer.file("/etc/ssh");
        let config = directory.join("sshd_config");
        // The matrix makes thousands of handshakes, and this key exchange is cheap.
        let stock = format!("KexAlgorithms curve25519-sha256\n{}", fs::read_to_string(&config).unwrap());
        let keys = "HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n\
                    HostKey /etc/ssh/ssh_host_ed25519_key\n";
        let drop_in = |name: &str, text: &str| fs::write(directory.join("sshd_config.d").join(name), text).unwrap();
        let text = match self {
            Self::Stock => stock,
            Self::RootOut => {
                add_person(peer);
                format!("PermitRootLogin no\n{stock}")
            }
            Self::HostKeys => format!("{stock}{keys}"),
            Self::NoInclude => {
                let lines: Vec<&str> = stock.lines().filter(|line| !line.starts_with("Include")).collect();
                assert!(lines.len() < stock.lines().count(), "the stock configuration includes nothing");
                format!("{}\n", lines.join("\n"))
            }
            Self::MatchAtTheEnd => format!("{stock}{keys}Match User nobody\n    X11Forwarding no\n"),
            // As hardening guides have it: without ECDSA.
            Self::Hardened => format!(
                "{stock}HostKeyAlgorithms sk-ssh-ed25519-cert-v01@openssh.com,ssh-ed25519-cert-v01@openssh.com,\
                 rsa-sha2-512-cert-v01@openssh.com,rsa-sha2-256-cert-v01@openssh.com,sk-ssh-ed25519@openssh.com,\
                 ssh-ed25519,rsa-sha2-512,rsa-sha2-256\n"
            ),
            Self::SeveralDropIns => {
                drop_in("10-site.conf", "MaxAuthTries 5\nHostKey /etc/ssh/ssh_host_ed25519_key\n");
                drop_in("90-site.conf", &format!("MaxAuthTries 3\nLoginGraceTime 60\n{keys}"));
                format!("{stock}MaxAuthTries 6\n")
            }
            Self::ExtraPort => format!("{stock}Port 22\nPort 2200\n"),
            // These releases do not have `PerSourcePenalties`, and bullseye's not `PerSourceMaxStartups` either.
            Self::Penalties if suite == "bullseye" => format!("{stock}MaxStartups 2:50:4\n"),
            Self::Penalties if suite == "bookworm" => format!("{stock}MaxStartups 2:50:4\nPerSourceMaxStartups 1\n"),
            Self::Penalties => format!(
                "{stock}MaxStartups 2:50:4\nPerSourceMaxStartups 1\n\
                 PerSourcePenalties authfail:30s noauth:10s grace-exceeded:60s min:20s max:600s\n"
            ),
            Self::Links => {
                link(directory);
                stock
            }
            Self::MatchLocalPort => {
                format!("{stock}{keys}Match LocalPort 2200\n    X11Forwarding no\n    AllowUsers nobody\n")
            }
            // No file of this machine lists these users and groups. Before OpenSSH 8.7 nothing may follow the closing
            // quote of a Match.
            Self::DirectoryGroups => format!(
                "{stock}AllowGroups root \"domain admins\" CORP\\staff\nMatch User CORP\\ann,ann@corp.example\n    \
                 PasswordAuthentication no\nMatch Group \"domain users,CORP\\staff\"\n    X11Forwarding no\n"
            ),
            Self::SecondSshd => {
                let lines = format!("Include /etc/ssh/sshd_config.d/*.conf\nPort {}\nUsePAM no\n", SECOND.1);
                fs::write(peer.file(SECOND.0), lines).unwrap();
                stock
            }
            // The list has no certificate algorithm, and only one host key's. Before OpenSSH 7.8 a plain name covers
            // its certificate.
            Self::ListOfNethServer => {
                format!("{stock}HostKeyAlgorithms ssh-dss,ssh-ed25519,rsa-sha2-256,rsa-sha2-512\n")
            }
            Self::KeyInAgent => {
                give_to_agent(peer, "/etc/ssh/ssh_host_ecdsa_key");
                format!("HostKeyAgent {AGENT}\n{stock}{keys}")
            }
            // PAM permits everybody, so the second factor asks nothing, but sshd counts it as a factor nevertheless.
            // Without `PermitRootLogin yes` sshd would make it fail for root.
            Self::TwoFactors => {
                let pam: String =
                    ["auth", "account", "session"].map(|kind| format!("{kind} required pam_permit.so\n")).concat();
                fs::write(peer.file("/etc/pam.d/sshd"), pam).unwrap();
                // OpenSSH 8.7 renamed the keyword, and Debian's earlier stock file sets the old name to no.
                let asks = if suite == "bullseye" {
                    "ChallengeResponseAuthentication"
                } else {
                    "KbdInteractiveAuthentication"
                };
                format!(
                    "AuthenticationMethods publickey,keyboard-interactive\n{asks} yes\nPermitRootLogin yes\n{stock}"
                )
            }
            Self::AllowGroups => {
                add_person(peer);
                shell(peer, &format!("echo 'people:x:1600:{PERSON}' >>/etc/group"));
                format!("AllowGroups people\n{stock}")
            }
            // PAM accepts such an account. An sshd that does not use PAM lets nobody in whose password is locked.
            Self::LockedPassword => {
                let shadow = peer.file("/etc/shadow");
                let text = fs::read_to_string(&shadow).unwrap();
                assert!(text.starts_with("root:*:"), "{text}");
                fs::write(shadow, text.replacen("root:*:", "root:!:", 1)).unwrap();
                stock
            }
            Self::NoLogin => {
                fs::write(peer.file("/etc/nologin"), "tonight\n").unwrap();
                stock
            }
            Self::EcdsaOnly | Self::RsaOnly => {
                let kept = format!("ssh_host_{}_key", self.keys()[0]);
                for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
                    let name = entry.file_name().into_string().unwrap();
                    if name.starts_with("ssh_host_") && !name.starts_with(&kept) {
                        fs::remove_file(entry.path()).unwrap();
                    }
                }
                format!("HostKey /etc/ssh/{kept}\n{stock}")
            }
        };
        fs::write(config, text).unwrap();
    }
}

/// An ordinary user, whose account has no password.
fn add_person(peer: &Peer) {
    let script = format!(
        "echo '{PERSON}:x:1500:1500::/home/{PERSON}:/bin/sh' >>/etc/passwd; echo '{PERSON}:x:1500:' >>/etc/group; \
         echo '{PERSON}:*:19000:0:99999:7:::' >>/etc/shadow; mkdir -p /home/{PERSON}/.ssh"
    );
    shell(peer, &script);
}

fn shell(peer: &Peer, script: &str) {
    Run::of(peer.command("sh").args(["-ec", script])).ends(0);
}

/// Replaces the host keys, and the place of one certificate, with links.
fn link(directory: &Path) {
    fs::create_dir(directory.join("data")).unwrap();
    for name in ["rsa", "ecdsa", "ed25519"] {
        for end in ["", ".pub"] {
            let (key, real) = (format!("ssh_host_{name}_key{end}"), format!("data/{name} key{end}"));
            fs::rename(directory.join(&key), directory.join(&real)).unwrap();
            symlink(real, directory.join(key)).unwrap();
        }
    }
    symlink("data/rsa-cert.pub", directory.join("ssh_host_rsa_key-cert.pub")).unwrap();
}

/// Moves a key from its file into an agent on the machine.
fn give_to_agent(peer: &Peer, key: &str) {
    // The agent goes into the background, and ends with the machine.
    Run::of(peer.command("ssh-agent").args(["-a", AGENT])).ends(0);
    Run::of(peer.command("ssh-add").env("SSH_AUTH_SOCK", AGENT).args(["-q", key])).ends(0);
    fs::remove_file(peer.file(key)).unwrap();
}
