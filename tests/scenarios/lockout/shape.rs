//! sshd as administrators configure it.

use std::{fs, path::Path};

/// A configuration, made from Debian's stock one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Stock,
    HostKeys,
    NoInclude,
    MatchAtTheEnd,
    Hardened,
    SeveralDropIns,
    ExtraPort,
    Penalties,
}

impl Shape {
    pub(super) const ALL: [Self; 8] = [
        Self::Stock,
        Self::HostKeys,
        Self::NoInclude,
        Self::MatchAtTheEnd,
        Self::Hardened,
        Self::SeveralDropIns,
        Self::ExtraPort,
        Self::Penalties,
    ];

    /// What the table calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock, no HostKey lines",
            Self::HostKeys => "explicit HostKey lines",
            Self::NoInclude => "no Include",
            Self::MatchAtTheEnd => "Match at the end",
            Self::Hardened => "hardened algorithms",
            Self::SeveralDropIns => "several drop-ins",
            Self::ExtraPort => "extra port",
            Self::Penalties => "penalties tight",
        }
    }

    /// Gives a stock configuration this shape.
    pub(super) fn make(self, suite: &str, directory: &Path) {
        let config = directory.join("sshd_config");
        // There are thousands of handshakes, and this is a cheap one.
        let stock = format!("KexAlgorithms curve25519-sha256\n{}", fs::read_to_string(&config).unwrap());
        let keys = "HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n\
                    HostKey /etc/ssh/ssh_host_ed25519_key\n";
        let drop_in = |name: &str, text: &str| fs::write(directory.join("sshd_config.d").join(name), text).unwrap();
        let text = match self {
            Self::Stock => stock,
            Self::HostKeys => format!("{stock}{keys}"),
            Self::NoInclude => {
                let lines: Vec<&str> = stock.lines().filter(|line| !line.starts_with("Include")).collect();
                assert!(lines.len() < stock.lines().count(), "the stock configuration includes nothing");
                format!("{}\n", lines.join("\n"))
            }
            Self::MatchAtTheEnd => format!("{stock}{keys}Match User nobody\n    X11Forwarding no\n"),
            // As the guides for hardening have it: no ECDSA.
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
            Self::Penalties if suite == "bookworm" => format!("{stock}MaxStartups 2:50:4\nPerSourceMaxStartups 1\n"),
            Self::Penalties => format!(
                "{stock}MaxStartups 2:50:4\nPerSourceMaxStartups 1\n\
                 PerSourcePenalties authfail:30s noauth:10s grace-exceeded:60s min:20s max:600s\n"
            ),
        };
        fs::write(config, text).unwrap();
    }
}
