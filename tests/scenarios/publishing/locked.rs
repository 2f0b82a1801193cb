//! Policies that are added from a registry, recorded in `policies.lock`, and moved to other machines.

use super::{
    Desk, PUBLISHER,
    registry::{ADDS, Registry, moved, public},
};
use crate::support::{Run, missing, policy, script::Script, terminal::Terminal};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use warded_lib::digest::Digest;

fn digest(file: &Path) -> String {
    Digest::of(&fs::read(file).unwrap()).to_string()
}

pub(super) fn lock(desk: &Desk) -> String {
    fs::read_to_string(desk.machine.path("policies.lock")).unwrap()
}

#[test]
fn a_policy_is_added_from_a_registry_and_a_tag_that_moved_is_not_followed() {
    if missing::root() {
        return;
    }
    let desk = Desk::new();
    let registry = Registry::start(&desk);
    registry.has_login(&desk);
    let at = format!("oci://127.0.0.1:{}/policies/mine", registry.port);
    let (latest, first) = (format!("{at}:latest"), format!("{at}:1.0.0"));
    let push = |version: &str, tag: &str| {
        let file = desk.signed(version, &ADDS);
        let pushed = moved(&desk, &["push", file.to_str().unwrap(), tag, "--json"]).ends(0);
        (digest(&file), pushed.object("warded.policy-push/1")["pinned"].as_str().unwrap().to_owned())
    };
    let (component, pinned) = push("1.0.0", &latest);
    push("1.0.0", &first);
    let add = |place: &str, component: &str| moved(&desk, &["add", place, "--yes", "--digest", component]);
    add(&latest, &Digest::of(b"another").to_string()).ends(5).says(&["component is not the one that was named"]);
    assert!(!desk.machine.path("policies.lock").exists());
    add(&latest, &component).ends(0).prints(&["signed by ops@example.org", "Added mine 1.0.0"]);
    let artifact = pinned.rsplit_once('@').unwrap().1.to_owned();
    let before = lock(&desk);
    for line in [
        "[policy.mine]".to_owned(),
        "version = \"1.0.0\"".to_owned(),
        format!("component = \"{component}\""),
        format!("publisher = \"{PUBLISHER}\""),
        format!("source = \"{latest}\""),
        format!("artifact = \"{artifact}\""),
    ] {
        assert!(before.lines().any(|there| there == line), "{line}: {before}");
    }
    add(&latest, &component).ends(0).prints(&["is there already"]);
    assert_eq!(lock(&desk), before);

    moved(&desk, &["update", "mine"]).ends(0).prints(&["is there already"]);
    // The tag moves. An unattended run does not follow it, and a person who is asked sees it.
    let (_, newer) = push("1.1.0", &latest);
    moved(&desk, &["update", "mine"]).ends(5).says(&["the tag has moved since", &artifact, "nothing was changed"]);
    moved(&desk, &["update", &latest]).ends(5).says(&["the tag has moved since", &artifact, "nothing was changed"]);
    moved(&desk, &["add", &latest]).ends(2).says(&["no terminal"]).prints(&["the tag has moved since"]);
    assert_eq!((desk.version().as_str(), lock(&desk)), ("1.0.0", before.clone()));
    moved(&desk, &["update", &newer]).ends(0).prints(&["Added mine 1.1.0 in place of 1.0.0"]);
    assert!(lock(&desk).contains(&format!("source = \"{newer}\"")), "{}", lock(&desk));
    // An earlier version has to be chosen explicitly. A policy that was added by digest does not change.
    moved(&desk, &["update", &pinned]).ends(5).says(&["version 1.1.0 is there, and this one is not higher"]);
    add(&pinned, &component).ends(5).says(&["--allow-downgrade"]);
    moved(&desk, &["update", "mine"]).ends(0).prints(&["mine 1.1.0 is there already"]);
    desk.run(&["policy", "rollback", "mine"]).ends(0);
    assert_eq!(lock(&desk), before);
    desk.run(&["policy", "remove", "mine", "--yes"]).ends(0);
    assert!(!lock(&desk).contains("[policy"), "{}", lock(&desk));

    // Warded asks a mirror instead of the registry, and records the registry.
    let mirror = format!("127.0.0.1:{}", registry.port);
    let elsewhere = "oci://registry.example.org/policies/mine:1.0.0";
    let with = |mirror: &str| moved(&desk, &["add", elsewhere, "--mirror", mirror, "--yes", "--digest", &component]);
    with("127.0.0.1/other").ends(2).says(&["is no mirror"]);
    with(&mirror).ends(0);
    assert!(lock(&desk).contains(&format!("source = \"{elsewhere}\"")), "{}", lock(&desk));

    // On another machine, from the lock file: by digest, wherever the tag points.
    let other = Desk::new();
    other.trusts(&desk.signer(""));
    fs::write(other.path("list.lock"), before).unwrap();
    fs::copy(desk.path("auth.json"), other.path("auth.json")).unwrap();
    let words = ["policy", "add", "--yes", "--plain-http", "--lock"];
    let mut command = desk.machine.network().command(env!("CARGO_BIN_EXE_warded"));
    other.machine.environment(&mut command).args(words).arg(other.path("list.lock"));
    Run::of(command.env("REGISTRY_AUTH_FILE", other.path("auth.json"))).ends(0).prints(&["Added mine 1.0.0"]);
    // Warded asks no registry for what is already there: the other machine's network has none.
    other.run(&["policy", "add", "--lock", other.path("list.lock").to_str().unwrap()]).ends(0);
}

#[test]
fn a_component_comes_from_standard_input_without_a_signature() {
    let desk = Desk::new();
    let file = desk.component("1.0.0", &ADDS);
    let add = |more: &[&str]| {
        let mut command = desk.machine.warded_command(["policy", "add", "-", "--yes", "--digest", &digest(&file)]);
        command.args(more).stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Run::ended(command.spawn().unwrap())
    };
    add(&[]).ends(5).says(&["nobody has signed this component"]);
    add(&["--accept-risk", "unsigned-policy"]).ends(0);
    assert!(lock(&desk).contains("source = \"mine.wasm\""), "{}", lock(&desk));
}

/// A desk whose machine has one policy, with fewer grants than it asks for.
pub(super) fn source() -> (Desk, PathBuf) {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &["files.write = [\"{sshd}/a\", \"{sshd}/b\"]"]);
    let grants = desk.path("less.toml");
    let text =
        "name = \"mine\"\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"A test\"\nfiles.write = [\"{sshd}/a\"]\n";
    fs::write(&grants, text).unwrap();
    desk.add(&file, &["--grants", grants.to_str().unwrap()]).ends(0);
    (desk, file)
}

#[test]
fn one_lock_file_serves_many_machines() {
    let (desk, file) = source();
    let whole = lock(&desk);
    let other = Desk::new();
    other.key("stranger");
    other.trusts(&desk.signer(""));
    let offered = other.path("offered");
    fs::create_dir(&offered).unwrap();
    for ending in ["wasm", "wasm.manifest", "wasm.manifest.sig"] {
        fs::copy(file.with_extension(ending), offered.join(format!("mine.{ending}"))).unwrap();
    }
    let list = other.machine.path("policies.lock");
    let add = |more: &[&str]| {
        let words = ["policy", "add", "--lock", list.to_str().unwrap(), "--from", offered.to_str().unwrap()];
        other.run(&[&words, more].concat())
    };
    add(&["--yes"]).ends(2).says(&["there is no "]);
    for (from, to, why) in [
        (
            "version = \"1.0.0\"\ncomp",
            "version = \"1.0.1\"\ncomp",
            "its version is 1.0.0, and the lock file says 1.0.1",
        ),
        (PUBLISHER, "root@example.org", "its publisher is ops@example.org, and the lock file says root@example.org"),
        ("[policy.mine]", "[policy.yours]", "its name is mine, and the lock file says yours"),
        ("sha256:", "sha256:0", "this is no file of locked policies"),
        ("mine.wasm", "../mine.wasm", "neither a reference nor the name of a file"),
        ("{sshd}/a", "{sshd}/c", "grants what its component does not ask for"),
    ] {
        let changed = whole.replace(from, to);
        assert_ne!(changed, whole, "{from}");
        fs::write(&list, changed).unwrap();
        add(&["--yes"]).ends(5).says(&[why]);
        assert!(other.policies().is_empty(), "{why}");
    }
    // The lock file contains grants, so no user but root may be able to write it.
    fs::write(&list, &whole).unwrap();
    fs::set_permissions(&list, fs::Permissions::from_mode(0o666)).unwrap();
    add(&["--yes"]).ends(5).says(&["could have been written by another user"]);
    fs::set_permissions(&list, fs::Permissions::from_mode(0o644)).unwrap();
    // A package's component must be the one that the lock file names.
    let (there, component) = (offered.join("mine.wasm"), fs::read(&file).unwrap());
    let newer = desk.signed("1.1.0", &["files.write = [\"{sshd}/a\", \"{sshd}/b\"]"]);
    for ending in ["wasm", "wasm.manifest", "wasm.manifest.sig"] {
        fs::rename(there.with_extension(ending), other.path(&format!("kept.{ending}"))).unwrap();
        fs::copy(newer.with_extension(ending), there.with_extension(ending)).unwrap();
    }
    add(&["--yes"]).ends(5).says(&["component is not the one that was named", "policy mine of the lock file"]);
    for ending in ["wasm", "wasm.manifest", "wasm.manifest.sig"] {
        fs::rename(other.path(&format!("kept.{ending}")), there.with_extension(ending)).unwrap();
    }
    assert_eq!(fs::read(&there).unwrap(), component);
    other.trusts(&format!("{PUBLISHER} {}\n", other.public("stranger")));
    add(&["--yes"]).ends(5).says(&["may make on this machine"]);
    other.trusts(&desk.signer(""));

    add(&[]).ends(2).says(&["no terminal"]).prints(&["files.write {sshd}/a"]);
    assert!(other.policies().is_empty());
    let added = add(&["--yes", "--json"]).ends(0).object("warded.policy-load/1");
    assert_eq!((&added["changed"], &added["policies"][0]["name"]), (&json!(true), &json!("mine")));
    let shown = other.run(&["policy", "show", "mine"]).ends(0).stdout;
    assert!(shown.contains("{sshd}/a") && !shown.contains("{sshd}/b"), "{shown}");
    let before = other.policies();
    let again = add(&["--yes", "--json"]).ends(0).object("warded.policy-load/1");
    assert_eq!((&again["changed"], other.policies(), lock(&other)), (&Value::Bool(false), before, whole));

    // A file that is not a lock file stops a change before it begins.
    fs::write(&list, "schema = 1\n").unwrap();
    other.run(&["policy", "remove", "mine", "--yes"]).ends(5).says(&["this is no file of locked policies"]);
    assert_eq!(other.version(), "1.0.0");
}

#[test]
fn what_was_saved_is_loaded_without_network() {
    let (desk, _) = source();
    let file = desk.path("all.json");
    let save = |desk: &Desk| desk.run(&["policy", "save", file.to_str().unwrap(), "--json"]);
    let saved = save(&desk).ends(0).object("warded.policy-save/1");
    assert_eq!((&saved["policies"], &saved["changed"]), (&json!(["mine"]), &json!(true)));
    assert_eq!(save(&desk).ends(0).object("warded.policy-save/1")["changed"], false);

    let other = Desk::new();
    let load = |file: &Path, more: &[&str]| {
        other.run(&[&["policy", "load", file.to_str().unwrap(), "--yes", "--digest", &digest(file)], more].concat())
    };
    save(&other).ends(5).says(&["no policy was added"]);
    load(&file, &[]).ends(5).says(&["may make on this machine"]);
    other.trusts(&desk.signer(""));
    let named = saved["digest"].as_str().unwrap();
    let path = file.to_str().unwrap();
    other.run(&["policy", "load", path, "--yes"]).ends(2);
    let wrong = Digest::of(b"another").to_string();
    let refused = other.run(&["policy", "load", path, "--yes", "--digest", &wrong]);
    refused.ends(5).says(&["file is not the one that was named"]);
    let text = fs::read_to_string(&file).unwrap();
    let component = text.split("\"component\": \"").nth(2).unwrap().split('"').next().unwrap().to_owned();
    for (what, changed, why) in [
        ("torn", text[..text.len() / 2].to_owned(), "no file of saved policies"),
        ("a changed component", text.replace(&component, &component.replacen('A', "B", 1)), "is to have"),
        ("another signer", text.replace("U1NIU0lH", "U1NIU0lI"), "may make on this machine"),
        ("without its signature", unsigned(&text), "nobody has signed this component"),
    ] {
        assert_ne!(changed, text, "{what}");
        let altered = other.path("altered.json");
        fs::write(&altered, changed).unwrap();
        load(&altered, &[]).ends(5).says(&[why]);
        assert!(other.policies().is_empty(), "{what}");
    }
    other.run(&["policy", "load", path]).ends(2).says(&["no terminal"]);
    let run = other.run(&["policy", "load", path, "--yes", "--digest", named, "--json"]);
    assert_eq!(run.ends(0).object("warded.policy-load/1")["changed"], true);
    assert_eq!(lock(&other), lock(&desk));
    let before = other.policies();
    load(&file, &[]).ends(0).prints(&["is there already"]);
    assert_eq!(other.policies(), before);
    assert_eq!(save(&other).ends(0).object("warded.policy-save/1")["changed"], false, "the same bytes");

    // The policy on this machine differs from the lock file.
    fs::write(other.machine.path("policies.lock"), lock(&other).replace("1.0.0\"\ncomp", "0.9.0\"\ncomp")).unwrap();
    save(&other).ends(5).says(&[
        "policy mine on this machine is not the one in policies.lock",
        "--from DIR",
        "warded policy add mine.wasm --grants ",
    ]);
}

/// The same archive without its one signature.
fn unsigned(archive: &str) -> String {
    let mut all: Value = serde_json::from_str(archive).unwrap();
    all["policies"]["mine"]["signed"] = Value::Null;
    all.to_string()
}

/// Policies that were accepted stay. A refusal after them is recorded under its own policy's name.
#[test]
fn a_refusal_after_the_first_policy_is_on_record() {
    let desk = Desk::new();
    let second = |version: &str| {
        let request = format!("name = \"yours\"\nversion = {version:?}\n[procedure.go]\nsummary = \"s\"\n");
        let file = desk.path("yours.wasm");
        fs::write(&file, policy::asking(&Script::new("/").component(), &request)).unwrap();
        desk.sign(&file, PUBLISHER, "key").ends(0);
        file
    };
    let first = desk.signed("1.0.0", &ADDS);
    for file in [&first, &second("1.0.0")] {
        desk.add(file, &[]).ends(0);
    }
    let other = Desk::new();
    other.trusts(&desk.signer(""));
    let list = other.path("list.lock");
    fs::write(&list, lock(&desk)).unwrap();
    let from = first.parent().unwrap().display();
    let line = format!("{} policy add --lock {} --from {from}", env!("CARGO_BIN_EXE_warded"), list.display());
    let mut terminal = Terminal::run(&other.machine, 200, &line, |command| {
        other.machine.environment(command);
    });
    terminal.until("Add 2 policies? [y/N] ");
    other.add(&second("1.1.0"), &[]).ends(0);
    terminal.types("y\n");
    let (code, screen) = terminal.ends();
    assert!(code == 5 && screen.contains("another command has changed policy yours since this was judged"), "{screen}");
    assert!(screen.contains("added: mine"), "{screen}");
    let records = other.machine.audit();
    let refused: Vec<_> = records.iter().filter(|record| record["kind"] == "failed").collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!((&refused[0]["policy"], &refused[0]["capability"]), (&json!("yours"), &json!("policy.add")));
    assert_eq!(refused[0]["need"], list.to_str().unwrap());
}

/// A helper may ask its user, so it runs only when a person is present.
#[test]
fn a_credential_helper_is_run_for_a_person_and_for_nobody_else() {
    if missing::root() {
        return;
    }
    let desk = Desk::new();
    let registry = Registry::start(&desk);
    let (programs, auth) = (desk.path("programs"), desk.path("auth.json"));
    fs::create_dir(&programs).unwrap();
    let helper = programs.join("docker-credential-test");
    let host = format!("127.0.0.1:{}", registry.port);
    let answer = r#"{"Username":"u","Secret":"secret"}"#;
    fs::write(&helper, format!("#!/bin/sh\n[ \"$1 $(cat)\" = \"get {host}\" ] && echo '{answer}'\n")).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&auth, r#"{"credsStore":"test"}"#).unwrap();
    let file = desk.signed("1.0.0", &ADDS);
    let place = format!("oci://{host}/policies/mine:1");
    // A mount namespace puts the helper among the system's programs.
    let line = |words: &str| {
        let mounted = format!("mount --bind {} /usr/local/bin; exec \"$@\"", programs.display());
        format!("unshare --mount sh -ec '{mounted}' sh {} policy {words} --plain-http", env!("CARGO_BIN_EXE_warded"))
    };
    let push = line(&format!("push {} {place}", file.display()));
    let add = line(&format!("add {place} --yes --digest {}", digest(&file)));
    let prepare = |command: &mut Command| {
        desk.machine.environment(command).env("REGISTRY_AUTH_FILE", &auth);
    };
    let unattended = |line: &str| {
        let mut command = desk.machine.command("sh");
        prepare(&mut command);
        Run::of(command.args(["-c", line]))
    };
    unattended(&push).ends(1).says(&["asks for credentials"]);
    let attended = |line: &str| Terminal::run(&desk.machine, 200, line, prepare).ends();
    let (code, screen) = attended(&push);
    assert!(code == 0 && screen.contains("Pushed mine 1.0.0"), "{screen}");
    assert!(!screen.contains("secret"), "{screen}");
    let (code, screen) = attended(&add);
    assert!(code == 1 && screen.contains("asks for credentials"), "{screen}");
    // A helper that has no login for the registry, or is not installed, does not prevent access to a public one.
    let open = format!("oci://127.0.0.1:{}/mine:1", public(&desk.machine.network()));
    let pull = line(&format!("pull {open} -o {}", desk.path("pulled.wasm").display()));
    let says = |text: &str| fs::write(&helper, format!("#!/bin/sh\necho {text}; exit 1\n")).unwrap();
    let store = |name: &str| fs::write(&auth, json!({"credsStore": name}).to_string()).unwrap();
    for (name, note) in [("test", ""), ("absent", "docker-credential-absent: no such program is installed")] {
        says("credentials not found in native keychain");
        store(name);
        let (code, screen) = attended(&pull);
        assert!(code == 0 && screen.contains(note), "{screen}");
        let (code, screen) = attended(&push);
        assert!(code == 1 && screen.contains("asks for credentials"), "{screen}");
    }
    store("test");
    says("the keychain is locked");
    let (code, screen) = attended(&push);
    assert!(code == 1 && screen.contains("the keychain is locked"), "{screen}");
    fs::write(&auth, r#"{"credsStore":"../test"}"#).unwrap();
    unattended(&push).ends(5).says(&["names a helper with an invalid name"]);
    // Root uses no credentials that somebody else could have written.
    registry.has_login(&desk);
    fs::set_permissions(&auth, fs::Permissions::from_mode(0o666)).unwrap();
    unattended(&push).ends(5).says(&["could have been written by another user"]);
    fs::set_permissions(&auth, fs::Permissions::from_mode(0o600)).unwrap();
    unattended(&add).ends(0);
}
