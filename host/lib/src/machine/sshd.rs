//! The sshd that runs with one configuration file: its binary, its listener, and what `sshd -t` and `sshd -T` say about
//! that configuration or another one. Nothing here changes or judges anything: `guard` does.

pub mod arguments;
mod asked;
pub mod effective;
pub mod host_key;
pub mod listener;
pub mod reading;
pub mod sockets;
pub mod tree;
pub mod unknown;
mod version;

use crate::{
    error::{Error, Result},
    machine::{
        exec::{self, Output, Program, TIMEOUT},
        files::Root,
        keys::without_private_key,
        path::AbsolutePath,
        scratch::{PrivsepDirectory, Scratch},
    },
    text,
};
use asked::everything;
pub use effective::{Effective, words as sshd_words};
pub use host_key::HostKey;
pub use listener::{Listener, is_running};
pub use reading::ConfigReading;
pub use sockets::Socket;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tree::{Overlay, StagedFiles, Tree};
pub use unknown::UnknownListener;
use version::LearntVersion;
pub use version::UNKNOWN as UNKNOWN_VERSION;

/// The path that every packaged OpenSSH has compiled in.
const DEFAULT_CONFIG: &str = "/etc/ssh/sshd_config";
/// What openSUSE's sshd reads if [`DEFAULT_CONFIG`] does not exist.
const VENDORS_CONFIG: &str = "/usr/etc/ssh/sshd_config";
/// The daemon's working directory (daemon(3) in OpenSSH's sshd.c). Every process that asks sshd about its configuration
/// uses it too, since relative paths in the configuration would name other files elsewhere.
pub const DIRECTORY: &str = "/";
const NO_KEYS: &str = "no hostkeys available";
const NO_PRIVSEP: &str = "Missing privilege separation directory: ";

/// The configuration file of an sshd whose arguments do not name one.
#[must_use]
pub fn default_config() -> &'static str {
    let is_vendors = !Path::new(DEFAULT_CONFIG).exists() && Path::new(VENDORS_CONFIG).is_file();
    if is_vendors { VENDORS_CONFIG } else { DEFAULT_CONFIG }
}

/// An sshd of this machine.
#[derive(Clone, Debug)]
pub struct Sshd {
    /// The program.
    pub binary: PathBuf,
    /// Its main configuration file.
    pub config: AbsolutePath,
    /// The arguments of its listener that shape its configuration; not those that only say how it runs (`-D`,
    /// `-f FILE`, …).
    pub arguments: Vec<String>,
    /// The process that accepts connections; none with socket activation or when sshd is stopped.
    pub listener: Option<Listener>,
    /// The program that the operator named, if one was.
    named: Option<PathBuf>,
    /// Facts that are found out when they are first needed; clones share them.
    learnt: Arc<SshdCache>,
}

#[derive(Debug, Default)]
struct SshdCache {
    version: OnceLock<LearntVersion>,
    /// The privilege separation directory that is missing, and that has to exist whenever sshd is run.
    privsep: OnceLock<PathBuf>,
}

/// What `sshd -t` says of a configuration that it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigTest {
    /// Its warnings, without paths and line numbers, sorted; the same one may occur twice.
    pub words: Vec<String>,
    /// Whether sshd has no host key that it can use, so that it would not start.
    pub without_keys: bool,
}

/// What sshd says of a configuration that it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The configuration that holds for no particular connection: no `Match` block applies.
    pub effective: Effective,
    /// Its warnings.
    pub tested: ConfigTest,
    pub reading: ConfigReading,
}

impl Sshd {
    /// Finds the sshd of a configuration file. The binary is `binary` if the operator named one, else the listener's
    /// own program, else the installed one. None: there is no sshd on this machine.
    ///
    /// # Errors
    /// When the binary named, or a configuration file other than the default, does not exist. Refused: another user
    /// could have changed the listener's own program.
    pub fn find(config: &AbsolutePath, binary: Option<&Path>) -> Result<Option<Self>> {
        Self::named(binary)?;
        let scan = listener::scan(config.as_path(), binary)?;
        let installed = || exec::find("sshd");
        let path = match (binary, scan.first().and_then(|listener| listener.binary.as_deref())) {
            (Some(named), _) => Some(named.to_owned()),
            (None, Some(running)) => Some(trusted(running)?),
            (None, None) => installed(),
        };
        let Some(path) = path else { return Ok(None) };
        if !config.as_path().is_file() {
            if config.as_str() == DEFAULT_CONFIG && scan.is_empty() {
                return Ok(None);
            }
            let found = if config.as_path().exists() { "this is no file" } else { "no such file" };
            return Err(Error::failed(format!("{config}: {found}"))
                .cause("this should be sshd's main configuration file")
                .next("name it with --sshd-config FILE"));
        }
        readable(config)?;
        let mut sshd = Self {
            binary: path,
            config: config.clone(),
            arguments: Vec::new(),
            listener: None,
            named: binary.map(Path::to_owned),
            learnt: Arc::default(),
        };
        sshd.listener = sshd.choose(scan);
        if let Some(listener) = &sshd.listener {
            sshd.arguments.clone_from(&listener.arguments);
        }
        Ok(Some(sshd))
    }

    /// The named or installed sshd, to ask about a configuration with which no sshd runs. None: no sshd is installed.
    ///
    /// # Errors
    /// Usage: the named program does not exist. Refused: another user could have changed the program.
    pub fn apart(config: &AbsolutePath, binary: Option<&Path>) -> Result<Option<Self>> {
        Self::named(binary)?;
        let Some(path) = binary.map(Path::to_owned).or_else(|| exec::find("sshd")) else { return Ok(None) };
        Ok(Some(Self {
            binary: trusted(&path)?,
            config: config.clone(),
            arguments: Vec::new(),
            listener: None,
            named: binary.map(Path::to_owned),
            learnt: Arc::default(),
        }))
    }

    /// Checks that the program that the operator named exists, and that no other user can have put it there.
    ///
    /// # Errors
    /// Usage: it does not exist. Refused: another user could have put it there.
    pub fn named(binary: Option<&Path>) -> Result<()> {
        let Some(binary) = binary else { return Ok(()) };
        if !binary.is_absolute() || !binary.is_file() {
            return Err(Error::usage(format!("{}: no such program", binary.display()))
                .next("name sshd's binary by its absolute path"));
        }
        trusted(binary).map(drop)
    }

    /// Looks for the listener again: after a restart it is another process.
    ///
    /// # Errors
    /// When the processes cannot be listed.
    pub fn listener_now(&self) -> Result<Option<Listener>> {
        Ok(self.choose(listener::scan(self.config.as_path(), self.named.as_deref())?))
    }

    /// The file in which the listener stores its process id, if it does so.
    #[must_use]
    pub fn pid_file(&self) -> Option<PathBuf> {
        self.for_nobody().ok()?.path("pidfile")
    }

    /// What sshd makes of a configuration file (`sshd -T`): for one `connection` (`user`, `host`, `addr`, …), or for no
    /// particular one if that is empty. This works without a usable host key, too.
    ///
    /// # Errors
    /// When sshd does not accept it; the error quotes sshd.
    pub fn effective(&self, config: &Path, connection: &[(String, String)]) -> Result<Effective> {
        let connection = match connection {
            [] => Tree::read(config, Overlay(&StagedFiles::new()))
                .map_or_else(|_| nobody(u16::MAX), |tree| nobody(tree.spare_port())),
            some => specification(some),
        };
        let (output, without_keys) = self.run("-T", config, &["-C".to_owned(), connection])?;
        if !output.succeeded() {
            return Err(not_accepted(config, &output.stderr, &output));
        }
        Ok(self.parsed(&output.stdout, without_keys))
    }

    /// The host keys of the main configuration file, and which of them sshd would offer if it started now.
    ///
    /// # Errors
    /// When sshd does not accept the configuration; the error quotes sshd.
    pub fn host_keys(&self) -> Result<Vec<HostKey>> {
        self.look().map(|(_, host_keys)| host_keys)
    }

    /// The results of [`Sshd::for_nobody`] and [`Sshd::host_keys`] from one run of sshd.
    ///
    /// # Errors
    /// When sshd does not accept the configuration; the error quotes sshd.
    pub fn look(&self) -> Result<(Effective, Vec<HostKey>)> {
        let config = self.config.as_path();
        let tree = Tree::read(config, Overlay(&StagedFiles::new()))?;
        // Only the debugging output says which keys were loaded.
        let (mut output, without_keys) = self.asked(&tree)?;
        if !output.succeeded() {
            return Err(not_accepted(config, &reading::without_debugging(&output.stderr), &output));
        }
        if without_keys {
            // The key that sshd loaded is our throw-away key, so none of the listed keys is loaded.
            output.stderr = output.stderr.replace("debug1: private host key #", "");
        }
        Ok((self.parsed(&output.stdout, without_keys), host_key::read(&output.stdout, &output.stderr)))
    }

    /// All that one run of sshd says about a configuration file and the files that it includes, for no particular
    /// connection. `tree` holds these files.
    ///
    /// # Errors
    /// When sshd does not accept it; the error quotes sshd.
    pub fn view(&self, config: &Path, tree: &Tree) -> Result<View> {
        let (output, without_keys) = if config == self.config.as_path() {
            self.asked(tree)?
        } else {
            self.run("-T", config, &everything(tree))?
        };
        let said = reading::without_debugging(&output.stderr);
        if !output.succeeded() {
            return Err(not_accepted(config, &said, &output));
        }
        Ok(View {
            effective: self.parsed(&output.stdout, without_keys),
            tested: ConfigTest { words: effective::words(&said), without_keys },
            reading: ConfigReading::parse(&output.stderr),
        })
    }

    /// What sshd reports that it reads of a configuration file, whether it accepts the file or not.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn reading(&self, config: &Path, tree: &Tree) -> Result<ConfigReading> {
        Ok(ConfigReading::parse(&self.run("-T", config, &everything(tree))?.0.stderr))
    }

    /// Whether sshd would start with its configuration (`sshd -t`), and its warnings.
    ///
    /// # Errors
    /// When it would not start; the error quotes sshd.
    pub fn test(&self) -> Result<ConfigTest> {
        let config = self.config.as_path();
        let (output, without_keys) = self.run("-t", config, &[])?;
        if !output.succeeded() {
            return Err(not_accepted(config, &output.stderr, &output));
        }
        Ok(ConfigTest { words: effective::words(&output.stderr), without_keys })
    }

    /// Makes sshd's privilege separation directory if it was found missing, and keeps it until the result is dropped.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn hold(&self) -> Result<Option<PrivsepDirectory>> {
        self.learnt.privsep.get().map_or(Ok(None), |missing| PrivsepDirectory::hold(missing))
    }

    /// Runs sshd on a configuration file. If it has no usable host key, it is run again with a throw-away key; the
    /// returned flag tells that.
    fn run(&self, mode: &str, config: &Path, extra: &[String]) -> Result<(Output, bool)> {
        let program = Program::new(&self.binary).directory(DIRECTORY).arg(mode).arg("-f").arg(config);
        let program = program.args(&self.arguments).args(extra);
        tree::refuse_endless(config)?;
        let held = self.hold()?;
        let tried = self.tried(&program)?;
        let missing = tried.0.stderr.lines().find_map(|line| line.trim_end().strip_prefix(NO_PRIVSEP));
        match missing {
            Some(directory) if held.is_none() && !tried.0.succeeded() => {
                self.learnt.privsep.set(directory.into()).ok();
                let _held = self.hold()?;
                self.tried(&program)
            }
            _ => Ok(tried),
        }
    }

    fn tried(&self, program: &Program) -> Result<(Output, bool)> {
        let output = program.run()?;
        if output.timed_out {
            let seconds = TIMEOUT.as_secs();
            return Err(Error::failed(format!("{} did not answer within {seconds} s", self.binary.display()))
                .next(format!("run `{} -T` and see what it waits for", self.binary.display())));
        }
        if output.succeeded() || !output.stderr.contains(NO_KEYS) {
            return Ok((output, false));
        }
        let scratch = Scratch::private()?;
        let key = scratch.write("key", &host_key::throw_away()?.1, 0o600)?;
        let mut output = program.clone().arg("-h").arg(&key).run()?;
        let is_ours = |line: &&str| line.split_once(' ').is_some_and(|(_, value)| Path::new(value.trim_end()) == key);
        output.stdout = output.stdout.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect();
        Ok((output, true))
    }

    fn parsed(&self, stdout: &str, without_keys: bool) -> Effective {
        let mut effective = Effective::parse(stdout);
        if without_keys {
            effective.forget_host_keys();
        }
        // To learn the version a program has to be run, so this is done only if the version matters.
        if effective.may_have_lists() && effective::major_minor(self.version()) >= Some((10, 3)) {
            effective.split_lists();
        }
        let is_old = || {
            effective::major_minor(self.version()).is_some_and(|version| version < effective::CERTIFICATES_HAVE_NAMES)
        };
        if effective.may_name_no_certificates() && is_old() {
            effective.name_certificates();
        }
        effective
    }

    /// Of the listeners with this configuration, the one whose pid is in the configured PidFile; otherwise the oldest.
    fn choose(&self, mut scan: Vec<Listener>) -> Option<Listener> {
        scan.retain(|listener| !listener.is_completed || self.is_where_configured(listener));
        if scan.len() > 1 {
            let named = self.pid_file().and_then(|path| std::fs::read_to_string(path).ok());
            let named: Option<i32> = named.and_then(|text| text.trim().parse().ok());
            if let Some(index) = scan.iter().position(|listener| Some(listener.pid) == named) {
                return Some(scan.swap_remove(index));
            }
        }
        scan.into_iter().next()
    }
}

/// Checks that this user may read sshd's configuration. If the file is missing, sshd itself reports that.
fn readable(config: &AbsolutePath) -> Result<()> {
    match std::fs::File::open(config.as_path()) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Error::usage(format!("{config} can be read only as root")).cause(error).next("run this as root"))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Checks a program that is about to be run as sshd: no other user could have put it there.
fn trusted(program: &Path) -> Result<PathBuf> {
    let named = program.display();
    // Anybody who could change the program may have done so already: `chown` or `chmod` would not repair that.
    let refused = |why: &dyn std::fmt::Display| {
        Error::refused(format!("{named} is not safe to run as sshd"))
            .cause(why)
            .next("name a program that root installed with --sshd FILE")
    };
    let root = Root::ambient().map_err(|error| refused(&error))?;
    root.program(program).map_err(|error| refused(&error))?;
    Ok(program.to_owned())
}

/// The `-C` argument for no particular connection. Without `-C` sshd refuses a configuration that has
/// `Match LocalPort`; with only a port, no criterion but `LocalPort` can match.
fn nobody(spare_port: u16) -> String {
    format!("lport={spare_port}")
}

fn specification(connection: &[(String, String)]) -> String {
    connection.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn not_accepted(config: &Path, said: &str, output: &Output) -> Error {
    let words = text::neutral_lines(without_private_key(said).trim());
    let words = if words.is_empty() { output.ending() } else { words };
    Error::refused(format!("sshd does not accept {}", config.display())).cause(words)
}

#[cfg(test)]
mod tests;
