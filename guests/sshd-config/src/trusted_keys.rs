//! A file that `TrustedUserCAKeys` names: public keys, one per line. If a single line is not a key, sshd accepts no
//! user certificate at all, and its log does not say why.

use crate::krl::wire_form;
use std::{fmt, str};

/// The name of Warded's file, beside sshd's configuration. It holds the keys of the CA and nothing else; the host lets
/// no guest write anything else into it.
pub const FILE_NAME: &str = "warded-user-ca.pub";

/// The types of keys that can sign certificates.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// A fault of a file, and its line, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The line.
    pub line: usize,
    /// The kind of fault.
    pub kind: Kind,
}

/// What can be wrong. Shown as the rest of a sentence about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It begins with a byte order mark.
    ByteOrderMark,
    /// It is UTF-16, or binary.
    NotText,
    /// It is a web page.
    Markup,
    /// A line is one of known_hosts.
    KnownHosts,
    /// A line is one of authorized_keys, with options before the key.
    Options,
    /// A line is a certificate.
    Certificate,
    /// A line is part of a private key.
    PrivateKey,
    /// A line ends with a carriage return.
    CarriageReturn,
    /// The last line does not end: the next line that is appended would be joined to it.
    Unended,
    /// A line is something else than a key.
    NoKey,
}

impl Kind {
    /// Whether sshd reads the keys nevertheless.
    #[must_use]
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::CarriageReturn | Self::Unended)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match self.kind {
            Kind::ByteOrderMark => f.write_str("begins with a byte order mark, which is not part of a key"),
            Kind::NotText => f.write_str("is not text, or is UTF-16"),
            Kind::Markup => write!(f, "has HTML in line {line}: it was fetched from a page that is not the key"),
            Kind::KnownHosts => write!(f, "has a line of known_hosts in line {line} instead of a key alone"),
            Kind::Options => write!(f, "has options before the key in line {line}, as in authorized_keys"),
            Kind::Certificate => write!(f, "has a certificate in line {line} instead of the key of a CA"),
            Kind::PrivateKey => write!(f, "has a private key in line {line}"),
            Kind::CarriageReturn => write!(f, "has a carriage return at the end of line {line}"),
            Kind::Unended => write!(f, "has no end of line after line {line}"),
            Kind::NoKey => write!(f, "has no key in line {line}"),
        }
    }
}

/// The keys in a file, each as type and Base64, without comments.
///
/// # Errors
/// The first line that is not just a key, a comment or empty, or does not end with LF.
pub fn read(bytes: &[u8]) -> Result<Vec<String>, Fault> {
    let fault = |line, kind| Fault { line, kind };
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(fault(1, Kind::ByteOrderMark));
    }
    if bytes.contains(&0) {
        return Err(fault(1, Kind::NotText));
    }
    let mut keys = Vec::new();
    let mut untidy = None;
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let (content, is_ended) = line.strip_suffix(b"\n").map_or((line, false), |content| (content, true));
        let (content, is_returned) = content.strip_suffix(b"\r").map_or((content, false), |content| (content, true));
        match content.trim_ascii_start() {
            [] | [b'#', ..] => {}
            content => keys.push(key(content).map_err(|kind| fault(number, kind))?),
        }
        // A fault with which sshd still reads the keys is reported only if there is no worse one.
        if is_returned {
            untidy = untidy.or(Some(fault(number, Kind::CarriageReturn)));
        } else if !is_ended {
            untidy = untidy.or(Some(fault(number, Kind::Unended)));
        }
    }
    untidy.map_or(Ok(keys), Err)
}

fn key(line: &[u8]) -> Result<String, Kind> {
    let text = str::from_utf8(line).map_err(|_| Kind::NotText)?;
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if TYPES.contains(&first) {
        let blob = wire_form(text).unwrap_or_default();
        let length = u32::try_from(first.len()).unwrap_or_default().to_be_bytes();
        let is_key = blob.strip_prefix(&length[..]).is_some_and(|rest| rest.starts_with(first.as_bytes()));
        return if is_key { Ok(format!("{first} {second}")) } else { Err(Kind::NoKey) };
    }
    Err(match first {
        _ if first.starts_with('@') => Kind::KnownHosts,
        _ if first.starts_with('<') => Kind::Markup,
        _ if text.starts_with("-----BEGIN") => Kind::PrivateKey,
        _ if first.ends_with("-cert-v01@openssh.com") => Kind::Certificate,
        _ if text.split([' ', '\t']).skip(1).any(|word| TYPES.contains(&word)) => Kind::Options,
        _ => Kind::NoKey,
    })
}

/// The contents of a file with these keys.
#[must_use]
pub fn contents(keys: &[String]) -> Vec<u8> {
    keys.iter().flat_map(|key| [key.as_bytes(), b"\n"]).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";
    const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBIifNfsGWrEL52AYMbh4h/FIrk/jsw3PKPHz4dZyT4FBvMao+B2cM88gAN7hRDlESTo/nUwUXdF0qVepWp4rLbc=";

    #[test]
    fn what_is_written_is_read() {
        let keys = [KEY.to_owned(), EC.to_owned()];
        assert_eq!(contents(&keys), format!("{KEY}\n{EC}\n").into_bytes());
        assert_eq!(read(&contents(&keys)).unwrap(), keys);
        assert_eq!(read(format!("# ours\n\n  {KEY} a comment of two\n\t{EC}\n").as_bytes()).unwrap(), keys);
        assert_eq!(read(b"").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_list_of_keys_is_told_by_its_line() {
        let cert = KEY.replace("ssh-ed25519 ", "ssh-ed25519-cert-v01@openssh.com ");
        for (text, line, kind) in [
            (KEY.to_owned(), 1, Kind::Unended),
            (format!("{EC}\n{KEY}"), 2, Kind::Unended),
            (format!("{KEY}\r\n"), 1, Kind::CarriageReturn),
            (format!("{KEY}\r\n<html>\r\n"), 2, Kind::Markup),
            (format!("\u{feff}{KEY}\n"), 1, Kind::ByteOrderMark),
            (format!("<!DOCTYPE html>\n{KEY}\n"), 1, Kind::Markup),
            (format!("{EC}\ncert-authority {KEY}\n"), 2, Kind::Options),
            (format!("cert-authority,principals=\"a b\" {KEY}\n"), 1, Kind::Options),
            (format!("@cert-authority * {KEY}\n"), 1, Kind::KnownHosts),
            (format!("*.lab.test {KEY}\n"), 1, Kind::Options),
            (format!("{cert}\n"), 1, Kind::Certificate),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n".to_owned(), 1, Kind::PrivateKey),
            (format!("{KEY}\ngarbage\n"), 2, Kind::NoKey),
            ("ssh-ed25519 AAAA\n".to_owned(), 1, Kind::NoKey),
            ("ssh-ed25519\n".to_owned(), 1, Kind::NoKey),
            (KEY.replace("ssh-ed25519 ", "ssh-rsa ") + "\n", 1, Kind::NoKey),
            (format!("{KEY}\u{0}\n"), 1, Kind::NotText),
            ("caf\u{e9}\n".to_owned(), 1, Kind::NoKey),
        ] {
            assert_eq!(read(text.as_bytes()), Err(Fault { line, kind }), "{text:?}");
        }
        let utf16: Vec<u8> = KEY.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&utf16), Err(Fault { line: 1, kind: Kind::NotText }));
        assert_eq!(read(b"\xff\xff\n"), Err(Fault { line: 1, kind: Kind::NotText }));
    }

    #[test]
    fn a_fault_says_what_is_wrong_and_in_which_line() {
        for (kind, is_harmless, words) in [
            (Kind::ByteOrderMark, false, "begins with a byte order mark"),
            (Kind::NotText, false, "is not text"),
            (Kind::Markup, false, "has HTML in line 7"),
            (Kind::KnownHosts, false, "has a line of known_hosts in line 7"),
            (Kind::Options, false, "has options before the key in line 7"),
            (Kind::Certificate, false, "has a certificate in line 7"),
            (Kind::PrivateKey, false, "has a private key in line 7"),
            (Kind::CarriageReturn, true, "has a carriage return at the end of line 7"),
            (Kind::Unended, true, "has no end of line after line 7"),
            (Kind::NoKey, false, "has no key in line 7"),
        ] {
            let said = Fault { line: 7, kind }.to_string();
            assert!(said.starts_with(words), "{kind:?}: {said}");
            assert_eq!(kind.is_harmless(), is_harmless, "{kind:?}");
        }
    }
}
