//! Host keys: which of them sshd uses, their public halves, and throw-away keys for proofs.

mod reason;

pub use reason::{IgnoredReason, LEAST_RSA_BITS, UncertifiedReason};

use crate::{
    error::{Error, Result},
    machine::{
        bounded,
        keys::{self, public::RawPublicKey},
        path::AbsolutePath,
        sshd::{
            effective::{self, CERTIFICATES_HAVE_NAMES},
            tree::Tree,
        },
    },
};
use ssh_key::{Algorithm, LineEnding, PrivateKey, PublicKey, rand_core::OsRng};
use std::path::{Component, Path, PathBuf};
use zeroize::Zeroizing;

/// The host keys that sshd looks for if no `HostKey` line names one (OpenSSH: pathnames.h, servconf.c).
pub const DEFAULT_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key"];

/// Before this release sshd looked for a certificate's key only among the private keys that it had loaded. So it
/// refused a certificate whose key is in an agent (`main` in its sshd.c: "No matching private key for certificate").
const AGENTS_KEYS_HAVE_CERTIFICATES: (u32, u32) = (9, 2);

/// A host key that sshd's configuration names, or that is one of sshd's default host keys and exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// The path as sshd names it: of the private key, or of the public key if an agent has the private one.
    pub path: PathBuf,
    /// None: the public half can be read neither from the file nor from the `.pub` beside it.
    pub public: Option<RawPublicKey>,
    /// Whether sshd offers it.
    pub standing: Standing,
    /// The major and minor number of this sshd's release, if it is known.
    pub release: Option<(u32, u32)>,
}

/// What sshd does with a host key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// sshd has loaded the private key, and offers the key.
    Loaded,
    /// sshd offers the key, and lets the agent of `HostKeyAgent` sign.
    InAgent {
        /// The agent's socket.
        socket: PathBuf,
    },
    /// sshd does not offer it.
    Ignored(IgnoredReason),
}

impl HostKey {
    /// The public key for which a certificate can be requested.
    ///
    /// # Errors
    /// Why no certificate can be requested.
    pub fn certifiable(&self) -> Result<PublicKey, UncertifiedReason> {
        if let Standing::Ignored(ignored) = &self.standing {
            return Err(UncertifiedReason::Ignored(ignored.clone()));
        }
        AbsolutePath::spelled(&self.private_path()).map_err(UncertifiedReason::Path)?;
        let Some(public) = &self.public else { return Err(UncertifiedReason::NoPublicHalf) };
        let unknown = || UncertifiedReason::UnknownType(public.algorithm().to_owned());
        let key = public.key().ok_or_else(unknown)?;
        let is_before = |first: (u32, u32)| self.release.is_some_and(|release| release < first);
        if key.algorithm().is_rsa() && is_before(CERTIFICATES_HAVE_NAMES) {
            return Err(UncertifiedReason::SignsBySha1);
        }
        if matches!(self.standing, Standing::InAgent { .. }) && is_before(AGENTS_KEYS_HAVE_CERTIFICATES) {
            return Err(UncertifiedReason::InAgent);
        }
        match keys::public::rsa_bits(&key) {
            Some(bits) if bits < LEAST_RSA_BITS => Err(UncertifiedReason::ShortRsa { bits }),
            Some(_) | None => Ok(key),
        }
    }

    /// The path of the private key, or where it would be if only an agent has it: `KEY` for `KEY.pub`. The certificate
    /// lies beside it.
    #[must_use]
    pub fn private_path(&self) -> PathBuf {
        let path = without_parents(&self.path);
        match &self.standing {
            Standing::InAgent { .. } | Standing::Ignored(IgnoredReason::PublicOnly | IgnoredReason::UnknownAgent)
                if path.extension().is_some_and(|end| end == "pub") =>
            {
                path.with_extension("")
            }
            Standing::InAgent { .. } | Standing::Loaded | Standing::Ignored(_) => path,
        }
    }
}

/// The same path with `..` resolved, if the directory exists.
fn without_parents(path: &Path) -> PathBuf {
    let has_parents = path.components().any(|part| part == Component::ParentDir);
    let directory = path.parent().filter(|_| has_parents).and_then(|directory| directory.canonicalize().ok());
    directory.zip(path.file_name()).map_or_else(|| path.to_owned(), |(directory, name)| directory.join(name))
}

/// The host keys in the output of `sshd -T -d`: all that the configuration names, and those default ones that exist.
/// Several lines for one key give one host key.
#[must_use]
pub fn read(stdout: &str, stderr: &str) -> Vec<HostKey> {
    let said = HostKeyReport::read(stdout, stderr);
    let line = stderr.lines().find(|line| line.starts_with("debug1: sshd version ")).unwrap_or_default();
    let release = effective::version(line).and_then(|version| effective::major_minor(&version));
    let mut found: Vec<HostKey> = Vec::new();
    for (index, path) in said.paths.iter().enumerate() {
        let path = PathBuf::from(path);
        let standing = said.standing(index, &path);
        if standing == Standing::Ignored(IgnoredReason::Missing) && said.is_default(&path) {
            continue;
        }
        let public = blob(&path);
        let is_known = |one: &HostKey| one.path == path || (public.is_some() && one.public == public);
        if found.iter().any(is_known) {
            continue;
        }
        found.push(HostKey { path, public, standing, release });
    }
    mark_second_keys(&mut found);
    found
}

/// The host keys that the lines of a configuration name, or sshd's default ones, as far as they exist. Used for a
/// configuration that sshd does not accept: then sshd cannot say which keys it would offer.
#[must_use]
pub fn on_disk(tree: &Tree) -> Vec<HostKey> {
    let lines = named(tree, "hostkey");
    let paths = if lines.is_empty() { DEFAULT_KEYS.map(str::to_owned).to_vec() } else { lines };
    let mut found: Vec<HostKey> = Vec::new();
    for path in paths.into_iter().map(PathBuf::from).filter(|path| path.exists()) {
        if found.iter().all(|known| known.path != path) {
            found.push(HostKey { public: blob(&path), path, standing: Standing::Loaded, release: None });
        }
    }
    found
}

/// The first argument of each line with this keyword.
#[must_use]
pub fn named(tree: &Tree, keyword: &str) -> Vec<String> {
    let lines = tree.directives().filter(|(_, _, directive)| directive.keyword == keyword);
    lines.filter_map(|(_, _, directive)| Some(directive.arguments.into_iter().next()?.text)).collect()
}

/// Marks keys that sshd does not offer because an earlier key has the same type.
fn mark_second_keys(keys: &mut [HostKey]) {
    let mut first: Vec<(String, PathBuf)> = Vec::new();
    for key in keys.iter_mut().filter(|key| !matches!(key.standing, Standing::Ignored(_))) {
        let Some(public) = &key.public else { continue };
        match first.iter().find(|(algorithm, _)| algorithm == public.algorithm()) {
            Some((_, path)) => key.standing = Standing::Ignored(IgnoredReason::SecondOfItsType(path.clone())),
            None => first.push((public.algorithm().to_owned(), key.path.clone())),
        }
    }
}

/// What `sshd -T -d` printed about host keys.
struct HostKeyReport<'a> {
    /// The paths, in sshd's order.
    paths: Vec<&'a str>,
    /// The keys that sshd uses, by their index in `paths`, and who holds the private half.
    used: Vec<(usize, Holder)>,
    agent: Option<PathBuf>,
    /// Whether an agent is configured, even if its socket is named only by sshd's environment.
    has_agent: bool,
    required_rsa_bits: usize,
    lines: Vec<&'a str>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    Sshd,
    Agent,
}

impl<'a> HostKeyReport<'a> {
    fn read(stdout: &'a str, stderr: &'a str) -> Self {
        let value = |wanted: &str| {
            let pairs = stdout.lines().filter_map(|line| line.trim_end().split_once(' '));
            // OpenSSH 10.6 prints `HostKey`, releases before it `hostkey`.
            pairs
                .filter(move |(keyword, _)| keyword.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value)
                .collect::<Vec<_>>()
        };
        let lines: Vec<&str> = stderr.lines().map(str::trim_end).collect();
        Self {
            paths: value("hostkey"),
            used: lines.iter().filter_map(|line| used(line)).collect(),
            agent: value("hostkeyagent").first().filter(|path| path.starts_with('/')).map(PathBuf::from),
            has_agent: value("hostkeyagent").first().is_some_and(|agent| *agent != "none"),
            required_rsa_bits: value("requiredrsasize").first().and_then(|bits| bits.parse().ok()).unwrap_or(1024),
            lines,
        }
    }

    fn standing(&self, index: usize, path: &Path) -> Standing {
        match (self.used.iter().find(|(number, _)| *number == index), &self.agent) {
            (Some((_, Holder::Sshd)), _) => Standing::Loaded,
            (Some((_, Holder::Agent)), Some(socket)) => Standing::InAgent { socket: socket.clone() },
            (Some((_, Holder::Agent)), None) => Standing::Ignored(IgnoredReason::UnknownAgent),
            (None, _) => {
                let words = self.words(path);
                Standing::Ignored(reason::find(path, self.required_rsa_bits, self.has_agent, &words))
            }
        }
    }

    /// sshd reports a missing default host key only on its debugging level.
    fn is_default(&self, path: &Path) -> bool {
        let line = format!("debug1: Unable to load host key: {}", path.display());
        self.lines.iter().any(|one| *one == line)
    }

    /// What sshd says about a host key that it does not use.
    fn words(&self, path: &Path) -> String {
        let quoted = format!("Unable to load host key \"{}\": ", path.display());
        let refused = format!("Host key {}: ", path.display());
        let words = self.lines.iter().find_map(|line| {
            let at = line.find(&refused).map(|at| at + refused.len());
            line.strip_prefix(&quoted).or_else(|| line.get(at?..))
        });
        words.unwrap_or_default().to_owned()
    }
}

/// `debug1: private host key #0: ssh-ed25519 SHA256:…`: sshd uses the key with that number.
fn used(line: &str) -> Option<(usize, Holder)> {
    let line = line.strip_prefix("debug1: ")?;
    let (holder, rest) = match line.strip_prefix("private host key #") {
        Some(rest) => (Holder::Sshd, rest),
        None => (Holder::Agent, line.strip_prefix("agent host key #")?),
    };
    Some((rest.split_once(':')?.0.parse().ok()?, holder))
}

/// The public half of a host key, whatever its type: from the private key's file, else from a public key in that
/// file or in the `.pub` beside it.
fn blob(path: &Path) -> Option<RawPublicKey> {
    let private = bounded::has_end(path).and_then(|()| keys::read(path)).ok();
    let private = private.and_then(|bytes| keys::blob_of(&bytes).ok());
    private.or_else(|| line(path)).or_else(|| line(&beside(path)))
}

/// The public key in a file that holds nothing else.
fn line(path: &Path) -> Option<RawPublicKey> {
    RawPublicKey::from_line(std::str::from_utf8(&bounded::read(path).ok()?).ok()?).ok()
}

fn beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    beside.into()
}

/// The public key of a host key file: from the private key itself, else from the `.pub` beside it
/// (old PEM files, keys that we may not read, keys kept in an agent). None if neither can be read.
#[must_use]
pub fn public(path: &Path) -> Option<PublicKey> {
    let private = bounded::read(path).map(Zeroizing::new).ok();
    public_of(private.as_deref().map(Vec::as_slice), path)
}

/// The same from the bytes of a private key that is not in place yet.
#[must_use]
pub fn public_of(private: Option<&[u8]>, path: &Path) -> Option<PublicKey> {
    let parsed = private.and_then(|bytes| {
        let own = keys::public_of(bytes, None).ok();
        own.or_else(|| PublicKey::from_openssh(std::str::from_utf8(bytes).ok()?.trim()).ok())
    });
    parsed
        .or_else(|| PublicKey::from_openssh(std::str::from_utf8(&bounded::read(&beside(path)).ok()?).ok()?.trim()).ok())
}

/// A new Ed25519 key, and the text of its private half.
///
/// # Errors
/// When the system has no randomness, which does not happen.
pub fn throw_away() -> Result<(PrivateKey, Zeroizing<Vec<u8>>)> {
    let wrong = |error: ssh_key::Error| Error::failed("cannot make a throw-away key").cause(error);
    let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(wrong)?;
    let text = key.to_openssh(LineEnding::LF).map_err(wrong)?;
    Ok((key, Zeroizing::new(text.as_bytes().to_vec())))
}

#[cfg(test)]
mod tests;
