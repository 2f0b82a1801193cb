//! The plans of commands about policies: they show what would change, and change nothing.

use super::Desk;
use serde_json::Value;
use std::{fs, path::PathBuf};
use warded_lib::digest::Digest;

impl Desk {
    /// The policies, their lock file, and all of Warded's state, including logs and machine code.
    fn kept(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut directories = vec![self.machine.path("state"), self.machine.path("policies")];
        let mut files = vec![self.machine.path("policies.lock")];
        while let Some(directory) = directories.pop() {
            for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() { directories.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap_or_default())).collect()
    }

    /// The object of a plan that has something to change. Checks that nothing has changed afterwards.
    #[track_caller]
    fn plans(&self, words: &[&str], schema: &str) -> Value {
        // This makes the state directory.
        self.run(&["policy", "list"]).ends(0);
        let before = self.kept();
        let said = self.run(&[words, &["--plan"]].concat()).ends(3).stdout;
        assert!(said.contains("Nothing has been changed."), "{said}");
        let object = self.run(&[words, &["--plan", "--json"]].concat()).ends(3).object(schema);
        let names = |kept: Vec<(PathBuf, Vec<u8>)>| kept.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
        let after = self.kept();
        assert!(after == before, "{words:?}: {:?} {:?}", names(before), names(after));
        object
    }
}

#[test]
fn plans_of_policies_change_nothing() {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &["files.write = [\"{sshd}/a\"]"]);
    let add = ["policy", "add", file.to_str().unwrap()];
    let (one, digest) = (desk.path("one.wasm"), Digest::of(&fs::read(&file).unwrap()).to_string());
    let planned = desk.plans(&add, "warded.policy-add/1");
    assert_eq!(
        (&planned["version"], &planned["changed"], &planned["pending"], &planned["component"]),
        (&"1.0.0".into(), &false.into(), &true.into(), &digest.as_str().into())
    );
    desk.run(&[&add[..], &["--plan"]].concat()).ends(3).prints(&["files.write {sshd}/a", "Would add mine 1.0.0."]);
    desk.run(&[&add[..], &["--plan", "--yes"]].concat()).ends(2);
    desk.add(&file, &[]).ends(0);
    let there = desk.run(&[&add[..], &["--plan", "--json"]].concat()).ends(0).object("warded.policy-add/1");
    assert_eq!(there["pending"], false, "{there}");
    for end in ["", ".manifest", ".manifest.sig"] {
        fs::copy(format!("{}{end}", file.display()), format!("{}{end}", one.display())).unwrap();
    }

    // The same for a lock file and an archive.
    let (lock, saved) = (desk.path("fleet.lock"), desk.path("saved.json"));
    fs::copy(desk.machine.path("policies.lock"), &lock).unwrap();
    desk.run(&["policy", "save", saved.to_str().unwrap()]).ends(0);
    let load = ["policy", "load", saved.to_str().unwrap()];
    desk.run(&[&load[..], &["--plan"]].concat()).ends(0).prints(&["mine 1.0.0 is there already."]);
    // An earlier command ended before it wrote the lock file, so that is still to be changed.
    let written = "Would write policy mine into policies.lock.";
    fs::remove_file(desk.machine.path("policies.lock")).unwrap();
    for words in [&load[..], &add] {
        desk.run(&[words, &["--plan"]].concat()).ends(3).prints(&["mine 1.0.0 is there already.", written]);
    }
    desk.plans(&load, "warded.policy-load/1");
    desk.plans(&add, "warded.policy-add/1");
    desk.add(&file, &[]).ends(0);

    // A higher version, and a rollback to the one before.
    let file = desk.signed("1.1.0", &["files.write = [\"{sshd}/a\"]"]);
    let update = ["policy", "update", file.to_str().unwrap()];
    let planned = desk.plans(&update, "warded.policy-add/1");
    assert_eq!((&planned["version"], &planned["replaces"]), (&"1.1.0".into(), &"1.0.0".into()));
    desk.run(&["policy", "rollback", "mine", "--plan"]).ends(5).says(&["there is no earlier version"]);
    desk.update(&file).ends(0);
    let planned = desk.plans(&["policy", "rollback", "mine"], "warded.policy-rollback/1");
    assert_eq!((&planned["version"], &planned["replaces"]), (&"1.0.0".into(), &"1.1.0".into()));
    assert_eq!(desk.version(), "1.1.0");
    desk.run(&["policy", "rollback", "mine"]).ends(0);
    assert_eq!(desk.version(), "1.0.0");

    // A plan is refused if the command would be.
    let wider = desk.signed("1.2.0", &["files.write = [\"{sshd}/b\"]"]);
    let before = desk.kept();
    desk.run(&["policy", "update", wider.to_str().unwrap(), "--plan"]).ends(5).says(&["it asks for more"]);
    assert!(desk.kept() == before, "a refused plan leaves nothing behind");
    desk.run(&["policy", "remove", "unix", "--plan"]).ends(5).says(&["part of this program"]);

    let planned = desk.plans(&["policy", "remove", "mine"], "warded.policy-remove/1");
    assert_eq!(planned["pending"], true);
    assert_eq!(desk.version(), "1.0.0");
    desk.run(&["policy", "remove", "mine", "--yes"]).ends(0);
    let planned = desk.plans(&load, "warded.policy-load/1");
    assert_eq!((&planned["pending"], &planned["policies"][0]["version"]), (&true.into(), &"1.0.0".into()));
    fs::copy(&one, desk.path("mine.wasm")).unwrap();
    for end in [".manifest", ".manifest.sig"] {
        fs::copy(format!("{}{end}", one.display()), format!("{}{end}", desk.path("mine.wasm").display())).unwrap();
    }
    let desk_directory = desk.path("");
    let locked = ["policy", "add", "--lock", lock.to_str().unwrap(), "--from", desk_directory.to_str().unwrap()];
    desk.plans(&locked, "warded.policy-load/1");
    assert_eq!(desk.policies(), []);
}
