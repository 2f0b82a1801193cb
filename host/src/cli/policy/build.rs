//! `warded policy build`: runs the tools of the guest's language, and turns their result into the component that is
//! published.

use crate::{
    assessment::{self, Assessment, Usages},
    cli::output::Output,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    env, fmt, io,
    path::{Path, PathBuf},
};
use warded_artifact::{
    embed, reach,
    read::{self, MAX_COMPONENT_BYTES},
};
use warded_lib::{
    config::is_root,
    digest::Digest,
    error::{Error, Exit, Result},
    machine::{exec::Program, files, named_file, scratch::Scratch},
    name::Name,
    policy::file::Policy,
    text::{neutral, neutral_path, shell_word},
};

const TARGET: &str = "wasm32-unknown-unknown";
/// How to install rustup and cargo with the target.
const INSTALL_RUST: &str =
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- --target wasm32-unknown-unknown";
/// The package that makes a component from rustc's output. It is compiled here, and is not part of this program.
const ENCODER: &str = "componentize";
/// The tool that makes a component from JavaScript.
const COMPONENTIZE_QJS: &str = "node_modules/componentize-qjs/bin/componentize-qjs";

#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// The guest's folder, as `warded policy new` makes it
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

/// The folder of a guest.
struct Folder {
    path: PathBuf,
    /// The request, byte for byte.
    text: String,
    request: Policy,
}

impl Build {
    pub(super) fn run(&self, output: Output) -> Result<Exit> {
        let folder = Folder::open(&self.directory)?;
        if is_root() {
            folder.refuse_others()?;
            output.note(
                "note: as root, the tools run what the folder says, such as build scripts; build as a user instead",
            );
        }
        let scratch = Scratch::private()?;
        let built = folder.compile(scratch.path())?;
        let component = embed::embedded(&built, &folder.text)?;
        let assessed = assessment::assess(&component, Some(&folder.request), None, &Usages::default())?;
        folder.refuse_missing(&component)?;
        let name = &folder.request.name;
        let file = PathBuf::from(format!("{name}.wasm"));
        let file = if self.directory == Path::new(".") { file } else { self.directory.join(file) };
        named_file::replace(&file, &component, 0o644)?;
        let (shown, digest) = (neutral_path(&file), Digest::of(&component));
        output.line(format!("{name} {} · {shown} · {} bytes · {digest}", folder.request.version, component.len()))?;
        show(&assessed, output)?;
        let check = format!("warded policy check {}", shell_word(&file.to_string_lossy()));
        output.line(format!("Next: {check}"))?;
        let calls: Vec<Value> = calls(&assessed)
            .map(|(procedure, function, grants)| json!({ "procedure": procedure, "function": function, "grants": grants }))
            .collect();
        output.object(&json!({
            "schema": "warded.policy-build/1", "name": name.as_str(), "version": folder.request.version, "file": shown,
            "component": digest.to_string(), "bytes": component.len(), "calls": calls,
            "never_called": assessed.never_called,
        }))?;
        Ok(Exit::Done)
    }
}

/// Each function that a procedure can call, with the grants that allow it; `None` if it needs no grant.
fn calls(assessed: &Assessment) -> impl Iterator<Item = (&str, &str, Option<&[String]>)> {
    assessed.procedures.iter().flat_map(|(name, procedure)| {
        procedure.calls.iter().map(move |(function, grants)| (name.as_str(), function.as_str(), grants.as_deref()))
    })
}

fn show(assessed: &Assessment, output: Output) -> Result<()> {
    let mut rows = vec![["procedure".to_owned(), "can call".to_owned(), "by the grant".to_owned()]];
    let mut before = "";
    for (procedure, function, grants) in calls(assessed) {
        let first = if procedure == before { "" } else { procedure };
        before = procedure;
        let grants = match grants {
            None => vec!["(needs none)".to_owned()],
            Some([]) => vec!["none: such a call is denied".to_owned()],
            Some(grants) => grants.to_vec(),
        };
        for (number, grant) in grants.into_iter().enumerate() {
            let [procedure, function] = if number == 0 { [first, function] } else { ["", ""] };
            rows.push([procedure.to_owned(), function.to_owned(), grant]);
        }
    }
    let width = |column: fn(&[String; 3]) -> &String| rows.iter().map(|row| column(row).chars().count()).max();
    let (first, second) = (width(|row| &row[0]).unwrap_or_default(), width(|row| &row[1]).unwrap_or_default());
    for [procedure, function, grant] in &rows {
        output.line(format!("  {procedure:first$}  {function:second$}  {grant}").trim_end())?;
    }
    if !assessed.never_called.is_empty() {
        let names: Vec<String> = assessed.never_called.iter().map(|name| neutral(name)).collect();
        output.line(format!("exported, and never called by the host: {}", names.join(", ")))?;
    }
    Ok(())
}

impl Folder {
    fn open(directory: &Path) -> Result<Self> {
        let shown = neutral_path(directory);
        let path = directory
            .canonicalize()
            .map_err(|error| Error::usage(format!("{shown} is not a guest's folder")).cause(error))?;
        let file = directory.join("policy.toml");
        let text = read::there(&file, files::MAX_BYTES)?.ok_or_else(|| {
            Error::usage(format!("{shown} is not a guest's folder"))
                .cause("it has no policy.toml")
                .next("name such a folder, or make one: warded policy new NAME")
        })?;
        let text = String::from_utf8(text)
            .map_err(|error| Error::usage(format!("cannot read {}", neutral_path(&file))).cause(error))?;
        let request = Policy::parse(&text, &neutral_path(&file))?;
        if request.component.is_some() {
            return Err(Error::usage(format!("{} names a component", neutral_path(&file)))
                .cause("a request is for the component that it is built into")
                .next("remove the line `component`"));
        }
        Ok(Self { path, text, request })
    }

    /// Refuses files that others could have written: the tools do what these files say.
    fn refuse_others(&self) -> Result<()> {
        for name in ["policy.toml", "Cargo.toml", "package.json"] {
            let file = self.path.join(name);
            files::refuse_others(&file).map_err(|error| {
                Error::refused(format!("root would run what another user can write into {}", neutral_path(&file)))
                    .cause(error)
                    .state("nothing was run")
                    .next("build it as the user who owns the folder")
            })?;
        }
        Ok(())
    }

    fn refuse_missing(&self, component: &[u8]) -> Result<()> {
        let exported = reach::reached(component)?.procedures;
        let described = self.request.procedures.keys().map(Name::as_str);
        let absent: Vec<&str> = described.filter(|name| !exported.contains_key(*name)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        Err(Error::refused(format!("policy.toml describes what the guest does not export: {}", absent.join(", ")))
            .next("export it in the guest's world, or take it out of policy.toml"))
    }

    /// Makes a component with the tools of the guest's language.
    fn compile(&self, scratch: &Path) -> Result<Vec<u8>> {
        let has = |name: &str| self.path.join(name).exists();
        if has("Cargo.toml") {
            self.compile_rust(scratch)
        } else if has("package.json") {
            self.compile_javascript(scratch)
        } else {
            Err(Error::usage("the guest's language is not known")
                .cause("the folder has neither a Cargo.toml (Rust) nor a package.json (JavaScript)")
                .next("start from a folder that `warded policy new` makes"))
        }
    }

    fn compile_rust(&self, scratch: &Path) -> Result<Vec<u8>> {
        let cargo = |words: &[&str]| Program::new("cargo").directory(&self.path).args(words);
        let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"])
            .ask_attended()
            .map_err(|error| missing("cargo", &error, INSTALL_RUST))?;
        let metadata = metadata.ok_or_else(|| failed("cargo metadata"))?;
        let guest = CargoGuest::of(&metadata, &self.path)?;
        // No path of this machine gets into the bytes, so that the same source gives the same component anywhere.
        let home = env::var_os("CARGO_HOME")
            .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo"), PathBuf::from);
        let mut flags: Vec<String> =
            env::var("RUSTFLAGS").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        for (from, to) in [(self.path.as_path(), "guest"), (home.as_path(), "cargo")] {
            flags.push(format!("--remap-path-prefix={}={to}", from.display()));
        }
        // Additional flags, for example for a toolchain that has to build the standard library.
        let more = env::var("WARDED_CARGO_FLAGS").unwrap_or_default();
        let build = cargo(&["build", "--release", "--target", TARGET, "-p", &guest.package])
            .args(more.split_whitespace())
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        if !build.run_attended().map_err(|error| missing("cargo", &error, INSTALL_RUST))? {
            return Err(self.why_rust_failed());
        }
        let core = guest.directory.join(TARGET).join("release").join(format!("{}.wasm", guest.library));
        let encode = cargo(&["run", "--quiet", "--profile", "tool", "-p", ENCODER, "--"])
            .arg(&core)
            .arg("policy.toml")
            .arg(scratch);
        // What it prints about the component is printed again later, with the grants.
        if encode.ask_attended().map_err(|error| missing("cargo", &error, INSTALL_RUST))?.is_none() {
            return Err(failed("cargo run -p componentize"));
        }
        read::any(&scratch.join(format!("{}.wasm", self.request.name)), MAX_COMPONENT_BYTES)
    }

    /// The target may be missing, which cargo reports in its own way.
    fn why_rust_failed(&self) -> Error {
        let rustc = Program::new("rustc").directory(&self.path).args(["--print", "target-libdir", "--target", TARGET]);
        let directory = rustc.ask_attended().ok().flatten().and_then(|bytes| String::from_utf8(bytes).ok());
        match directory {
            Some(directory) if !Path::new(directory.trim()).is_dir() => {
                Error::failed(format!("rustc has no target {TARGET}")).next(format!("rustup target add {TARGET}"))
            }
            _ => failed("cargo build"),
        }
    }

    fn compile_javascript(&self, scratch: &Path) -> Result<Vec<u8>> {
        if !self.path.join(COMPONENTIZE_QJS).exists() {
            return Err(Error::failed("componentize-qjs is not there").next("run in the guest's folder: npm ci"));
        }
        let made = scratch.join("component.wasm");
        // Without WASI and without asynchronous functions: the host has neither.
        let options = ["--sync", "--stub-wasi", "--opt-size", "--wit", "wit", "--world", "guest"];
        let encode = Program::new("node")
            .directory(&self.path)
            .arg(COMPONENTIZE_QJS)
            .args(options)
            .args(["--module-root", "src", "--js", "src/guest.js", "--output"])
            .arg(&made);
        let next = "install Node.js 20 or later with npm: apt install nodejs npm, or https://nodejs.org";
        if !encode.run_attended().map_err(|error| missing("node", &error, next))? {
            return Err(failed("componentize-qjs"));
        }
        read::any(&made, MAX_COMPONENT_BYTES)
    }
}

fn missing(tool: &str, error: &io::Error, next: impl fmt::Display) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        return Error::failed(format!("there is no {tool} in your PATH")).next(next);
    }
    Error::failed(format!("cannot start {tool}")).cause(error)
}

fn failed(tool: &str) -> Error {
    Error::failed(format!("the guest cannot be built: {tool} fails")).next("see what it says above")
}

/// What cargo reports about a guest.
struct CargoGuest {
    package: String,
    /// The name of the module, as in its file name.
    library: String,
    /// The directory where it is built.
    directory: PathBuf,
}

impl CargoGuest {
    fn of(metadata: &[u8], folder: &Path) -> Result<Self> {
        let metadata: Value = serde_json::from_slice(metadata)
            .map_err(|error| Error::failed("cannot read what cargo says").cause(error))?;
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let all = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let (manifest, packages) = (folder.join("Cargo.toml"), all(&metadata, "packages"));
        let is_it = |package: &&Value| text(package, "manifest_path").is_some_and(|path| Path::new(&path) == manifest);
        let guest = packages.iter().find(is_it).and_then(|package| {
            let is_module = |target: &&Value| all(target, "crate_types").iter().any(|kind| kind == "cdylib");
            let library = all(package, "targets").iter().find(is_module).and_then(|target| text(target, "name"))?;
            let directory = PathBuf::from(text(&metadata, "target_directory")?);
            Some(Self { package: text(package, "name")?, library: library.replace('-', "_"), directory })
        });
        let guest = guest.ok_or_else(|| {
            Error::usage("Cargo.toml is not that of a guest")
                .cause("it has no package with crate-type = [\"cdylib\"]")
                .next("compare it with what `warded policy new` writes")
        })?;
        if !packages.iter().any(|package| text(package, "name").as_deref() == Some(ENCODER)) {
            return Err(Error::usage(format!("the guest's workspace has no package {ENCODER}"))
                .cause("it turns the output of rustc into a component")
                .next("take the folder warded/ from what `warded policy new` makes"));
        }
        Ok(guest)
    }
}
