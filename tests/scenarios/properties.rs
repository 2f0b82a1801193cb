//! What always holds, over trees and procedures that nobody thought of: what `apply` does is what
//! `plan` showed, a second one writes nothing, and `undo` gives back the first state.

use crate::support::{
    Grants, Machine, Run,
    machine::{NAME, tree},
    script::{Argument::Number, Argument::Text, Script},
    trace::{self, Effect},
};
use proptest::{
    collection::{btree_map, vec},
    prelude::{Just, Strategy, any, prop_oneof},
    test_runner::{Config, TestRunner},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

const NAMES: [&str; 6] = ["a", "b.conf", "c", "ü", "deep/d", "deep/e f"];
const MODES: [u32; 5] = [0o600, 0o640, 0o644, 0o755, 0o400];
const CASES: u32 = 12;

/// What a procedure does to one file.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>, Option<u32>),
    Remove,
}

/// Files with their modes, by name.
type Tree = BTreeMap<&'static str, (Vec<u8>, u32)>;

fn contents() -> impl Strategy<Value = Vec<u8>> {
    let text = vec("[ -~]{0,12}", 0..6).prop_map(|lines| lines.join("\n").into_bytes());
    prop_oneof![3 => text, 1 => vec(any::<u8>(), 0..40), 1 => Just(Vec::new())]
}

fn trees() -> impl Strategy<Value = Tree> {
    let mode = (0..MODES.len()).prop_map(|index| MODES[index]);
    btree_map(name(), (contents(), mode), 0..NAMES.len())
}

fn name() -> impl Strategy<Value = &'static str> {
    (0..NAMES.len()).prop_map(|index| NAMES[index])
}

fn procedures() -> impl Strategy<Value = Vec<(&'static str, Step)>> {
    let mode = proptest::option::of((0..MODES.len()).prop_map(|index| MODES[index]));
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
    for (name, (contents, mode)) in first {
        fs::write(root.join(name), contents).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(*mode)).unwrap();
    }
    let mut states = vec![(tree(&root), first.clone())];
    let mut kept = 0;
    for procedure in procedures {
        let (before, model) = states.last().unwrap().clone();
        let after = run(model.clone(), procedure);
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
        assert_eq!(tree(&root), before, "a plan changes nothing");

        let apply = machine.warded(["apply", "go", "--policy", "case", "--yes", "--json"]).ends(0);
        let done = apply.object("warded.apply/1");
        if !changed.is_empty() {
            assert_eq!(done["review"]["files"], plan["files"], "what is applied is what was shown");
            kept += 1;
            states.push((tree(&root), after.clone()));
        }
        let real: Tree = NAMES
            .into_iter()
            .filter_map(|name| {
                let (mode, _, _, contents) = tree(&root).remove(&root.join(name))?;
                Some((name, (contents, mode & 0o7777)))
            })
            .collect();
        assert_eq!(real, after, "the machine is as the plan said");
        assert_eq!(tree(&root).len(), after.len(), "and nothing else is there");
        writes_nothing(machine, &["apply", "go", "--policy", "case", "--yes"], &root);
    }
    for _ in 0..kept {
        states.pop();
        machine.warded(["undo", "--yes"]).ends(0);
        assert_eq!(tree(&root), states.last().unwrap().0, "as before, byte for byte, modes too");
    }
}

/// The procedures that ship, too. A second `rekey-host` is a wish for other keys once more, which has to be
/// confirmed once more: without the word for it nothing is written.
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

/// The procedure again: it has nothing to do.
fn writes_nothing(machine: &Machine, arguments: &[&str], root: &Path) {
    let run = only_on_record(machine, arguments, root).ends(0);
    assert!(run.stdout.contains("Nothing to do."), "{}", run.stdout);
}

/// Nothing is opened for writing but the audit log; the run's number is taken, by an empty directory.
fn only_on_record(machine: &Machine, arguments: &[&str], root: &Path) -> Run {
    let before = tree(root);
    let (run, effects) = trace::warded(machine, arguments);
    let audit = machine.path("state/audit").to_str().unwrap().to_owned();
    let runs = machine.path("state/runs");
    let changed = |effect: &&Effect| {
        let path = effect.path();
        let number = Path::new(path).parent() == Some(&runs) && !Path::new(path).is_file();
        // Of sshd's, which is asked what its configuration says: its empty directory, and its own process.
        let is_its_own = ["/dev/", "/proc/self/", "/proc/thread-self/"].iter().any(|own| path.starts_with(own));
        matches!(effect, Effect::Change(_))
            && !number
            && !path.starts_with(&audit)
            && !is_its_own
            && path != "/run/sshd"
    };
    assert_eq!(effects.iter().find(changed), None, "a second apply writes nothing");
    assert!(effects.iter().any(|effect| effect.path().starts_with(&audit)), "but it is on record");
    assert_eq!(tree(root), before);
    run
}

/// What a procedure should make of a tree.
fn run(mut tree: Tree, procedure: &[(&'static str, Step)]) -> Tree {
    let first = tree.clone();
    for (name, step) in procedure {
        match step {
            // The mode of what is on the machine is kept, whatever this run has staged before.
            Step::Write(contents, mode) => {
                let mode = mode.unwrap_or_else(|| first.get(name).map_or(0o644, |(_, mode)| *mode));
                tree.insert(name, (contents.clone(), mode));
            }
            Step::Remove => drop(tree.remove(name)),
        }
    }
    tree
}

/// Writes the policy and the component that does it.
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
    let grants = Grants::of(&[&format!("files.write = [\"{at}/*\", \"{at}/deep/*\"]")]);
    grants.write(&machine.path("policies"), "case", "go", &script.component());
}
