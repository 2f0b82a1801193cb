//! What an installed policy may lack, and `policy add` completes: its publisher, its signature, its entry in
//! `policies.lock`.

use super::{
    Desk, PUBLISHER,
    locked::{lock, source},
    registry::ADDS,
};
use serde_json::json;
use std::fs;

#[test]
fn what_a_policy_that_is_there_lacks_is_added() {
    let desk = Desk::new();
    let file = desk.component("1.0.0", &["files.write = [\"{sshd}/a\", \"{sshd}/b\"]"]);
    let add = |more: &[&str]| desk.add(&file, &[&["--json"], more].concat()).ends(0).object("warded.policy-add/1");
    let changed = |more: &[&str]| add(more)["changed"].as_bool().unwrap();
    assert!(changed(&["--accept-risk", "unsigned-policy"]));
    assert!(!changed(&[]) && !lock(&desk).contains("publisher"));
    desk.sign(&file, PUBLISHER, "key").ends(0);
    desk.update(&file).ends(5).says(&["nobody signed the one that is there"]);
    assert!(changed(&[]) && lock(&desk).contains(&format!("publisher = \"{PUBLISHER}\"")), "{}", lock(&desk));
    assert!(!changed(&[]));
    desk.update(&file).ends(0).prints(&["is there already"]);
    let whole = lock(&desk);

    // A file without a signature does not remove the signature that is there.
    let signature = |ending: &str| file.with_extension(format!("wasm.{ending}"));
    for ending in ["manifest", "manifest.sig"] {
        fs::rename(signature(ending), desk.path(ending)).unwrap();
    }
    let before = desk.policies();
    let object = add(&[]);
    assert_eq!((&object["changed"], &object["publisher"]["name"]), (&json!(false), &json!(PUBLISHER)));
    assert_eq!((desk.policies(), lock(&desk)), (before.clone(), whole.clone()));
    for ending in ["manifest", "manifest.sig"] {
        fs::rename(desk.path(ending), signature(ending)).unwrap();
    }

    // Earlier versions of Warded kept no signatures, and had no lock file.
    let archive = desk.path("all.json");
    let save = || desk.run(&["policy", "save", archive.to_str().unwrap()]);
    for (path, _) in before.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "signature")) {
        fs::remove_file(path).unwrap();
    }
    save().ends(5).says(&["the signature of policy mine is not on this machine", "warded policy add mine.wasm"]);
    assert!(changed(&[]) && !changed(&[]));
    fs::remove_file(desk.machine.path("policies.lock")).unwrap();
    save().ends(5).says(&["policies.lock does not name policy mine", "warded policy add mine.wasm"]);
    assert!(changed(&[]) && !changed(&[]));
    assert_eq!(lock(&desk), whole);
    save().ends(0);
    // The suggested command keeps narrowed grants narrowed.
    let (desk, file) = source();
    let whole = lock(&desk);
    fs::remove_file(desk.machine.path("policies.lock")).unwrap();
    let grants = desk.machine.path("policies/mine.toml");
    let grants = grants.to_str().unwrap();
    let refused = desk.run(&["policy", "save", desk.path("all.json").to_str().unwrap()]).ends(5);
    refused.says(&[&format!("warded policy add mine.wasm --grants {grants}")]);
    desk.add(&file, &["--grants", grants]).ends(0).prints(&["is there already"]);
    assert_eq!(lock(&desk), whole);
    // Another policy's file is broken, which does not matter here.
    fs::write(desk.machine.path("policies/broken.toml"), "no policy").unwrap();
    desk.run(&["policy", "remove", "mine", "--yes"]).ends(0);
    assert!(!lock(&desk).contains("[policy"), "{}", lock(&desk));
}

#[test]
fn a_lock_file_brings_publisher_and_signature_to_what_is_there() {
    let desk = Desk::new();
    let file = desk.component("1.0.0", &ADDS);
    desk.add(&file, &["--accept-risk", "unsigned-policy"]).ends(0);
    let list = desk.path("fleet.lock");
    let text = lock(&desk).replace("source =", &format!("publisher = \"{PUBLISHER}\"\nsource ="));
    desk.sign(&file, PUBLISHER, "key").ends(0);
    let add = |more: &[&str]| {
        let directory = file.parent().unwrap().to_str().unwrap();
        let words = ["policy", "add", "--lock", list.to_str().unwrap(), "--from", directory, "--yes", "--json"];
        desk.run(&[&words, more].concat())
    };
    let changed = |more: &[&str]| {
        let object = add(more).ends(0).object("warded.policy-load/1");
        assert_eq!(object["changed"], object["policies"][0]["changed"], "{object}");
        object["changed"].as_bool().unwrap()
    };
    fs::write(&list, &text).unwrap();
    assert!(changed(&[]) && !changed(&[]));
    assert_eq!(lock(&desk), text);
    // An entry that is missing in the lock file is added.
    fs::remove_file(desk.machine.path("policies.lock")).unwrap();
    assert!(changed(&[]) && !changed(&[]));
    assert_eq!(lock(&desk), text);
    // Another publisher of the same component is a decision of the operator's.
    desk.key("other");
    desk.trusts(&format!("{}other@example.org {}\n", desk.signer(""), desk.public("other")));
    for ending in ["wasm.manifest", "wasm.manifest.sig"] {
        fs::remove_file(file.with_extension(ending)).unwrap();
    }
    desk.sign(&file, "other@example.org", "other").ends(0);
    fs::write(&list, text.replace(PUBLISHER, "other@example.org")).unwrap();
    add(&[]).ends(5).says(&["another publisher vouches", "--accept-risk=other-publisher"]);
    assert_eq!(lock(&desk), text);
    assert!(changed(&["--accept-risk", "other-publisher"]) && !changed(&[]));
    assert!(lock(&desk).contains("other@example.org"), "{}", lock(&desk));
}
