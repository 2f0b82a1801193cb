//! What the shipped procedures really do, as the kernel sees it. Every path that a run opens for writing, creates,
//! removes, renames, gives another mode or owner, or executes is one that the grants and the design allow.

use crate::support::{
    Grants, Machine,
    machine::{KEYS, NAME},
    trace::{self, Effect},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
};

/// What a run may execute: sshd and its parts, the client, and the client's shell for its proxy command.
const PROGRAMS: [&str; 7] = [
    "/usr/sbin/sshd",
    "/usr/bin/ssh",
    "/usr/lib/openssh/sshd-session",
    "/usr/lib/openssh/sshd-auth",
    "/bin/sh",
    "/usr/bin/sh",
    "/usr/bin/systemctl",
];

#[test]
fn nothing_is_touched_but_what_is_granted() {
    let drop_in = "ssh/sshd_config.d/50-warded.conf";
    let certificates =
        ["ssh/ssh_host_rsa_key-cert.pub", "ssh/ssh_host_ecdsa_key-cert.pub", "ssh/ssh_host_ed25519_key-cert.pub"];
    for block in [false, true] {
        let machine = Machine::start();
        let configuration = if block { "ssh/sshd_config" } else { drop_in };
        if block {
            without_include(&machine);
        }
        let all = [&certificates[..], &[configuration]].concat();
        let how = if block { "with a block" } else { "with a drop-in" };
        let principal = format!("principal={NAME}");
        proves(
            &machine,
            &format!("certify-host {how}"),
            &["apply", "certify-host", "--set", &principal, "--yes"],
            &all,
        );
        proves(&machine, &format!("renew-host --force {how}"), &["renew", "--force"], &certificates);
        let history = machine.warded(["history", "--json"]).ends(0).object("warded.history/1");
        let renewal = history["runs"][0]["run"].to_string();
        let undo = ["undo", "--yes", "--down-to", &renewal];
        proves(&machine, &format!("undo of renew-host {how}"), &undo, &certificates);
        let accept = "--accept-risk=replace-host-keys";
        let keys = KEYS.map(|name| format!("ssh/ssh_host_{name}_key"));
        let public = KEYS.map(|name| format!("ssh/ssh_host_{name}_key.pub"));
        let pairs: Vec<&str> =
            keys.iter().chain(&public).map(String::as_str).chain(certificates.iter().copied()).collect();
        proves(&machine, &format!("rekey-host {how}"), &["apply", "rekey-host", "--yes", accept], &pairs);
        proves(&machine, &format!("undo of rekey-host {how}"), &["undo", "--yes", accept], &pairs);
        let revoking = ["apply", "revoke-users", "--set", "serial=7", "--yes"];
        let own = if block { configuration } else { "ssh/sshd_config.d/50-warded-revoke-users.conf" };
        let list = ["ssh/warded-revoked.krl", own];
        proves(&machine, &format!("revoke-users {how}"), &revoking, &list);
        proves(&machine, &format!("undo of revoke-users {how}"), &["undo", "--yes"], &list);
        proves(&machine, &format!("undo of certify-host {how}"), &["undo", "--yes"], &all);
        if !block {
            the_demo(&machine);
        }
    }
}

/// Installs the component of the bundled policy `demo`, which writes what it is told to.
fn the_demo(machine: &Machine) {
    let file = "ssh/sshd_config.d/60-demo.conf";
    let grants = [
        "files.write = [\"{sshd}/sshd_config.d/60-demo.conf\"]",
        "sshd.keywords = [\"PerSourceMaxStartups\"]",
        "services.ssh = [\"reload\"]",
    ];
    Grants::of(&grants).write_demo(&machine.path("policies"));
    let path = format!("path={}", machine.path(file).display());
    let settings = ["--set", &path, "--set", "text=PerSourceMaxStartups 100", "--set", "reload=yes"];
    let apply = [&["apply", "write-file", "--policy", "writer", "--yes"][..], &settings].concat();
    proves(machine, "write-file", &apply, &[file]);
    proves(machine, "undo of write-file", &["undo", "--yes"], &[file]);
}

/// Checks this method itself: it reports what is not granted.
#[test]
fn what_is_not_granted_is_reported() {
    let machine = Machine::stopped();
    let at = |name: &str| machine.path(name).to_str().unwrap().to_owned();
    let allowed = AllowedChanges::of(&machine, &["ssh/sshd_config.d/50-warded.conf"]);
    for path in [at("ssh/sshd_config"), at("ssh/ssh_host_rsa_key"), at("ca/host_ca"), at("policies/x"), at("statement")]
        .into_iter()
        .chain(["/etc/passwd", "/tmp/warded-x", "/tmp/else", "/run/warded/else", "/dev/sda"].map(str::to_owned))
    {
        assert_eq!(allowed.kind(&Effect::Change(path.clone())), "NOT ALLOWED TO CHANGE", "{path}");
    }
    for program in ["/bin/bash", "/tmp/warded-run-x/sshd"] {
        assert_eq!(allowed.kind(&Effect::Run(program.to_owned())), "NOT ALLOWED TO RUN", "{program}");
    }
    assert_eq!(allowed.kind(&Effect::Change(at("ssh/sshd_config.d/50-warded.conf"))), "granted");
    assert_eq!(allowed.kind(&Effect::Change("/tmp/warded-run-x/config".to_owned())), "private scratch");
}

/// A configuration without an Include, so the certificates are named in a block.
fn without_include(machine: &Machine) {
    let config = fs::read_to_string(machine.config()).unwrap();
    let kept: Vec<&str> = config.lines().filter(|line| !line.starts_with("Include")).collect();
    fs::write(machine.config(), kept.join("\n") + "\n").unwrap();
}

fn proves(machine: &Machine, what: &str, arguments: &[&str], granted: &[&str]) {
    let (run, effects) = trace::warded(machine, arguments);
    assert_eq!(run.code, Some(0), "{what}: {}\n{}", run.stdout, run.stderr);

    let allowed = AllowedChanges::of(machine, granted);
    let mut kinds: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for effect in &effects {
        kinds.entry(allowed.kind(effect)).or_default().insert(shortened(effect.path(), machine));
    }
    for path in &allowed.granted {
        assert!(kinds["granted"].contains(&shortened(path, machine)), "{what}: {path} was never touched, or not seen");
    }
    let lines: Vec<String> = kinds
        .iter()
        .map(|(kind, paths)| format!("  {kind}: {}", paths.iter().cloned().collect::<Vec<_>>().join(" ")))
        .collect();
    writeln!(std::io::stderr(), "{what}: {} effects\n{}", effects.len(), lines.join("\n")).unwrap();
    let wrong: Vec<_> = kinds.iter().filter(|(kind, _)| kind.starts_with("NOT")).collect();
    assert!(wrong.is_empty(), "{what}: {wrong:#?}");
}

/// The paths that a run may touch.
struct AllowedChanges {
    granted: Vec<String>,
    /// The directories of these paths.
    beside: BTreeSet<String>,
    state: String,
    daemon: [String; 2],
}

impl AllowedChanges {
    fn of(machine: &Machine, granted: &[&str]) -> Self {
        let at = |name: &str| machine.path(name).to_str().unwrap().to_owned();
        let granted: Vec<String> = granted.iter().map(|path| at(path)).collect();
        let directory = |path: &String| path.rsplit_once('/').map(|(directory, _)| directory.to_owned()).unwrap();
        let beside = granted.iter().map(directory).collect();
        // The machine under test really runs an sshd, which writes its own log and process id file.
        Self { granted, beside, state: at("state"), daemon: [at("sshd.log"), at("sshd.pid")] }
    }

    fn kind(&self, effect: &Effect) -> &'static str {
        let Self { granted, beside, state, daemon } = self;
        let path = effect.path();
        match effect {
            Effect::Run(path) if PROGRAMS.contains(&path.as_str()) => "runs",
            // The second Warded process is the watchdog.
            Effect::Run(path) if [env!("CARGO_BIN_EXE_warded"), "/proc/self/exe"].contains(&path.as_str()) => {
                "runs itself"
            }
            Effect::Run(_) => "NOT ALLOWED TO RUN",
            Effect::Change(_) if granted.iter().any(|one| one == path) => "granted",
            Effect::Change(_) if path == state.as_str() || path.starts_with(&format!("{state}/")) => "state",
            Effect::Change(_) if path.starts_with(&format!("{state}-status")) => "the public status",
            Effect::Change(_) if is_temporary(path, beside) => "temporary, beside what is granted",
            Effect::Change(_) if path.starts_with("/tmp/warded-run-") => "private scratch",
            Effect::Change(_) if ["/dev/null", "/dev/tty", "/dev/ptmx"].contains(&path) => "devices",
            // In /proc/self sshd adjusts its OOM score and names its processes.
            Effect::Change(_) if path.starts_with("/proc/self/") || path.starts_with("/proc/thread-self/") => {
                "of itself"
            }
            Effect::Change(_) if path == "/run/sshd" => "sshd's empty directory",
            Effect::Change(_) if path == "/run/warded" || path.starts_with("/run/warded/locks") => "root's locks",
            Effect::Change(_) if daemon.iter().any(|own| own == path) => "sshd's own",
            Effect::Change(_) => "NOT ALLOWED TO CHANGE",
        }
    }
}

/// `.warded-RUN-INDEX` or `.NAME.warded-RUN-INDEX`, in a directory with something granted.
fn is_temporary(path: &str, beside: &BTreeSet<String>) -> bool {
    path.rsplit_once('/').is_some_and(|(directory, name)| {
        beside.contains(directory) && name.starts_with('.') && name.contains("warded-")
    })
}

/// A path without the parts that change from run to run.
fn shortened(path: &str, machine: &Machine) -> String {
    let directory = machine.path("");
    let short = path
        .strip_prefix(directory.to_str().unwrap().trim_end_matches('/'))
        .map_or(path, |rest| rest.trim_start_matches('/'));
    let scratch = short.strip_prefix("/tmp/warded-run-").and_then(|rest| rest.split_once('/'));
    let mut short = match scratch {
        Some((_, rest)) => format!("/tmp/warded-run-…/{}", rest.split('/').next().unwrap_or_default()),
        None if short.starts_with("/tmp/warded-run-") => "/tmp/warded-run-…".to_owned(),
        None => short.to_owned(),
    };
    for mark in [".new-", ".warded-new-", "known_hosts-"] {
        if let Some(at) = short.find(mark) {
            short.replace_range(at + mark.len().., "…");
        }
    }
    if let Some(rest) = short.strip_prefix("state/runs/") {
        short = format!("state/runs/N/{}", rest.split_once('/').map_or("", |(_, name)| name));
    }
    short
}
