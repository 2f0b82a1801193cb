//! One exchange as a client sees it, and a parser for what `ssh -vv` prints about one. The messages are OpenSSH's
//! (kex.c, sshconnect.c, sshconnect2.c; those used here are the same from 7.4 to 10.6).

use crate::text;

/// The certificate that a server presented, as the client shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PresentedCertificate {
    /// Its own type: `ssh-ed25519-cert-v01@openssh.com`.
    pub algorithm: String,
    /// The fingerprint of the host key that it is for.
    pub key: String,
    /// Its serial number.
    pub serial: u64,
    pub key_id: String,
    /// The fingerprint of the CA key that signed it: `SHA256:…`.
    pub signer: String,
    pub principals: Vec<String>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    LoggedIn,
    /// The client accepted the host key and went on to log in, and could not.
    NotLoggedIn,
    /// The client did not accept the host key.
    HostKeyRefused,
    /// The server has no host key of the types asked for.
    NotOffered,
    /// The exchange did not get that far: refused, closed, timed out. Nothing is known.
    #[default]
    Incomplete,
}

/// One exchange between a client and a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    /// How it ended.
    pub end: End,
    /// The host key algorithms that the server offers.
    pub offer: Vec<String>,
    /// Type and fingerprint of the key that it presented.
    pub key: Option<(String, String)>,
    /// The certificate that it presented.
    pub certificate: Option<PresentedCertificate>,
    /// Whether the client accepted the certificate, rather than a plain key.
    pub by_certificate: bool,
    /// Anything else that either side said.
    pub words: Vec<String>,
}

impl Transcript {
    /// Reads the client's standard error.
    #[must_use]
    pub fn parse(stderr: &str) -> Self {
        let mut seen = Self::default();
        let (mut accepted, mut logging_in, mut peer) = (false, false, false);
        let mut logged_in = false;
        for line in stderr.lines().map(str::trim_end) {
            // From here on, a server can make the client print lines of the server's choice (a banner).
            logging_in |= accepted && line == "debug1: SSH2_MSG_SERVICE_ACCEPT received";
            if logging_in {
                logged_in |=
                    line.starts_with("Authenticated to ") || line.starts_with("debug1: Authentication succeeded (");
            } else if let Some(rest) = line.strip_prefix("debug1: Server host certificate: ") {
                seen.certificate = seen.certificate.take().or_else(|| certificate(rest));
            } else if let Some(principal) = line.strip_prefix("debug2: Server host certificate hostname: ") {
                seen.certificate.iter_mut().for_each(|one| one.principals.push(principal.to_owned()));
            } else if let Some(rest) = line.strip_prefix("debug1: Server host key: ") {
                let key = rest.split_once(' ').map(|(kind, print)| (kind.to_owned(), print.to_owned()));
                seen.key = seen.key.take().or(key);
            } else if line.starts_with("debug2: peer server KEXINIT proposal") {
                peer = true;
            } else if let Some(list) = line.strip_prefix("debug2: host key algorithms: ").filter(|_| peer) {
                seen.offer = list.split(',').map(str::to_owned).collect();
                // From 10.0 on the client prints its own list once more, after the exchange.
                peer = false;
            } else if line.starts_with("debug1: Host '") && line.contains("' is known and matches the ") {
                accepted = true;
                seen.by_certificate = line.ends_with(" host certificate.");
            } else if line == "Host key verification failed." || line.starts_with("Couldn't drop certificate: ") {
                // The latter where the client accepts only certificates (OpenSSH ≥ 10).
                seen.end = End::HostKeyRefused;
            } else if let Some((_, list)) = line.split_once("no matching host key type found. Their offer: ") {
                seen.offer = list.split(',').map(|name| name.trim().to_owned()).collect();
                seen.end = End::NotOffered;
            }
            if !line.is_empty() && !line.starts_with("debug") {
                seen.words.push(text::neutral(line));
            }
        }
        if logged_in {
            seen.end = End::LoggedIn;
        } else if logging_in {
            seen.end = End::NotLoggedIn;
        }
        seen
    }

    /// Whether the client accepted the host key and went on.
    #[must_use]
    pub fn is_past_host_key(&self) -> bool {
        matches!(self.end, End::LoggedIn | End::NotLoggedIn)
    }

    /// What was said, for a message: without the client's advice and its frames.
    #[must_use]
    pub fn said(&self) -> String {
        let telling = |line: &&String| {
            !line.starts_with("@@@")
                && !line.starts_with("OpenSSH_")
                && !line.starts_with("mm_log_handler")
                && !line.starts_with("Transferred: ")
                && !line.starts_with("Bytes per second: ")
        };
        let mut lines: Vec<_> = self.words.iter().filter(telling).map(String::as_str).collect();
        lines.dedup();
        let skipped = lines.len().saturating_sub(6);
        let lines = lines.split_off(skipped);
        if lines.is_empty() { "no answer".to_owned() } else { lines.join("\n") }
    }
}

/// Parses `ssh-ed25519-cert-v01@openssh.com SHA256:…, serial 7 ID "x" CA ssh-ed25519 SHA256:… valid …`. The key ID is
/// free text from the CA, so what follows it is searched for from the end.
fn certificate(rest: &str) -> Option<PresentedCertificate> {
    let (key, rest) = rest.split_once(", serial ")?;
    let (algorithm, key) = key.split_once(' ')?;
    let (serial, rest) = rest.split_once(" ID \"")?;
    let (key_id, rest) = rest.rsplit_once("\" CA ")?;
    let (signer, _validity) = rest.split_once(' ')?.1.split_once(' ')?;
    Some(PresentedCertificate {
        algorithm: algorithm.to_owned(),
        key: key.to_owned(),
        serial: serial.parse().ok()?,
        key_id: key_id.to_owned(),
        signer: signer.to_owned(),
        principals: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEX: &str = "OpenSSH_9.2p1 Debian-2\n\
        debug2: local client KEXINIT proposal\ndebug2: host key algorithms: ssh-rsa\n\
        debug2: peer server KEXINIT proposal\ndebug2: host key algorithms: rsa-sha2-512,ssh-ed25519-cert-v01@openssh.com\r\n\
        debug1: Server host certificate: ssh-ed25519-cert-v01@openssh.com SHA256:MTS, serial 730477 ID \"a\" CA b\" CA ssh-ed25519 SHA256:e5g valid from 2026-11-22T09:20:50 to 2026-11-22T10:21:50\n\
        debug2: Server host certificate hostname: a.example\ndebug2: Server host certificate hostname: b.example\n";
    const MATCHES: &str = "debug1: Host 'a.example' is known and matches the ED25519-CERT host certificate.\n\
        debug1: SSH2_MSG_SERVICE_ACCEPT received\n";

    #[test]
    fn a_certificate_and_the_offer_are_read() {
        let seen = Transcript::parse(&format!("{KEX}{MATCHES}root@x: Permission denied (publickey).\n"));
        assert_eq!(seen.end, End::NotLoggedIn);
        assert!(seen.by_certificate && seen.is_past_host_key());
        assert_eq!(seen.offer, ["rsa-sha2-512", "ssh-ed25519-cert-v01@openssh.com"]);
        let certificate = seen.certificate.unwrap();
        assert_eq!((certificate.serial, certificate.key_id.as_str()), (730_477, "a\" CA b"));
        assert_eq!((certificate.signer.as_str(), certificate.key.as_str()), ("SHA256:e5g", "SHA256:MTS"));
        assert_eq!(certificate.algorithm, "ssh-ed25519-cert-v01@openssh.com");
        assert_eq!(certificate.principals, ["a.example", "b.example"]);
    }

    /// As OpenSSH 10.0 prints it.
    #[test]
    fn the_clients_own_list_is_not_the_servers_offer() {
        let known = "debug1: Host 'a.example' is known and matches the ED25519-CERT host certificate.\n";
        let own = "debug1: SSH2_MSG_NEWKEYS received\ndebug2: KEX algorithms: curve25519-sha256\n\
                   debug2: host key algorithms: ssh-ed25519-cert-v01@openssh.com\n";
        let seen = Transcript::parse(&format!("{KEX}{known}{own}debug1: SSH2_MSG_SERVICE_ACCEPT received\n"));
        assert_eq!((seen.end, seen.by_certificate), (End::NotLoggedIn, true));
        assert_eq!(seen.offer, ["rsa-sha2-512", "ssh-ed25519-cert-v01@openssh.com"]);
    }

    #[test]
    fn the_end_is_told_apart() {
        for (rest, end) in [
            ("", End::Incomplete),
            ("Connection closed by 127.0.0.1 port 22\n", End::Incomplete),
            ("kex_exchange_identification: read: Connection reset by peer\n", End::Incomplete),
            ("Certificate invalid: expired\nHost key verification failed.\r\n", End::HostKeyRefused),
            (
                "host key x not permitted by HostkeyAlgorithms\nCouldn't drop certificate: unknown or unsupported key type\r\n",
                End::HostKeyRefused,
            ),
            (
                "Unable to negotiate with UNKNOWN port 65535: no matching host key type found. Their offer: a,b\n",
                End::NotOffered,
            ),
            ("debug1: Host 'a' is known and matches the RSA host key.\n", End::Incomplete),
            (&format!("{MATCHES}Received disconnect from x: Too many authentication failures\n"), End::NotLoggedIn),
            (&format!("{MATCHES}Authenticated to x (via proxy) using \"publickey\".\n"), End::LoggedIn),
            (&format!("{MATCHES}debug1: Authentication succeeded (publickey).\n"), End::LoggedIn),
        ] {
            assert_eq!(Transcript::parse(rest).end, end, "{rest}");
        }
    }

    #[test]
    fn a_banner_cannot_forge_what_came_before() {
        let seen = Transcript::parse(
            "debug1: Server host key: ssh-rsa SHA256:a\ndebug1: Host 'a' is known and matches the RSA host key.\n\
             debug1: SSH2_MSG_SERVICE_ACCEPT received\n\
             debug1: Server host key: ssh-rsa SHA256:b\n\
             debug1: Server host certificate: x SHA256:c, serial 1 ID \"i\" CA t SHA256:d valid forever\n\
             debug1: Host 'a' is known and matches the RSA-CERT host certificate.\n",
        );
        assert_eq!(seen.key, Some(("ssh-rsa".into(), "SHA256:a".into())));
        assert!(seen.certificate.is_none() && !seen.by_certificate);
    }
}
