//! The sources of a credential: files, the environment, systemd, a person at a terminal.

use super::{super::token::Token, unusable};
use crate::{
    ca::{
        CaError,
        step::{
            settings::{AskPassword, Identification, Settings},
            x509::X509,
        },
    },
    machine::{files::refuse_others, path::AbsolutePath},
    text::shell_word,
};
use std::{
    collections::VecDeque,
    env,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Wiped when dropped.
pub(super) type Secret = Zeroizing<Vec<u8>>;

/// Far larger than any such file.
const MAX_FILE: u64 = 256 * 1024;
const VARIABLE: &str = "WARDED_PROVISIONER_PASSWORD";
/// The name of the systemd credential (`LoadCredential=provisioner-password:…`, systemd.exec(5)).
const CREDENTIAL: &str = "provisioner-password";

/// The source of the credential that the operator named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// One-time tokens in a file.
    Tokens(PathBuf),
    /// An X.509 certificate with its key.
    X5c {
        /// The certificate and its intermediates.
        certificate: PathBuf,
        key: PathBuf,
    },
    /// A provisioner's key in a file.
    KeyFile(PathBuf),
    /// A provisioner's password in a file.
    PasswordFile(PathBuf),
    /// Nothing is named: the password comes from the environment, a systemd credential, or a person.
    Password,
}

impl Source {
    /// The source that takes precedence: what the command line names, then what is configured.
    #[must_use]
    pub fn of(settings: &Settings, identification: &Identification) -> Self {
        let path = |path: &AbsolutePath| path.as_path().to_owned();
        if let Some(file) = &identification.token_file {
            return Self::Tokens(file.clone());
        }
        if let (Some(certificate), Some(key)) = (&identification.x5c_cert, &identification.x5c_key) {
            return Self::X5c { certificate: certificate.clone(), key: key.clone() };
        }
        if let Some(file) = &identification.provisioner_key_file {
            return Self::KeyFile(file.clone());
        }
        if let Some(file) = &identification.provisioner_password_file {
            return Self::PasswordFile(file.clone());
        }
        if let (Some(certificate), Some(key)) = (&settings.x5c_certificate, &settings.x5c_key) {
            return Self::X5c { certificate: path(certificate), key: path(key) };
        }
        if let Some(file) = &settings.provisioner_key_file {
            return Self::KeyFile(path(file));
        }
        settings.provisioner_password_file.as_ref().map_or(Self::Password, |file| Self::PasswordFile(path(file)))
    }

    /// Checks that no other user could have written the files.
    ///
    /// # Errors
    /// Another user could have written one of them.
    pub(super) fn refuse_others(&self) -> Result<(), CaError> {
        let files = match self {
            Self::Tokens(file) | Self::KeyFile(file) | Self::PasswordFile(file) => vec![file],
            Self::X5c { certificate, key } => vec![certificate, key],
            Self::Password => Vec::new(),
        };
        files.into_iter().try_for_each(|file| {
            refuse_others(file).map_err(|error| {
                let mend = error.next.as_ref().map(|next| format!("{next}; or ")).unwrap_or_default();
                unusable(
                    format!("{} could have been written by another user: {error}", file.display()),
                    format!("{mend}hand the contents over on standard input (-)"),
                )
            })
        })
    }
}

/// The contents of a file with a secret, which no other user can read or could have written. `-` is standard input.
///
/// # Errors
/// Another user can read it or could have written it, or it cannot be read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CaError> {
    Source::PasswordFile(path.to_owned()).refuse_others()?;
    read_private(path)
}

/// The contents of a file that no other user could have written. `-` is standard input.
///
/// # Errors
/// Another user could have written it, or it cannot be read.
pub fn read_trusted(path: &Path) -> Result<Zeroizing<Vec<u8>>, CaError> {
    Source::Tokens(path.to_owned()).refuse_others()?;
    read(path)
}

/// The contents of a file with a password or a private key. Fails if other users can read it: then it is no longer
/// secret.
pub(super) fn read_private(path: &Path) -> Result<Secret, CaError> {
    let others = |path: &Path| path.metadata().is_ok_and(|found| found.is_file() && found.mode() & 0o007 != 0);
    if others(path) {
        return Err(unusable(
            format!("other users of this machine can read or change {}", path.display()),
            format!(
                "chmod 600 {}; if another user may have read it already, replace what is in it",
                shell_word(&path.to_string_lossy())
            ),
        ));
    }
    read(path)
}

/// The contents of a file.
pub(super) fn read(path: &Path) -> Result<Secret, CaError> {
    let read = || -> io::Result<Secret> {
        let mut contents = Zeroizing::new(Vec::new());
        if path == Path::new("-") {
            contents.reserve_exact(64 * 1024);
            io::stdin().lock().take(MAX_FILE).read_to_end(&mut contents)?;
            return Ok(contents);
        }
        let file = File::open(path)?;
        // Allocated at full size: growing would leave copies in freed memory. The length of a pipe is not known.
        contents.reserve_exact(
            usize::try_from(file.metadata()?.len().min(MAX_FILE)).unwrap_or_default().max(64 * 1024) + 1,
        );
        file.take(MAX_FILE).read_to_end(&mut contents)?;
        Ok(contents)
    };
    read().map_err(|error| unusable(format!("cannot read {}: {error}", path.display()), "name a file that can be read"))
}

pub(super) fn password_file(path: &Path) -> Result<Secret, CaError> {
    let password = trimmed(read_private(path)?);
    if password.is_empty() {
        return Err(unusable(format!("{} is empty", path.display()), "put the provisioner's password into it"));
    }
    Ok(password)
}

/// Whether a credential is named, configured, or in the environment, so that no person has to be asked.
pub(in crate::ca::step) fn is_given(settings: &Settings, identification: &Identification) -> bool {
    let has_variable = || env::var_os(VARIABLE).is_some_and(|password| !password.is_empty());
    let has_file =
        || env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|one| PathBuf::from(one).join(CREDENTIAL).exists());
    Source::of(settings, identification) != Source::Password || has_variable() || has_file()
}

/// The password, from the environment, from systemd, or from a person.
pub(super) fn password(provisioner: &str, ask: Option<AskPassword>) -> Result<Secret, CaError> {
    if let Some(password) = env::var_os(VARIABLE).filter(|password| !password.is_empty()) {
        let password = trimmed(Zeroizing::new(password.into_encoded_bytes()));
        if password.is_empty() {
            return Err(unusable(
                format!("{VARIABLE} has nothing but blanks"),
                "put the provisioner's password into it",
            ));
        }
        return Ok(password);
    }
    if let Some(directory) = env::var_os("CREDENTIALS_DIRECTORY") {
        let file = PathBuf::from(directory).join(CREDENTIAL);
        if file.exists() {
            return password_file(&file);
        }
    }
    let name = crate::text::neutral(provisioner);
    let Some(ask) = ask else {
        return Err(unusable(
            format!("the password of the provisioner {name} is needed, and there is no terminal to ask for it"),
            "give one of these: --token-file, --provisioner-password-file, --provisioner-key-file, --x5c-cert, \
             or the systemd credential provisioner-password; an expired certificate is renewed without them if the \
             CA's SSHPOP provisioner has the claim \"allowRenewalAfterExpiry\": true",
        ));
    };
    let mut typed = ask(provisioner)
        .map_err(|error| unusable(format!("no password was read from the terminal: {error}"), "try again"))?;
    if typed.is_empty() {
        return Err(unusable("no password was given", "try again"));
    }
    Ok(Zeroizing::new(std::mem::take(&mut *typed).into_bytes()))
}

/// The tokens in a file, one per line.
pub(super) fn tokens(path: &Path) -> Result<VecDeque<Token>, CaError> {
    let contents = read(path)?;
    let text = std::str::from_utf8(&contents).map_err(|_| {
        unusable(format!("{} is not text in UTF-8", path.display()), "write the tokens into it as they were printed")
    })?;
    let tokens: VecDeque<Token> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Token::given).collect();
    if tokens.is_empty() {
        let next = "on the admin's machine: warded token NAME > FILE, with --host, or for a person --user";
        return Err(unusable(format!("there is no token in {}", path.display()), next));
    }
    Ok(tokens)
}

/// The certificates in a file, in DER, beginning with the machine's own.
pub(super) fn chain(path: &Path) -> Result<Vec<Vec<u8>>, CaError> {
    let wrong = |why: String| unusable(format!("{}: {why}", path.display()), "name an X.509 certificate in PEM");
    let chain = X509::parse_all(&read(path)?).map_err(wrong)?;
    if let Some(leaf) = chain.first() {
        let now = crate::ca::now();
        let fault = leaf.out_of_time(now).filter(|_| now > leaf.until || now + 60 < leaf.from);
        if let Some(fault) = fault {
            let next =
                if now > leaf.until { "renew it first" } else { "compare this machine's clock with another one" };
            return Err(unusable(format!("the X.509 certificate {} {fault}", path.display()), next));
        }
    }
    Ok(chain.into_iter().map(|certificate| certificate.der).collect())
}

/// Removes what editors, `echo` and Kubernetes add to a secret: a byte order mark before it, blanks and newlines after
/// it. `step` does the same (`utils/read.go`), and the password was set with it.
fn trimmed(secret: Secret) -> Secret {
    let bare = without_mark(&secret);
    let bare = std::str::from_utf8(bare).map_or_else(|_| bare.trim_ascii_end(), |text| text.trim_end().as_bytes());
    if bare.len() == secret.len() { secret } else { Zeroizing::new(bare.to_vec()) }
}

/// The contents of a file without UTF-8's byte order mark.
pub(super) fn without_mark(contents: &[u8]) -> &[u8] {
    contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents)
}

/// Describes what a file or the environment can add to a password, and a person would not type.
pub(super) fn oddity(password: &[u8]) -> Option<&'static str> {
    if password.starts_with(&[0xff, 0xfe]) || password.starts_with(&[0xfe, 0xff]) || password.contains(&0) {
        return Some("it is written in UTF-16, as PowerShell's `>` does");
    }
    password.iter().any(u8::is_ascii_control).then_some("it contains a control character, such as a newline")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn settings(extra: &str) -> Settings {
        let fingerprint = "00".repeat(32);
        toml::from_str(&format!("url = 'ca'\nroot = '/r'\nfingerprint = '{fingerprint}'\n{extra}")).unwrap()
    }

    #[test]
    fn the_command_line_goes_before_the_configuration() {
        let file = |name: &str| Some(PathBuf::from(name));
        let named = |change: fn(&mut Identification)| {
            let mut identification = Identification::default();
            change(&mut identification);
            identification
        };
        let configured = "provisioner-password-file = '/p'\nprovisioner-key-file = '/k'";
        for (identification, extra, expected) in [
            (named(|_| ()), "", Source::Password),
            (named(|_| ()), "provisioner-password-file = '/p'", Source::PasswordFile("/p".into())),
            (named(|_| ()), configured, Source::KeyFile("/k".into())),
            (
                named(|who| who.provisioner_password_file = Some("q".into())),
                configured,
                Source::PasswordFile("q".into()),
            ),
            (named(|who| who.token_file = Some("t".into())), configured, Source::Tokens("t".into())),
            (
                Identification { x5c_cert: file("c"), x5c_key: file("d"), ..Identification::default() },
                configured,
                Source::X5c { certificate: "c".into(), key: "d".into() },
            ),
        ] {
            assert_eq!(Source::of(&settings(extra), &identification), expected, "{identification:?} {extra}");
        }
    }

    fn private(file: &Path, contents: &str) {
        fs::write(file, contents).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    #[test]
    fn what_others_can_read_is_no_password() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("password");
        private(&file, "secret");
        for (mode, good) in
            [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o602, false), (0o604, false)]
        {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let read = password_file(&file);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            assert!(read.map_or_else(|error| !error.to_string().contains("secret"), |_| true), "{mode:o}");
        }
    }

    #[test]
    fn blanks_around_it_are_no_part_of_a_password() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("password");
        for (contents, password) in [
            ("p w", "p w"),
            ("pw\n", "pw"),
            ("pw\r\n", "pw"),
            ("pw\n\n", "pw"),
            ("pw \n", "pw"),
            (" pw", " pw"),
            ("\u{feff}pw\r\n", "pw"),
            ("pä\u{a0}\n", "pä"),
        ] {
            private(&file, contents);
            assert_eq!(**password_file(&file).unwrap(), *password.as_bytes(), "{contents:?}");
        }
        private(&file, "\n");
        assert!(password_file(&file).unwrap_err().to_string().contains("empty"));
        private(&file, "\u{feff}\r\n");
        assert!(password_file(&file).unwrap_err().to_string().contains("empty"));
        assert!(password_file(&scratch.path().join("gone")).unwrap_err().to_string().contains("No such file"));
    }

    #[test]
    fn what_nobody_types_is_named() {
        for (password, expected) in [
            (&b"\xff\xfep\0w\0"[..], Some("UTF-16")),
            (b"p\0w\0", Some("UTF-16")),
            (b"pw\nother line", Some("control character")),
            (b"p w", None),
        ] {
            assert_eq!(oddity(password).is_some(), expected.is_some(), "{password:?}");
            assert!(oddity(password).unwrap_or_default().contains(expected.unwrap_or_default()));
        }
    }

    #[test]
    fn tokens_stand_one_a_line() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("tokens");
        fs::write(&file, "a.b.c\n\n  d.e.f \n").unwrap();
        let found: Vec<String> = tokens(&file).unwrap().iter().map(|token| token.as_str().to_owned()).collect();
        assert_eq!(found, ["a.b.c", "d.e.f"]);
        fs::write(&file, "\u{feff}a.b.c\r\nd.e.f\r\n").unwrap();
        let found: Vec<String> = tokens(&file).unwrap().iter().map(|token| token.as_str().to_owned()).collect();
        assert_eq!(found, ["a.b.c", "d.e.f"], "as an editor of another system saves it");
        fs::write(&file, "\n").unwrap();
        let error = tokens(&file).unwrap_err();
        assert!(error.to_string().contains("no token"));
        assert!(
            matches!(&error, CaError::Credential { next, .. } if next.contains("--host") && next.contains("--user"))
        );
    }
}
