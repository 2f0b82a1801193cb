//! Why sshd does not offer a host key, or why there is no certificate for it, and what to do about it.

use crate::{
    machine::keys,
    text::{neutral, shell_word},
};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The shortest RSA key that is certified: step-ca takes no shorter one, and OpenSSH itself makes none.
pub const LEAST_RSA_BITS: usize = 2048;

/// Why sshd does not offer a host key that its configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IgnoredReason {
    /// There is no such file.
    Missing,
    /// There is no such file, though its `.pub` exists, and sshd has no agent.
    NoPrivateKey,
    /// It is a directory, a device or a pipe.
    NotAFile,
    /// This user may not read it.
    Unreadable(String),
    /// The file is empty.
    Empty,
    /// Group or others have permissions on the file; sshd then refuses it.
    Mode(u32),
    /// The private key has a passphrase.
    Passphrase,
    /// The file holds only a public key, and no agent of sshd has the private one.
    PublicOnly,
    /// The agent cannot be asked: `HostKeyAgent` names it by a variable of sshd's environment.
    UnknownAgent,
    /// The RSA key is shorter than `RequiredRSASize` allows.
    ShortRsa {
        /// Its size.
        bits: usize,
        /// The least that sshd takes.
        required: usize,
    },
    /// No key can be read from the file.
    Damaged(String),
    /// sshd offers an earlier key of the same type.
    SecondOfItsType(PathBuf),
    /// What sshd says, which may be empty: the file itself shows no cause.
    Unexplained(String),
}

/// Why no certificate is requested for a host key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UncertifiedReason {
    /// sshd does not offer it.
    Ignored(IgnoredReason),
    /// sshd offers it, but CAs do not certify its type.
    UnknownType(String),
    /// sshd offers it, but CAs do not certify RSA keys of less than [`LEAST_RSA_BITS`].
    ShortRsa {
        /// Its size.
        bits: usize,
    },
    /// sshd offers it, but would sign for its certificate with SHA-1, which OpenSSH clients refuse since 8.8.
    SignsBySha1,
    /// sshd offers it through an agent, and this release serves no certificate for such a key.
    InAgent,
    /// sshd offers it, but its public half cannot be read from its files.
    NoPublicHalf,
    /// sshd offers it, but Warded does not accept its path.
    Path(String),
}

impl UncertifiedReason {
    /// The reason, as the end of a sentence about the key.
    #[must_use]
    pub fn because(&self) -> String {
        match self {
            Self::Ignored(ignored) => format!("sshd does not offer it: {}", ignored.because()),
            Self::UnknownType(name) => {
                format!("keys of the type {} are not certified; sshd goes on offering it", neutral(name))
            }
            Self::ShortRsa { bits } => format!(
                "it is an RSA key of {bits} bits, and none of less than {LEAST_RSA_BITS} is certified; \
                 sshd goes on offering it"
            ),
            Self::SignsBySha1 => "this release of sshd would sign for its certificate with SHA-1, which clients from \
                                  OpenSSH 8.8 on refuse; sshd goes on offering the key"
                .to_owned(),
            Self::InAgent => {
                "an agent has its private key, and OpenSSH before 9.2 serves no certificate for such a key; \
                              sshd goes on offering it"
                    .to_owned()
            }
            Self::Path(why) => format!("Warded does not use its path: {why}"),
            Self::NoPublicHalf => "its public key cannot be read from it, nor from the .pub beside it".to_owned(),
        }
    }

    /// What an operator can do about it; none if nothing needs to be done.
    #[must_use]
    pub fn next(&self, path: &Path) -> Option<String> {
        let named = shell_word(&path.to_string_lossy());
        match self {
            Self::Ignored(ignored) => ignored.next(path),
            Self::UnknownType(_) | Self::SignsBySha1 | Self::InAgent => None,
            Self::ShortRsa { .. } => Some(format!(
                "when no client needs it any more: ssh-keygen -t rsa -b 3072 -f {named} makes a longer one in its place"
            )),
            Self::Path(_) => Some("move the key, and name it by a plain absolute path in its HostKey line".to_owned()),
            Self::NoPublicHalf => Some(format!("ssh-keygen -y -f {named} > {named}.pub")),
        }
    }
}

impl IgnoredReason {
    /// The reason, as a part of a sentence.
    #[must_use]
    pub fn because(&self) -> String {
        match self {
            Self::Missing => "there is no such file".to_owned(),
            Self::NoPrivateKey => {
                "the private key's file is not there, though its .pub is, and sshd has no agent".to_owned()
            }
            Self::NotAFile => "it is not a regular file".to_owned(),
            Self::Unreadable(why) => format!("it cannot be read ({why})"),
            Self::Empty => "the file is empty".to_owned(),
            Self::Mode(mode) => format!("its mode is {mode:04o}, and sshd takes no key that group or others can use"),
            Self::Passphrase => "it has a passphrase, which nobody gives to sshd".to_owned(),
            Self::PublicOnly => "the file has the public key only, and no agent has the private one".to_owned(),
            Self::UnknownAgent => {
                "HostKeyAgent names its agent with a variable of sshd's environment, which Warded cannot see".to_owned()
            }
            Self::ShortRsa { bits, required } => {
                format!("it is an RSA key of {bits} bits, and sshd takes none of less than {required}")
            }
            Self::Damaged(why) => format!("no key can be read from it ({})", neutral(why)),
            Self::SecondOfItsType(first) => {
                format!("it offers one key of each type, and {} comes first", neutral(&first.to_string_lossy()))
            }
            Self::Unexplained(words) if words.is_empty() => "sshd does not say why".to_owned(),
            Self::Unexplained(words) => format!("sshd says: {}", neutral(words)),
        }
    }

    fn next(&self, path: &Path) -> Option<String> {
        let named = shell_word(&path.to_string_lossy());
        let next = match self {
            Self::Missing => "restore it, or remove its HostKey line".to_owned(),
            Self::NoPrivateKey => {
                format!("restore it from a backup, or remove {named}.pub and the HostKey line that names the key")
            }
            Self::NotAFile => "correct its HostKey line".to_owned(),
            Self::Unreadable(_) => "run this as root".to_owned(),
            Self::Empty | Self::Damaged(_) => {
                format!("restore it from a backup, or remove {named} and make another key with ssh-keygen")
            }
            Self::Mode(_) => format!("chmod 600 {named}"),
            Self::Passphrase => {
                format!("take the passphrase off: ssh-keygen -p -f {named}; or remove its HostKey line")
            }
            Self::PublicOnly => {
                "name the agent that has it with HostKeyAgent, and start that agent before sshd".to_owned()
            }
            Self::UnknownAgent => "name the agent's socket by its path in HostKeyAgent".to_owned(),
            Self::ShortRsa { .. } => {
                format!("make a longer one in its place: ssh-keygen -t rsa -b 3072 -f {named}")
            }
            // This is how OpenSSH lets clients learn the next key.
            Self::SecondOfItsType(_) => return None,
            Self::Unexplained(_) => format!("see what the file is: ssh-keygen -y -f {named}"),
        };
        Some(next)
    }
}

/// Why sshd did not load the key in a file. `has_agent`: `HostKeyAgent` is set; `words`: what sshd says about the key.
pub(super) fn find(path: &Path, required: usize, has_agent: bool, words: &str) -> IgnoredReason {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound && super::beside(path).exists() => {
            return if has_agent { IgnoredReason::PublicOnly } else { IgnoredReason::NoPrivateKey };
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return IgnoredReason::Missing,
        Err(error) => return IgnoredReason::Unreadable(error.to_string()),
    };
    if !found.is_file() {
        return IgnoredReason::NotAFile;
    }
    if found.len() == 0 {
        return IgnoredReason::Empty;
    }
    let contents = match keys::read(path) {
        Ok(contents) => contents,
        Err(error) => return IgnoredReason::Unreadable(error.to_string()),
    };
    let public = keys::blob_of(&contents);
    // The file holds a public key. If nothing can be read from the file, the `.pub` beside it says nothing about it.
    if public.is_err() && super::line(path).is_some() && !keys::holds_private_key(&contents) {
        return IgnoredReason::PublicOnly;
    }
    let mode = found.permissions().mode() & 0o7777;
    // sshd checks the mode only of files that belong to its own user (sshkey_perm_ok in authfile.c).
    if mode & 0o077 != 0 && found.uid() == rustix::process::geteuid().as_raw() {
        return IgnoredReason::Mode(mode);
    }
    if keys::has_passphrase(&contents) {
        return IgnoredReason::Passphrase;
    }
    match public {
        Err(error) => IgnoredReason::Damaged(error.to_string()),
        Ok(public) => match public.key().as_ref().and_then(keys::public::rsa_bits) {
            Some(bits) if bits < required => IgnoredReason::ShortRsa { bits, required },
            Some(_) | None => IgnoredReason::Unexplained(words.to_owned()),
        },
    }
}
