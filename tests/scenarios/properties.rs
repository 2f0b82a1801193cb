//! Properties that hold for random trees and procedures: `apply` does what `plan` showed, a second `apply` writes
//! nothing, and `undo` restores the first state.

use crate::support::{
    Grants, Machine, Run,
    attributes::{whole, wholes},
    enclosure::is_root,
    machine::NAME,
    script::{Argument::Number, Argument::Text, Script},
    trace::{self, Effect},
};
use proptest::{
    bool::weighted,
    collection::{btree_map, vec},
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

/// `by` is a link to `deep`. The grant has it written out, so the link is followed.
const NAMES: [&str; 7] = ["a", "b.conf", "c", "ü", "deep/d", "deep/e f", "by/g"];
/// The modes for which a procedure may ask (the first [`ASKED`]), and those that a file may have before.
const MODES: [u32; 7] = [0o600, 0o640, 0o644, 0o755, 0o400, 0o664, 0o2750];
const ASKED: usize = 5;
const OWNERS: [(u32, u32); 3] = [(0, 0), (0, 42), (7, 7)];
const CASES: u32 = 12;

/// What a procedure does to one file.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>, Option<u32>),
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    contents: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
}

/// Files by name.
type Tree = BTreeMap<&'static str, File>;

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let text = vec("[ -~]{0,12}", 0..6).prop_map(|lines| lines.join("\n").into_bytes());
    // Two such texts differ in several places.
    let alike = vec(weighted(0.8), 14).prop_map(|lines| {
        let kept = lines.iter().enumerate().filter(|(_, is_kept)| **is_kept);
        kept.map(|(number, _)| format!("line {number}\n")).collect::<String>().into_bytes()
    });
    prop_oneof![2 => text, 3 => alike, 1 => vec(any::<u8>(), 0..40), 1 => Just(Vec::new())]
}

fn trees() -> impl Strategy<Value = Tree> {
    let file = (contents(), 0..MODES.len(), 0..OWNERS.len()).prop_map(|(contents, mode, owner)| File {
        contents,
        mode: MODES[mode],
        owner: OWNERS[owner],
    });
    btree_map(name(), file, 0..=NAMES.len())
}

fn name() -> impl Strategy<Value = &'static str> {
    (0..NAMES.len()).prop_map(|index| NAMES[index])
}

fn procedures() -> impl Strategy<Value = Vec<(&'static str, Step)>> {
    let mode = proptest::option::of((0..ASKED).prop_map(|index| MODES[index]));
    let step =
        prop_oneof![3 => (contents(), mode).prop_map(|(text, mode)| Step::Write(text, mode)), 1 => Just(Step::Remove)];
    vec((name(), step), 1..7)
}

#[test]
fn plan_apply_again_undo() {
    let strategy = (trees(), vec(procedures(), 1..3));
    let config = Config { cases: CASES, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let machine = Machine::stopped();
    TestRunner::new(config)
        .run(&strategy, |(first, procedures)| {
            holds(&machine, &first, &procedures);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn holds(machine: &Machine, first: &Tree, procedures: &[Vec<(&'static str, Step)>]) {
    let root = machine.path("tree");
    if root.exists() {
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir_all(root.join("deep")).unwrap();
    symlink("deep", root.join("by")).unwrap();
    for (name, File { contents, mode, owner: (user, group) }) in first {
        let path = root.join(name);
        fs::write(&path, contents).unwrap();
        if is_root() {
            chown(&path, Some(*user), Some(*group)).unwrap();
        }
        // After chown, which clears bits of the mode.
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    // The owner that new files get, which is that of the link, too.
    let own = whole(&root.join("by")).owner;
    let mut states = vec![(wholes(&root), found(&root))];
    let mut kept = 0;
    for procedure in procedures {
        let (before, model) = states.last().unwrap().clone();
        let after = run(model.clone(), own, procedure);
        write(machine, procedure);
        let changed: BTreeSet<(String, &str)> = NAMES
            .into_iter()
            .filter(|name| model.get(name) != after.get(name))
            .map(|name| {
                let action = match (model.get(name), after.get(name)) {
                    (None, _) => "add",
                    (_, None) => "remove",
                    _ => "change",
                };
                (root.join(name).to_str().unwrap().to_owned(), action)
            })
            .collect();

        let plan = machine.warded(["plan", "go", "--policy", "case", "--json"]);
        assert_eq!(plan.code, Some(if changed.is_empty() { 0 } else { 3 }), "{plan:?}");
        let plan = plan.object("warded.plan/1");
        let shown: BTreeSet<(String, &str)> = plan["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| (file["path"].as_str().unwrap().to_owned(), file["action"].as_str().unwrap()))
            .collect();
        assert_eq!(shown, changed, "what the plan shows is what differs");
        assert_eq!(wholes(&root), before, "a plan changes nothing");

        let apply = machine.warded(["apply", "go", "--policy", "case", "--yes", "--json"]).ends(0);
        let done = apply.object("warded.apply/1");
        if !changed.is_empty() {
            assert_eq!(done["review"]["files"], plan["files"], "what is applied is what was shown");
            kept += 1;
            states.push((wholes(&root), after.clone()));
        }
        let real = found(&root);
        assert_eq!(real, after, "the machine is as the plan said");
        assert_eq!(wholes(&root).len(), after.len() + 1, "and nothing else is there but the link");
        for shown in plan["files"].as_array().unwrap() {
            let name = NAMES.into_iter().find(|name| shown["path"] == root.join(name).to_str().unwrap()).unwrap();
            as_shown(shown, model.get(name), real.get(name));
        }
        writes_nothing(machine, &["apply", "go", "--policy", "case", "--yes"], &root);
    }
    for _ in 0..kept {
        states.pop();
        machine.warded(["undo", "--yes"]).ends(0);
        assert_eq!(wholes(&root), states.last().unwrap().0, "as before, byte for byte, modes and owners too");
    }
}

/// The files on the machine that the procedures know.
fn found(root: &Path) -> Tree {
    let file = |name: &'static str| {
        let path = root.join(name);
        let there = path.exists().then(|| whole(&path))?;
        Some((name, File { contents: there.bytes, mode: there.mode & 0o7777, owner: there.owner }))
    };
    NAMES.into_iter().filter_map(file).collect()
}

/// Checks that the plan showed the new mode and the changed lines of a file.
fn as_shown(shown: &Value, before: Option<&File>, after: Option<&File>) {
    let new_mode = after.map(|after| after.mode).filter(|mode| before.is_none_or(|before| before.mode != *mode));
    let mode = shown["mode"].as_str().map(|octal| u32::from_str_radix(octal, 8).unwrap());
    assert_eq!(mode, new_mode, "{shown}");
    let diff: Vec<&str> = shown["diff"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let [old, new] = [before, after].map(|file| file.map_or(&[][..], |file| &file.contents));
    let (Ok(old), Ok(new)) = (str::from_utf8(old), str::from_utf8(new)) else {
        assert!(diff.is_empty(), "these are no texts: {shown}");
        return;
    };
    let lines = |text| str::split_inclusive(text, '\n').collect::<Vec<_>>();
    // Characters that a terminal interprets are shown as escapes, so the lines cannot be compared.
    if ![old, new].concat().contains(|one: char| one.is_control() && one != '\n') {
        assert!(leads(&diff, &lines(old), &lines(new), true), "{diff:?} does not lead from {old:?} to {new:?}");
    }
}

/// Whether this diff turns the old lines into the new ones. Lines that it does not show must be equal on both sides;
/// there may be such lines before it, after it, and where it says so.
fn leads(diff: &[&str], old: &[&str], new: &[&str], may_skip: bool) -> bool {
    let is_alike = !old.is_empty() && old.first() == new.first();
    if may_skip && is_alike && leads(diff, &old[1..], &new[1..], true) {
        return true;
    }
    let Some((shown, rest)) = diff.split_first() else { return old.is_empty() && new.is_empty() };
    let is =
        |lines: &[&str], line: &str| lines.first().is_some_and(|next| next.strip_suffix('\n').unwrap_or(next) == line);
    // Further lines that are not shown may follow the last one that is.
    let more = rest.is_empty();
    if let Some(line) = shown.strip_prefix('-') {
        is(old, line) && leads(rest, &old[1..], new, more)
    } else if let Some(line) = shown.strip_prefix('+') {
        is(new, line) && leads(rest, old, &new[1..], more)
    } else if let Some(line) = shown.strip_prefix(' ') {
        is_alike && is(old, line) && leads(rest, &old[1..], &new[1..], more)
    } else {
        *shown == "…" && leads(rest, old, new, true)
    }
}

/// The same for the shipped procedures. A second `rekey-host` would replace the keys once more, which must be confirmed
/// once more: without the option for that, nothing is written.
#[test]
fn a_second_apply_of_what_ships_writes_nothing() {
    let machine = Machine::start();
    let root = machine.path("ssh");
    let again = |arguments: &[&str]| {
        trace::warded(&machine, arguments).0.ends(0);
        writes_nothing(&machine, arguments, &root);
    };
    again(&["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"]);
    again(&["apply", "revoke-users", "--set", "serial=7", "--yes"]);
    let rekey = ["apply", "rekey-host", "--yes"];
    trace::warded(&machine, &[&rekey[..], &["--accept-risk=replace-host-keys"]].concat()).0.ends(0);
    let run = only_on_record(&machine, &rekey, &root);
    assert!(run.code != Some(0) && run.stderr.contains("replace-host-keys"), "{run:?}");
    again(&["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"]);
    writes_nothing(&machine, &["apply", "revoke-users", "--set", "serial=7", "--yes"], &root);
}

/// Runs the procedure again, and checks that it has nothing to do.
fn writes_nothing(machine: &Machine, arguments: &[&str], root: &Path) {
    let run = only_on_record(machine, arguments, root).ends(0);
    assert!(run.stdout.contains("Nothing to do."), "{}", run.stdout);
}

/// Checks that the run opens only the audit log for writing. It also takes its run number, by making an empty
/// directory. It may remove what killed runs have left in `/tmp`, which the tests share.
fn only_on_record(machine: &Machine, arguments: &[&str], root: &Path) -> Run {
    let before = wholes(root);
    let others: Vec<PathBuf> = fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().path()).collect();
    let (run, effects) = trace::warded(machine, arguments);
    let audit = machine.path("state/audit").to_str().unwrap().to_owned();
    let runs = machine.path("state/runs");
    let changed = |effect: &&Effect| {
        let path = effect.path();
        let number = Path::new(path).parent() == Some(&runs) && !Path::new(path).is_file();
        let is_swept =
            path.starts_with("/tmp/warded-run-") && others.iter().any(|one| Path::new(path).starts_with(one));
        // These belong to the sshd that Warded asks about its configuration: its empty directory, and its own process.
        let is_its_own = ["/dev/", "/proc/self/", "/proc/thread-self/"].iter().any(|own| path.starts_with(own));
        matches!(effect, Effect::Change(_))
            && !number
            && !path.starts_with(&audit)
            && !is_its_own
            && !is_swept
            && path != "/run/sshd"
            // The public status, written at the end of each run.
            && !path.contains("/state-status/")
    };
    assert_eq!(effects.iter().find(changed), None, "a second apply writes nothing: {run:?}");
    assert!(effects.iter().any(|effect| effect.path().starts_with(&audit)), "but it is on record");
    assert_eq!(wholes(root), before);
    run
}

/// What a procedure should make of a tree.
fn run(mut tree: Tree, own: (u32, u32), procedure: &[(&'static str, Step)]) -> Tree {
    let first = tree.clone();
    for (name, step) in procedure {
        match step {
            // Mode and owner of the file on the machine are kept, whatever this run has staged before.
            Step::Write(contents, mode) => {
                let (kept, owner) = first.get(name).map_or((0o644, own), |file| (file.mode, file.owner));
                let mode = mode.unwrap_or(kept);
                tree.insert(name, File { contents: contents.clone(), mode, owner });
            }
            Step::Remove => drop(tree.remove(name)),
        }
    }
    tree
}

/// Writes a policy with a component that does these steps.
fn write(machine: &Machine, procedure: &[(&'static str, Step)]) {
    let mut script = Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
    for (name, step) in procedure {
        let path = format!("{{dir}}/tree/{name}");
        match step {
            Step::Write(contents, mode) => {
                let mode =
                    [Number(i32::from(mode.is_some())), Number(i32::try_from(mode.unwrap_or_default()).unwrap())];
                script.does("files.write", &[&[Text(path.as_bytes()), Text(contents)][..], &mode].concat());
            }
            Step::Remove => drop(script.does("files.remove", &[Text(path.as_bytes())])),
        }
    }
    let at = machine.path("tree").display().to_string();
    let grants = Grants::of(&[&format!("files.write = [\"{at}/*\", \"{at}/deep/*\", \"{at}/by/*\"]")]);
    grants.write(&machine.path("policies"), "case", "go", &script.component());
}
