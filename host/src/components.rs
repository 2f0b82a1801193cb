//! Where policies come from: this binary, and a directory of the administrator's.

pub mod accepted;

use crate::sandbox::granting::{BoundPolicy, Origin, bind};
use std::{
    borrow::Cow,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};
use warded_artifact::{imports, read};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    machine::files,
    name::Name,
    policy::{condition::Machine, file::Policy, widening},
    text::neutral_path,
};

struct BundledPolicy {
    policy: &'static str,
    component: &'static [u8],
    precompiled: &'static [u8],
}

macro_rules! bundled {
    ($name:literal) => {
        BundledPolicy {
            policy: include_str!(concat!("../../policies/", $name, ".toml")),
            component: include_bytes!(concat!("../../policies/", $name, ".wasm")),
            precompiled: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".cwasm")),
        }
    };
}

/// The policies that are offered on every machine.
const OFFERED: [BundledPolicy; 1] = [bundled!("unix")];
/// The texts of `policies/earlier/`: bundled policies of earlier binaries, which machines accepted when they were
/// enrolled. `guests/build` puts a text there when it replaces it.
const EARLIER: &[&str] = include!(concat!(env!("OUT_DIR"), "/earlier.rs"));
/// The policy that only `warded demo` runs.
const DEMO: BundledPolicy = bundled!("demo");

/// The policies that are offered on every machine.
///
/// # Errors
/// Never, in a binary that passed its tests.
pub fn bundled() -> Result<Vec<BoundPolicy>> {
    OFFERED.iter().map(BundledPolicy::load).collect()
}

/// The component of the demonstration: a guest that writes what it is told to.
///
/// # Errors
/// Never, in a binary that passed its tests.
pub fn demo() -> Result<BoundPolicy> {
    DEMO.load()
}

/// The bundled policies of earlier binaries, each with the digest of its text.
pub fn earlier_policies() -> impl Iterator<Item = (Digest, Policy)> {
    let parse =
        |text: &&str| Some((Digest::of(text.as_bytes()), Policy::parse(text, "an earlier bundled policy").ok()?));
    EARLIER.iter().filter_map(parse)
}

/// The policy with this name. Other policies may be broken: that does not matter here.
///
/// # Errors
/// No policy of that name can be used; the error says why.
pub fn find(directory: &Path, name: &Name) -> Result<BoundPolicy> {
    if let Some(bundled) =
        OFFERED.iter().map(BundledPolicy::load).find(|loaded| loaded.as_ref().is_ok_and(|one| one.policy.name == *name))
    {
        return bundled;
    }
    let mut first_fault = None;
    for loaded in files(directory)?.iter().map(|file| load_file(file)) {
        match loaded {
            Ok(granting) if granting.policy.name == *name => return Ok(granting),
            Ok(_) => {}
            Err(error) => first_fault = first_fault.or(Some(error)),
        }
    }
    Err(first_fault.unwrap_or_else(|| {
        Error::refused(format!("there is no policy {name}")).next("`warded policy list` shows those there are")
    }))
}

/// Whether a policy of this name came with this binary.
#[must_use]
pub fn is_bundled(name: &Name) -> bool {
    OFFERED.iter().chain([&DEMO]).any(|bundled| bundled.load().is_ok_and(|granting| granting.policy.name == *name))
}

/// Names of commands below `warded audit`: a policy with such a name could not be given as an argument there.
const RESERVED: [&str; 4] = ["export", "help", "log", "verify"];

/// Whether the name is reserved, so that no policy can have it.
#[must_use]
pub fn is_reserved(name: &Name) -> bool {
    RESERVED.contains(&name.as_str())
}

/// The text of a policy.
///
/// # Errors
/// It cannot be read, or has changed since it was loaded.
pub fn text(granting: &BoundPolicy) -> Result<String> {
    let BoundPolicy { policy, origin, .. } = granting;
    let gone = || Error::failed(format!("the file of policy {} has changed since it was read", policy.name));
    let text = match origin {
        Origin::Bundled => {
            let of = |bundled: &&BundledPolicy| Digest::of(bundled.policy.as_bytes()) == granting.grants;
            OFFERED.iter().find(of).map(|bundled| bundled.policy.to_owned())
        }
        Origin::File(file) => String::from_utf8(read::any(file, files::MAX_BYTES)?).ok(),
    };
    text.filter(|text| Digest::of(text.as_bytes()) == granting.grants).ok_or_else(gone)
}

/// Compares a policy file with its component, as is done whenever the file is read.
///
/// # Errors
/// The file grants what the component does not ask for, or the component asks for nothing.
pub fn bind_file(text: &str, origin: &Path, component: Vec<u8>) -> Result<BoundPolicy> {
    let policy = Policy::parse(text, &neutral_path(origin))?;
    let granting = bind((policy, text), Origin::File(origin.to_owned()), Cow::Owned(component), None)?;
    within_request(&granting, &neutral_path(origin))?;
    Ok(granting)
}

/// All policies: those of the binary, and those in `directory`, if it exists.
///
/// # Errors
/// A policy file cannot be read, can be written by others, is not valid or takes a bundled name; or its component is
/// missing, or is not the one that the policy was accepted for.
pub fn load(directory: &Path) -> Result<Vec<BoundPolicy>> {
    let mut all = bundled()?;
    for file in files(directory)? {
        let granting = load_file(&file)?;
        if all.iter().any(|other| other.policy.name == granting.policy.name) {
            return Err(Error::usage(format!("{}: the name {} is taken", neutral_path(&file), granting.policy.name))
                .next("give the policy another name; the names of bundled policies are reserved"));
        }
        all.push(granting);
    }
    Ok(all)
}

/// The policy files in a directory, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.path())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(Error::failed(format!("cannot read the policies in {}", neutral_path(directory))).cause(error));
        }
    };
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}

fn load_file(file: &Path) -> Result<BoundPolicy> {
    let unreadable =
        |what: &Path, why: &dyn Display| Error::failed(format!("cannot read {}", neutral_path(what))).cause(why);
    let read = |what: &Path, limit| {
        files::read_ours(what, limit, |why| unreadable(what, why))?
            .ok_or_else(|| unreadable(what, &"there is no such file"))
    };
    let text = String::from_utf8(read(file, files::MAX_BYTES)?).map_err(|error| unreadable(file, &error))?;
    let policy = Policy::parse(&text, &neutral_path(file))?;
    let beside = file.with_extension("wasm");
    let added = policy.component.as_ref().map(|digest| accepted::component_of(file, digest));
    let component = read(&added.filter(|added| added.exists()).unwrap_or(beside), read::MAX_COMPONENT_BYTES)?;
    bind_file(&text, file, component)
}

/// A policy file may grant less than its component asks for, never more. The publisher answers for what the component
/// asks for, and the operator read exactly that when accepting it.
fn within_request(granting: &BoundPolicy, file: &str) -> Result<()> {
    // A file that is not a component cannot be run, and running it says why.
    if imports::only_ours(&granting.component).is_err() {
        return Ok(());
    }
    let name = &granting.policy.name;
    let request = read::request(&granting.component, &format!("the component of policy {name}"))?;
    let request = Policy::parse(&request, &format!("the request in the component of policy {name}"))?;
    let wider = widening::wider(&request, &granting.policy);
    if wider.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("{file} grants what its component does not ask for"))
        .cause(wider.join("\n"))
        .next("remove it from the file: a policy file may grant less than its component asks for, but not more"))
}

impl BundledPolicy {
    fn load(&self) -> Result<BoundPolicy> {
        let policy = Policy::parse(self.policy, "a bundled policy")?;
        bind((policy, self.policy), Origin::Bundled, Cow::Borrowed(self.component), Some(self.precompiled))
    }
}

/// The one policy that offers a procedure on this machine.
///
/// # Errors
/// No policy offers it, or more than one does and `name` does not choose one of them.
pub fn choose<'a>(
    all: &'a [BoundPolicy],
    procedure: &str,
    name: Option<&Name>,
    machine: &dyn Machine,
) -> Result<&'a BoundPolicy> {
    let offers =
        |granting: &&BoundPolicy| granting.policy.procedures.keys().any(|offered| offered.as_str() == procedure);
    if let Some(name) = name {
        let granting = all.iter().find(|granting| granting.policy.name == *name).ok_or_else(|| {
            Error::usage(format!("there is no policy {name}")).next("`warded policy list` shows those there are")
        })?;
        return Some(granting).filter(offers).ok_or_else(|| {
            Error::usage(format!("policy {name} has no procedure {procedure}"))
                .next(format!("it has: {}", procedures([granting])))
        });
    }
    let here = here(all, machine)?;
    let offering: Vec<&BoundPolicy> = here.iter().copied().filter(offers).collect();
    match offering.as_slice() {
        [one] => Ok(one),
        [] if here.is_empty() => Err(Error::usage("no policy is meant for this machine")
            .cause(format!(
                "its init system is {} and its operating system {:?}",
                machine.init().as_str(),
                machine.os()
            ))
            .next("`warded policy list` shows what there is; name one with --policy if you are sure")),
        [] => Err(Error::usage(format!("no policy for this machine has a procedure {procedure}"))
            .next(format!("there are: {}", procedures(here)))),
        many => {
            let names: Vec<String> = many.iter().map(|granting| granting.policy.name.to_string()).collect();
            Err(Error::usage(format!("more than one policy for this machine has a procedure {procedure}"))
                .next(format!("choose one with --policy: {}", names.join(", "))))
        }
    }
}

/// The policies for this machine, without those that another policy replaces here.
///
/// # Errors
/// Two policies replace the same one.
fn here<'a>(all: &'a [BoundPolicy], machine: &dyn Machine) -> Result<Vec<&'a BoundPolicy>> {
    let applying: Vec<&BoundPolicy> = all.iter().filter(|granting| granting.policy.applies(machine)).collect();
    let mut left = Vec::new();
    for granting in &applying {
        let name = &granting.policy.name;
        let mut replacing = applying.iter().filter(|other| other.policy.instead_of.contains(name));
        match (replacing.next(), replacing.next()) {
            (None, _) => left.push(*granting),
            (Some(_), None) => {}
            (Some(one), Some(another)) => {
                let (one, another) = (&one.policy.name, &another.policy.name);
                return Err(Error::usage(format!(
                    "two policies for this machine stand in for {name}: {one} and {another}"
                ))
                .next("choose one with --policy, or remove the other"));
            }
        }
    }
    Ok(left)
}

/// The policy that replaces this one on this machine.
#[must_use]
pub fn replacement<'a>(all: &'a [BoundPolicy], name: &Name, machine: &dyn Machine) -> Option<&'a BoundPolicy> {
    all.iter().find(|other| other.policy.instead_of.contains(name) && other.policy.applies(machine))
}

fn procedures<'a>(policies: impl IntoIterator<Item = &'a BoundPolicy>) -> String {
    let names: Vec<&str> =
        policies.into_iter().flat_map(|granting| granting.policy.procedures.keys().map(Name::as_str)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Component;

    /// Each file in policies/ belongs to the component beside it, has its procedures, and grants exactly what that
    /// component asks for.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "our own policies, known to be harmless")]
    fn every_policy_file_is_its_components_request() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "toml") {
                let (text, component) =
                    (fs::read_to_string(&file).unwrap(), fs::read(file.with_extension("wasm")).unwrap());
                let policy = Policy::parse(&text, "a policy of ours").unwrap();
                let granting = bind((policy, &text), Origin::File(file.clone()), Cow::Owned(component), None).unwrap();
                Component::load(&granting).unwrap();
                let request = imports::request(&granting.component).unwrap().unwrap();
                let request = Policy::parse(&request, "the component's request").unwrap();
                assert_eq!(Policy { component: None, ..granting.policy.clone() }, request, "{}", file.display());
                names.push(granting.policy.name.to_string());
            }
        }
        // The others ship beside the binary.
        for bundled in OFFERED.iter().chain([&DEMO]) {
            let name = bundled.load().unwrap().policy.name.to_string();
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_grant_holds_for_one_component() {
        let unix = || Policy::parse(OFFERED[0].policy, "unix").unwrap();
        let other = Cow::Borrowed(DEMO.component);
        let error = bind((unix(), ""), Origin::Bundled, other.clone(), None).unwrap_err();
        assert_eq!(error.exit(), warded_lib::error::Exit::Refused, "{error}");
        let without = Policy { component: None, ..unix() };
        let error = bind((without, ""), Origin::Bundled, other, None).unwrap_err();
        assert!(error.message().contains("does not say which component"), "{error}");
    }

    #[test]
    fn a_policy_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (toml, wasm) = (directory.path().join("mine.toml"), directory.path().join("mine.wasm"));
        fs::write(&toml, OFFERED[0].policy.replacen("\"unix\"", "\"mine\"", 1)).unwrap();
        fs::write(&wasm, OFFERED[0].component).unwrap();
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        chmod(&toml, 0o644);
        assert_eq!(load(directory.path()).unwrap().len(), 2);
        for path in [toml.as_path(), directory.path()] {
            chmod(path, 0o777);
            let error = load(directory.path()).unwrap_err();
            assert_eq!(error.exit(), warded_lib::error::Exit::Refused, "{error}");
            chmod(path, 0o700);
        }
    }

    #[test]
    fn bundled_names_are_reserved() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("mine.toml"), OFFERED[0].policy).unwrap();
        fs::write(directory.path().join("mine.wasm"), OFFERED[0].component).unwrap();
        let error = load(directory.path()).unwrap_err();
        assert!(error.message().ends_with("the name unix is taken"), "{error}");
    }

    #[test]
    fn the_name_of_a_policy_file_reaches_no_terminal_raw() {
        const NAME: &str = "\u{1b}[2Jmine";
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join(NAME);
        // A file where the directory should be.
        fs::write(&directory, "").unwrap();
        let unreadable = load(&directory).unwrap_err().to_string();
        fs::remove_file(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        let file = directory.join(format!("{NAME}.toml"));
        fs::write(&file, OFFERED[0].policy).unwrap();
        fs::write(file.with_extension("wasm"), OFFERED[0].component).unwrap();
        let taken = load(&directory).unwrap_err().to_string();
        fs::write(file.with_extension("wasm"), "").unwrap();
        let another = load(&directory).unwrap_err().to_string();
        fs::remove_file(file.with_extension("wasm")).unwrap();
        let missing = load(&directory).unwrap_err().to_string();
        for text in [unreadable, taken, another, missing, Origin::File(file).to_string()] {
            assert!(text.lines().all(warded_lib::text::is_neutral), "{text:?}");
        }
    }
}
