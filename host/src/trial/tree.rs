//! The machine of a scenario: a directory that stands for `/`, and a CA beside it.
#![expect(clippy::disallowed_methods, reason = "a machine of its own, in a private directory")]

use super::{
    authority::UnwillingAuthority,
    programs::ScriptedPrograms,
    scenario::{Ca, Machine, Scheduler, Sshd},
};
use crate::{
    broker::answers::SshdAnswers,
    context::{Context, HangHandler, Options, Scheduling},
};
use rustix::fs::FileType;
use ssh_key::PublicKey;
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
    rc::Rc,
    sync::Arc,
};
use warded_lib::{
    ca::{CertificateAuthority as _, IssueRequest, Kind, Principals, configured::Authority, local::LocalAuthority},
    error::{Error, Result},
    guard::client::known_hosts::line_of,
    machine::{
        facts::{Facts, Init},
        files::Root,
        keys::{self, public::RawPublicKey},
        path::AbsolutePath,
        scratch::Scratch,
        sshd::{Effective, HostKey, effective::major_minor, host_key::Standing},
    },
    policy::pattern::Places,
};

/// The entries of a tree, by path: the mode, and the contents or the link's target.
pub(super) type Contents = BTreeMap<String, (u32, Vec<u8>)>;

/// A machine, and Warded's own files beside it. Everything is removed when this is dropped.
pub(super) struct Tree {
    scratch: Scratch,
    pub(super) context: Context,
    /// Stands in for the programs of the policy's actions.
    pub(super) programs: Arc<ScriptedPrograms>,
    /// The CA's keys, which are made anew for each trial, and the words that stand for them in a scenario.
    authority_keys: Vec<(String, &'static str)>,
}

impl Tree {
    pub(super) fn make(machine: &Machine, on_hang: HangHandler) -> Result<Self> {
        refuse_below_links(machine)?;
        let scratch = Scratch::private()?;
        let root = scratch.path().join("root");
        let cannot = |error: io::Error| Error::failed("cannot make the machine of a scenario").cause(error);
        for part in ["root", "root/etc", "root/tmp", "policies"] {
            directory(&scratch.path().join(part)).map_err(cannot)?;
        }
        fs::write(scratch.path().join("config.toml"), "").map_err(cannot)?;
        let inside = |path: &AbsolutePath| root.join(path.as_str().trim_start_matches('/'));
        for path in &machine.directories {
            directory(&inside(path)).map_err(cannot)?;
        }
        let ca = scratch.path().join("ca");
        let authority = LocalAuthority::init(&ca)?;
        let mut authority_keys = Vec::new();
        for (kind, word) in [(Kind::Host, "{host-ca-key}"), (Kind::User, "{user-ca-key}")] {
            for key in authority.roots(kind)? {
                authority_keys.push((line_of(key.key_data())?, word));
            }
        }
        for (path, text) in &machine.files {
            let text = authority_keys.iter().fold(text.clone(), |text, (key, word)| text.replace(word, key));
            put(&inside(path), text.as_bytes(), 0o644).map_err(cannot)?;
        }
        let mut public = BTreeMap::new();
        for (path, algorithm) in &machine.keys {
            let cannot_key = |error| Error::usage(format!("cannot make the key {path}")).cause(error);
            let made = keys::generate(algorithm, "").map_err(cannot_key)?;
            put(&inside(path), made.private.as_bytes(), 0o600).map_err(cannot)?;
            let line = made.public_file().map_err(cannot_key)?;
            put(&with_ending(&inside(path), ".pub"), line.as_bytes(), 0o644).map_err(cannot)?;
            public.insert(path.clone(), made.public);
        }
        for (path, names) in &machine.certificates {
            let key = of(&public, path)?.clone();
            let certificate = authority.issue(&request(key, names)?)?;
            put(&with_ending(&inside(path), "-cert.pub"), certificate.to_file().as_bytes(), 0o644).map_err(cannot)?;
        }
        for (path, mode) in &machine.modes {
            set_mode(&inside(path), mode.bits()).map_err(|error| {
                Error::usage(format!("cannot give {path} the mode {}", String::from(*mode)))
                    .cause(error)
                    .next("name only what is among machine.files, keys, certificates and directories")
            })?;
        }
        // Links come last: a write through a link would go to the real machine.
        for (path, target) in &machine.links {
            let made = directory(inside(path).parent().unwrap_or(&root)).and_then(|()| symlink(target, inside(path)));
            made.map_err(cannot)?;
        }
        if let Some(scheduler) = machine.scheduler {
            schedules(&root, machine.init, scheduler).map_err(cannot)?;
        }
        let programs = Arc::new(ScriptedPrograms::new(machine.queries.clone(), machine.failing.clone()));
        let mut context = context(&scratch, machine, &public, on_hang)?;
        context.runner = Arc::<ScriptedPrograms>::clone(&programs);
        Ok(Self { scratch, context, programs, authority_keys })
    }

    /// The text with the CA's keys replaced by the words for them.
    pub(super) fn with_words(&self, text: &str) -> String {
        self.authority_keys.iter().fold(text.to_owned(), |text, (key, word)| text.replace(key, word))
    }

    /// Everything that is in the tree.
    pub(super) fn contents(&self) -> Result<Contents> {
        let root = self.scratch.path().join("root");
        let mut found = Contents::new();
        walk(&root, &root, &mut found)
            .map_err(|error| Error::failed("cannot look at the machine of a scenario").cause(error))?;
        Ok(found)
    }
}

/// Refuses files below a link: a write through a link may leave the scratch directory.
fn refuse_below_links(machine: &Machine) -> Result<()> {
    let paths = machine.files.keys().chain(machine.keys.keys()).chain(machine.links.keys()).chain(&machine.directories);
    for path in paths {
        if let Some(link) = machine.links.keys().find(|link| path != *link && path.is_within(link)) {
            return Err(Error::usage(format!("{path} lies below {link}, which is a link in this scenario"))
                .next("give the path that the link leads to"));
        }
    }
    Ok(())
}

fn request(key: PublicKey, names: &[String]) -> Result<IssueRequest> {
    let principals = Principals::parse(Kind::Host, names).map_err(Error::usage)?;
    Ok(IssueRequest { kind: Kind::Host, key, key_id: names.first().cloned().unwrap_or_default(), principals })
}

fn of<'a>(keys: &'a BTreeMap<AbsolutePath, PublicKey>, path: &AbsolutePath) -> Result<&'a PublicKey> {
    keys.get(path)
        .ok_or_else(|| Error::usage(format!("{path} is none of this machine's keys")).next("add it to machine.keys"))
}

/// A real context, on the scenario's machine instead of the real one.
fn context(
    scratch: &Scratch,
    machine: &Machine,
    keys: &BTreeMap<AbsolutePath, PublicKey>,
    on_hang: HangHandler,
) -> Result<Context> {
    let at = |name: &str| Some(scratch.path().join(name));
    let path = |given: &Option<AbsolutePath>, usual: &str| match given {
        Some(path) => Ok(path.clone()),
        None => usual.parse().map_err(|why: String| Error::failed(why)),
    };
    let (sshd_config, home) = (path(&machine.sshd_config, "/etc/ssh/sshd_config")?, path(&machine.home, "/root")?);
    let options = Options {
        config: at("config.toml"),
        state: at("state"),
        policies: at("policies"),
        ca: at("ca"),
        sshd_config: at("config.toml"),
        on_hang,
        ..Options::default()
    };
    let mut context = Context::open(&options)?;
    let root = scratch.path().join("root");
    context.root =
        Root::at(&root).map_err(|error| Error::failed("cannot open the machine of a scenario").cause(error))?;
    context.facts = Facts {
        os_id: machine.os.clone(),
        os_version: machine.version.clone(),
        os_name: format!("{} {}", machine.os, machine.version),
        init: machine.init,
        hostname: machine.hostname.clone(),
        home: Some(home.to_string()),
        machine_id: "scenario".to_owned(),
    };
    context.places = Places { sshd_config, home: Some(home) };
    context.scheduling = machine.scheduler.map_or(Scheduling::Unknown, |_| Scheduling::Described(root));
    context.answers = Some(match &machine.sshd {
        Some(sshd) => answers(sshd, keys)?,
        None => SshdAnswers::none(),
    });
    match machine.ca {
        Ca::IsThere(true) => {}
        Ca::IsThere(false) => context.authority = Rc::new(Authority::none()),
        Ca::Behaves(behaviour) => {
            let keys = LocalAuthority::open(&scratch.path().join("ca"))?;
            context.authority = Rc::new(Authority::of(Box::new(UnwillingAuthority::new(keys, behaviour))));
        }
    }
    Ok(context)
}

fn answers(sshd: &Sshd, keys: &BTreeMap<AbsolutePath, PublicKey>) -> Result<SshdAnswers> {
    let mut printed = String::new();
    for (keyword, values) in &sshd.effective {
        for value in values {
            printed = [&printed, keyword, " ", value, "\n"].concat();
        }
    }
    let release = major_minor(&sshd.version);
    let host_key = |path: &AbsolutePath| {
        let line = of(keys, path)?.to_openssh().map_err(|error| Error::failed("cannot write a key").cause(error))?;
        let public = RawPublicKey::from_line(&line).ok();
        Ok(HostKey { path: path.as_path().to_owned(), public, standing: Standing::Loaded, release })
    };
    let host_keys = sshd.host_keys.iter().map(host_key).collect::<Result<Vec<_>>>()?;
    Ok(SshdAnswers::of(sshd.version.clone(), Effective::parse(&printed), host_keys))
}

/// Creates the files by which Warded recognises what starts programs by the clock on this machine.
fn schedules(root: &Path, init: Init, scheduler: Scheduler) -> io::Result<()> {
    let process = |number: &str, name: &str, program: &str| {
        let process = root.join("proc").join(number);
        put(&process.join("comm"), name.as_bytes(), 0o444)?;
        put(&process.join("cmdline"), program.as_bytes(), 0o444)?;
        symlink(program, process.join("exe"))?;
        symlink(root, process.join("root"))
    };
    process("1", init.as_str(), "/sbin/init")?;
    match scheduler {
        Scheduler::Systemd => directory(&root.join("etc/systemd/system")),
        Scheduler::CronD => {
            process("2", "cron", "/usr/sbin/cron")?;
            directory(&root.join("etc/cron.d"))
        }
        Scheduler::Periodic => {
            process("2", "crond", "/bin/busybox")?;
            directory(&root.join("etc/periodic/hourly"))?;
            put(&root.join("etc/crontabs/root"), b"0 * * * * run-parts /etc/periodic/hourly\n", 0o600)
        }
        Scheduler::None => Ok(()),
    }
}

fn directory(path: &Path) -> io::Result<()> {
    // Sets the mode whatever the umask is: Warded does not trust a directory that others can write.
    let missing: Vec<&Path> = path.ancestors().take_while(|above| !above.exists()).collect();
    fs::create_dir_all(path)?;
    missing.into_iter().try_for_each(|made| set_mode(made, 0o755))
}

fn put(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    directory(path.parent().unwrap_or(path))?;
    fs::write(path, bytes)?;
    set_mode(path, mode)
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Copies a tree. Each file goes through `rewritten`, which gets the directory that stands for `/` in the copy.
pub(super) fn copy(contents: &Contents, rewritten: impl Fn(&str, &[u8]) -> Vec<u8>) -> Result<Scratch> {
    let scratch = Scratch::private()?;
    let root = scratch.path().display().to_string();
    let cannot = |error: io::Error| Error::failed("cannot copy the machine of a scenario").cause(error);
    for (path, (mode, bytes)) in contents {
        let at = PathBuf::from(format!("{root}{path}"));
        let kind = FileType::from_raw_mode(*mode);
        let made = if kind.is_dir() {
            directory(&at)
        } else if kind.is_symlink() {
            let target = Path::new(path).parent().unwrap_or(Path::new("/")).join(&*String::from_utf8_lossy(bytes));
            symlink(below(&root, &target), &at)
        } else {
            put(&at, &rewritten(&root, bytes), mode & 0o7777)
        };
        made.map_err(cannot)?;
    }
    Ok(scratch)
}

/// The path inside a directory that a path stands for. No `..` leads out of that directory.
pub(super) fn below(root: &str, path: &Path) -> String {
    let mut inside = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => drop(inside.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    format!("{root}{}", inside.display())
}

fn walk(root: &Path, directory: &Path, found: &mut Contents) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        let contents = if metadata.is_dir() {
            walk(root, &path, found)?;
            Vec::new()
        } else if metadata.is_symlink() {
            fs::read_link(&path)?.into_os_string().into_encoded_bytes()
        } else {
            fs::read(&path)?
        };
        let name = format!("/{}", path.strip_prefix(root).unwrap_or(&path).display());
        found.insert(name, (metadata.mode(), contents));
    }
    Ok(())
}
