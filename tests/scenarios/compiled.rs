//! Machine code of policies that are not part of the binary: compiled once, and again when it no longer fits.

use crate::support::{Grants, Machine, Run, counts, guest::Guest, missing, script::Script};
use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

/// A machine with two policies of its own, which do nothing.
fn machine() -> Machine {
    let machine = Machine::stopped();
    for name in ["case", "other"] {
        let message = format!("this is {name}");
        let mut script = Script::new("");
        script.says("info", &message);
        Grants::of(&["log = [\"info\"]"]).write(&machine.path("policies"), name, "go", &script.component());
    }
    machine
}

/// Whether a plan of a policy starts the compiler. Checks that the policy runs in any case.
fn compiles(machine: &Machine, policy: &str) -> bool {
    let (run, counts) = counts::warded(machine, &["plan", "go", "--policy", policy]);
    let run = run.ends(0);
    assert!(run.stdout.contains(&format!("this is {policy}")), "{}", run.stdout);
    counts.compilers > 0
}

fn cached(machine: &Machine) -> Vec<PathBuf> {
    let entries = fs::read_dir(machine.path("state/compiled")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_policy_is_compiled_once() {
    let machine = machine();
    assert!(compiles(&machine, "case") && compiles(&machine, "other"));
    assert!(!compiles(&machine, "case") && !compiles(&machine, "other"));
    assert_eq!(cached(&machine).len(), 2);
    for path in cached(&machine) {
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Warded uses machine code only from a directory that no other user can write.
    fs::set_permissions(machine.path("state/compiled"), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(compiles(&machine, "case"));
    fs::remove_dir_all(machine.path("state/compiled")).unwrap();
    fs::write(machine.path("state/compiled"), "in the way").unwrap();
    assert!(compiles(&machine, "case"));
}

#[test]
fn machine_code_that_was_touched_is_made_again() {
    let machine = machine();
    assert!(compiles(&machine, "case"));
    let [path] = &cached(&machine)[..] else { panic!("one component was compiled") };
    let whole = fs::read(path).unwrap();
    assert!(compiles(&machine, "other"));
    let other = cached(&machine).into_iter().find(|one| one != path).unwrap();
    let other = fs::read(other).unwrap();
    let middle = whole.len() / 2;
    let flipped = [&whole[..middle], &[whole[middle] ^ 1], &whole[middle + 1..]].concat();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("a bit flipped", flipped),
        ("cut off", whole[..whole.len() - 1].to_vec()),
        ("longer", [&whole[..], b"x"].concat()),
        ("another component's", other),
    ] {
        fs::write(path, bytes).unwrap();
        assert!(compiles(&machine, "case"), "{what}");
        assert_eq!(fs::read(path).unwrap().len(), whole.len(), "{what}");
        assert!(!compiles(&machine, "case"), "{what}");
    }
}

#[test]
fn machine_code_that_others_may_have_written_is_made_again() {
    let machine = machine();
    assert!(compiles(&machine, "case"));
    let [path] = &cached(&machine)[..] else { panic!("one component was compiled") };
    let other = machine.path("elsewhere");
    let writable = || fs::set_permissions(path, fs::Permissions::from_mode(0o622)).unwrap();
    let second_name = || fs::hard_link(path, &other).unwrap();
    let link = || {
        fs::rename(path, &other).unwrap();
        symlink(&other, path).unwrap();
    };
    let changes: [(&str, &dyn Fn()); 3] = [("writable", &writable), ("a second name", &second_name), ("a link", &link)];
    for (what, change) in changes {
        drop(fs::remove_file(&other));
        change();
        assert!(compiles(&machine, "case"), "{what}");
        assert!(!compiles(&machine, "case"), "{what}");
    }
}

/// `warded policy compile` writes machine code for a program without a compiler into a directory of its own.
fn compiled_elsewhere(machine: &Machine, policy: &str) -> (PathBuf, Vec<u8>) {
    let (component, directory) = (machine.path(&format!("policies/{policy}.wasm")), machine.path("machine-code"));
    let words = ["policy", "compile", component.to_str().unwrap(), directory.to_str().unwrap()];
    machine.warded(words).ends(0).prints(&["Wrote ", &format!("the machine code of {policy} ")]);
    let written = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    assert_eq!(written.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&written).unwrap();
    fs::remove_dir_all(&directory).unwrap();
    (machine.path("state/compiled").join(written.file_name().unwrap()), bytes)
}

#[test]
fn machine_code_that_was_compiled_elsewhere_is_run() {
    let machine = machine();
    let (file, code) = compiled_elsewhere(&machine, "case");
    assert!(!file.exists());
    assert!(compiles(&machine, "other"));
    fs::write(&file, &code).unwrap();
    assert!(!compiles(&machine, "case"));
    let (_, other) = compiled_elsewhere(&machine, "other");
    fs::write(&file, other).unwrap();
    assert!(compiles(&machine, "case"));
}

/// The program that `deploy/dist --without-compiler` builds has the bundled policies' machine code, and runs other
/// policies whose machine code was put in place. It refuses what it would have to compile.
#[test]
#[ignore = "tries the program at WARDED_PROGRAM, which was built without a compiler"]
fn a_program_without_a_compiler_refuses_what_it_cannot_run() {
    let program = env::var_os("WARDED_PROGRAM").expect("WARDED_PROGRAM names a program without a compiler");
    let machine = machine();
    let warded = |words: &[&str]| Run::of(machine.environment(&mut Command::new(&program)).args(words));
    let version = warded(&["version", "--json"]).ends(0).object("warded.version/1");
    assert_eq!(version["compiler"], false);
    let (file, code) = compiled_elsewhere(&machine, "case");
    let component = machine.path("policies/case.wasm");
    let component = component.to_str().unwrap();
    let why = ["the component cannot be compiled", "this program was built without a compiler", "that has a compiler"];
    let next = format!("as root: install -d -m 700 {}", file.parent().unwrap().display());
    warded(&["plan", "go", "--policy", "case"]).ends(5).says(&[&why[..], &[&next]].concat());
    warded(&["policy", "list"]).ends(0).prints(&["cannot be run: the component cannot be compiled"]);
    warded(&["policy", "check", component]).ends(5).says(&why);
    warded(&["policy", "compile", component, machine.path("elsewhere").to_str().unwrap()]).ends(5).says(&why);
    warded(&["policy", "show", "unix"]).ends(0);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::set_permissions(file.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(&file, &code[1..]).unwrap();
    warded(&["plan", "go", "--policy", "case"]).ends(5).says(&["it is incomplete", "install -m 600"]);
    fs::write(&file, code).unwrap();
    warded(&["plan", "go", "--policy", "case"]).ends(0).prints(&["this is case"]);
    warded(&["policy", "check", component]).ends(5).says(&why);
}

/// A component of some hundred KiB that keeps the compiler busy for longer than its time limit. It stays within the
/// memory limit, since each of its functions is compiled by itself.
#[test]
fn a_component_that_takes_too_much_of_a_processor() {
    let machine = Machine::stopped();
    let function = |locals: usize| {
        let changed: String =
            (0..locals).map(|n| format!("(local.set {n} (i64.add (local.get {n}) (i64.const 1)))")).collect();
        let back: String = (0..locals).map(|n| format!("(br_if {n} (i64.eqz (local.get {n})))")).collect();
        let (types, open, close) = ("i64 ".repeat(locals), "(loop ".repeat(locals), ")".repeat(locals));
        format!("(func (local {types}) {open} {changed} {back} {close})")
    };
    let guest = Guest::doing("", &function(250).repeat(120), "");
    Grants::of(&["log = [\"info\"]"]).write(&machine.path("policies"), "busy", "go", &guest.component());
    // Less than the usual 60 s, so that the test does not take that long.
    let mut command = machine.command("prlimit");
    command.args(["--cpu=2:2", env!("CARGO_BIN_EXE_warded"), "plan", "go", "--policy", "busy"]);
    let run = Run::of(machine.environment(&mut command)).ends(5);
    run.says(&["the component cannot be compiled", "too much processor time", "60 s of a processor"]);
    assert!(!machine.path("state/compiled").exists() || cached(&machine).is_empty());
}

/// When there is no room for the machine code of many policies, the oldest is removed.
#[test]
fn the_oldest_machine_code_goes_first() {
    let machine = machine();
    assert!(compiles(&machine, "case"));
    let directory = machine.path("state/compiled");
    let earlier = SystemTime::now() - Duration::from_secs(3600);
    for number in 0..40 {
        let file = fs::File::create(directory.join(format!("old-{number}"))).unwrap();
        file.set_modified(earlier).unwrap();
    }
    assert!(compiles(&machine, "other"));
    assert_eq!(cached(&machine).len(), 32);
    assert!(!compiles(&machine, "case") && !compiles(&machine, "other"));
}

/// Builds the JavaScript folder of `warded policy new` into a policy `banner`, which renews by writing this file again.
fn in_javascript(machine: &Machine, file: &Path) -> PathBuf {
    let binary = env!("CARGO_BIN_EXE_warded");
    let place = machine.path("");
    Run::of(Command::new(binary).current_dir(&place).args(["policy", "new", "banner", "--language", "javascript"]))
        .ends(0);
    let folder = place.join("banner");
    for name in ["policy.toml", "src/guest.js"] {
        let text = fs::read_to_string(folder.join(name)).unwrap().replace("/etc/issue.net", file.to_str().unwrap());
        fs::write(folder.join(name), text.replace("log = [", "renewal = \"set-banner\"\nlog = [")).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.current_dir(&folder).env("npm_config_prefer_offline", "true").args(["ci", "--no-audit", "--no-fund"]);
    Run::of(&mut npm).ends(0);
    Run::of(Command::new(binary).args(["policy", "build"]).arg(&folder)).ends(0);
    folder.join("banner.wasm")
}

#[test]
fn a_renewal_by_an_added_guest_in_javascript_compiles_nothing() {
    if missing::program("npm", "npm") || missing::strace() {
        return;
    }
    let machine = Machine::stopped();
    let file = machine.path("issue.net");
    let component = in_javascript(&machine, &file);
    let add = ["policy", "add", component.to_str().unwrap(), "--accept-risk=unsigned-policy"];
    let digest = warded_lib::digest::Digest::of(&fs::read(&component).unwrap()).to_string();
    let warded = |words: &[&str]| {
        let (run, counts) = counts::warded(&machine, words);
        run.ends(0);
        counts.compilers
    };
    assert_eq!(warded(&[&add[..], &["--yes", "--digest", &digest]].concat()), 1);
    assert_eq!(warded(&["apply", "set-banner", "--set", "line=Welcome.", "--yes"]), 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "Welcome.\n");
    fs::write(&file, "changed\n").unwrap();
    assert_eq!(warded(&["renew"]), 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "Welcome.\n");
    warded(&["undo", "--yes"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "changed\n");
}
