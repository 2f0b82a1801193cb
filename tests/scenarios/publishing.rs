//! Publishing policies: they are signed, added, updated and removed; and what a hostile publisher could try.

use crate::support::{Grants, Machine, Run, policy, script::Script};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use warded_lib::digest::Digest;

mod bounds;
mod completed;
mod killed;
mod locked;
mod offered;
mod planned;
mod registry;
mod registry_lies;
mod renewal;
mod screens;
mod signers;

const PUBLISHER: &str = "ops@example.org";

/// A publisher's desk with keys, components and signatures, and the machine that adds them.
struct Desk {
    machine: Machine,
}

impl Desk {
    fn new() -> Self {
        Self::on(Machine::stopped())
    }

    fn on(machine: Machine) -> Self {
        fs::create_dir(machine.path("desk")).unwrap();
        let desk = Self { machine };
        desk.key("key");
        desk.trusts(&desk.signer(""));
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.machine.path("desk").join(name)
    }

    fn key(&self, name: &str) {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", self.path(name).to_str().unwrap()]);
    }

    fn public(&self, name: &str) -> String {
        fs::read_to_string(self.path(name).with_extension("pub")).unwrap().trim().to_owned()
    }

    /// A line of allowed_signers for the key, with options.
    fn signer(&self, options: &str) -> String {
        format!("{PUBLISHER} {options} {}\n", self.public("key")).replace("  ", " ")
    }

    fn trusts(&self, list: &str) {
        fs::write(self.machine.path("allowed_signers"), list).unwrap();
    }

    /// A component of a policy `mine` with this version and these grants.
    fn component(&self, version: &str, grants: &[&str]) -> PathBuf {
        let directory = self.path("made");
        fs::create_dir_all(&directory).unwrap();
        Grants::of(grants).write(&directory, "mine", "go", &Script::new("/").component());
        policy::change(&directory, "mine", "[service.ssh]", &format!("version = {version:?}\n[service.ssh]"));
        let file = self.path("mine.wasm");
        fs::rename(directory.join("mine.wasm"), &file).unwrap();
        file
    }

    fn signed(&self, version: &str, grants: &[&str]) -> PathBuf {
        let file = self.component(version, grants);
        self.sign(&file, PUBLISHER, "key").ends(0);
        file
    }

    fn sign(&self, file: &Path, publisher: &str, key: &str) -> Run {
        self.run(&[
            "policy",
            "sign",
            file.to_str().unwrap(),
            "--publisher",
            publisher,
            "--key",
            self.path(key).to_str().unwrap(),
        ])
    }

    fn add(&self, file: &Path, more: &[&str]) -> Run {
        let digest = Digest::of(&fs::read(file).unwrap()).to_string();
        let words = ["policy", "add", file.to_str().unwrap(), "--yes", "--digest", &digest];
        self.run(&[&words, more].concat())
    }

    fn update(&self, file: &Path) -> Run {
        self.run(&["policy", "update", file.to_str().unwrap()])
    }

    fn run(&self, words: &[&str]) -> Run {
        self.recorded(words, || Run::of(self.machine.warded_command([]).args(words)))
    }

    /// Runs a command. If it refuses to accept a component, it must leave one record of that, and otherwise none.
    fn recorded(&self, words: &[&str], run: impl FnOnce() -> Run) -> Run {
        let count = || {
            let log = fs::read_to_string(self.machine.path("state/audit/log.jsonl")).unwrap_or_default();
            let is_refusal = |line: &&str| line.contains("\"kind\":\"failed\",\"capability\":\"policy.");
            log.lines().filter(is_refusal).count()
        };
        let before = count();
        let run = run();
        let accepts = matches!(words, ["policy", "add" | "update" | "load", ..]);
        let expected = usize::from(accepts && run.code == Some(5) && !words.contains(&"--plan"));
        assert_eq!(count() - before, expected, "{words:?}: {run:?}");
        run
    }

    /// All files of the directory of policies, with their contents.
    fn policies(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = fs::read_dir(self.machine.path("policies"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        all.sort();
        all
    }

    /// A rollback checks the component that would be in force before it exchanges anything.
    fn does_not_return_to_another_component(&self) {
        let now = fs::read_to_string(self.machine.path("policies/mine.toml")).unwrap();
        let of_now =
            |path: &Path| now.contains(path.file_stem().unwrap().to_str().unwrap().trim_start_matches("mine-"));
        let all = self.policies();
        let (earlier, bytes) =
            all.iter().find(|(path, _)| path.extension().is_some_and(|one| one == "wasm") && !of_now(path)).unwrap();
        fs::write(earlier, "another").unwrap();
        let (before, logged) = (self.policies(), self.machine.audit());
        for plan in [&[][..], &["--plan"]] {
            let words = [&["policy", "rollback", "mine"], plan].concat();
            self.run(&words).ends(5).says(&["nothing was changed"]);
        }
        assert!(self.policies() == before && self.machine.audit() == logged);
        fs::write(earlier, bytes).unwrap();
    }

    fn version(&self) -> String {
        let list = self.run(&["policy", "list", "--json"]).ends(0).object("warded.policy-list/1");
        let mine = list["policies"].as_array().unwrap().iter().find(|one| one["name"] == "mine");
        mine.map_or_else(String::new, |mine| mine["version"].as_str().unwrap().to_owned())
    }
}

fn keygen(arguments: &[&str]) {
    let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_policy_is_signed_added_updated_and_removed() {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &["files.write = [\"{sshd}/a\", \"/etc/motd\"]"]);
    let run = desk.add(&file, &[]).ends(0);
    for part in [
        "mine 1.0.0 · sha256:",
        "signed by ops@example.org (ED25519 key SHA256:",
        "Its procedures:\n  go: A test\n",
        "  !! go  files.write /etc/motd · make, change and remove this file",
        "   ! go  files.write {sshd}/a",
    ] {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    desk.run(&["plan", "go"]).ends(0);
    let before = desk.policies();
    let again = desk.add(&file, &[]).ends(0);
    assert!(again.stdout.contains("is there already"), "{}", again.stdout);
    assert_eq!(desk.policies(), before);

    // A higher version by the same publisher that requests nothing more is accepted without a question.
    let file = desk.signed("1.10.0", &["files.write = [\"{sshd}/a\"]"]);
    desk.update(&file).ends(0);
    assert_eq!((desk.version().as_str(), desk.policies().len()), ("1.10.0", 11));
    let shown = desk.run(&["policy", "show", "mine"]).ends(0).stdout;
    assert!(shown.contains("signed by ops@example.org (ED25519 key SHA256:"), "{shown}");
    desk.run(&["policy", "rollback", "mine"]).ends(0);
    assert_eq!(desk.version(), "1.0.0");
    desk.run(&["policy", "rollback", "mine"]).ends(0);
    assert_eq!(desk.version(), "1.10.0");
    desk.does_not_return_to_another_component();
    let before = desk.policies();
    for (version, grants, why) in [
        ("1.9.0", &["files.write = [\"{sshd}/a\"]"][..], "version 1.10.0 is there"),
        ("1.11.0", &["files.write = [\"{sshd}/b\"]"], "it asks for more: files.write {sshd}/b (of go)"),
    ] {
        let file = desk.signed(version, grants);
        desk.update(&file).ends(5).says(&[why, "warded policy add"]);
        assert_eq!(desk.policies(), before, "{version}");
    }
    let file = desk.signed("1.9.0", &["files.write = [\"{sshd}/a\"]"]);
    desk.add(&file, &[]).ends(5).says(&["this one is not higher", "--allow-downgrade"]);
    desk.add(&file, &["--allow-downgrade"]).ends(0);
    assert_eq!(desk.version(), "1.9.0");

    desk.run(&["policy", "remove", "unix", "--yes"]).ends(5).says(&["part of this program"]);
    desk.run(&["policy", "remove", "mine"]).ends(2).says(&["no terminal"]);
    desk.run(&["policy", "remove", "mine", "--yes"]).ends(0);
    assert_eq!(desk.policies(), []);
    let log = desk.run(&["audit", "log"]).ends(0).stdout;
    assert!(
        log.contains("policy.add") && log.contains("signed by ops@example.org") && log.contains("policy.remove"),
        "{log}"
    );
}

#[test]
fn nobody_publishes_who_is_not_trusted_to() {
    let desk = Desk::new();
    desk.key("other");
    let file = desk.signed("1.0.0", &[]);
    let refused = |why: &[&str]| {
        desk.add(&file, &[]).ends(5).says(why);
        assert_eq!(desk.policies(), [], "{why:?}");
    };
    // Whom allowed_signers names, for which purpose, and for which time.
    for (list, why) in [
        (format!("other@example.org {}\n", desk.public("key")), "ops@example.org"),
        (format!("{PUBLISHER} {}\n", desk.public("other")), "may make on this machine"),
        (desk.signer("namespaces=\"git\""), "may make on this machine"),
        (desk.signer("valid-before=\"20200101\""), "may make on this machine"),
        (desk.signer("valid-after=\"20990101\""), "may make on this machine"),
        (format!("!{PUBLISHER},*@example.org {}\n", desk.public("key")), "may make on this machine"),
        (format!("* cert-authority {}\n", desk.public("other")), "lets everybody publish policies"),
        (String::new(), "may make on this machine"),
    ] {
        desk.trusts(&list);
        refused(&[why]);
    }
    fs::remove_file(desk.machine.path("allowed_signers")).unwrap();
    refused(&["it is not known who may publish policies"]);
    desk.trusts(&desk.signer("namespaces=\"warded-policy,git\""));
    // Whom revoked_signers names: as a key, in a KRL of ssh-keygen's, or in a file that cannot be read.
    let revoked = desk.machine.path("revoked_signers");
    fs::write(&revoked, desk.public("key")).unwrap();
    refused(&["may make on this machine", "revoked_signers does not have it"]);
    let list = desk.path("list");
    keygen(&["-q", "-k", "-f", list.to_str().unwrap(), desk.path("key.pub").to_str().unwrap()]);
    fs::copy(&list, &revoked).unwrap();
    refused(&["may make on this machine"]);
    fs::write(&revoked, "no key").unwrap();
    refused(&["may make on this machine"]);
    fs::write(&revoked, desk.public("other")).unwrap();

    // What the signature covers.
    let (manifest, signature) = (file.with_extension("wasm.manifest"), file.with_extension("wasm.manifest.sig"));
    let whole = fs::read_to_string(&manifest).unwrap();
    for (from, to, why) in [
        ("version = \"1.0.0\"", "version = \"9.0.0\"", "version is 1.0.0, and the manifest says 9.0.0"),
        ("name = \"mine\"", "name = \"yours\"", "name is mine"),
        ("component = \"sha256:", "component = \"sha256:0", "is not one of this component"),
        (PUBLISHER, "*", "cannot be a publisher's name"),
    ] {
        fs::write(&manifest, whole.replacen(from, to, 1)).unwrap();
        refused(&[why]);
    }
    // The digests are right, but the publisher is not the signer.
    fs::write(&manifest, whole.replace(PUBLISHER, "root@example.org")).unwrap();
    refused(&["is not one that root@example.org may make"]);
    fs::write(&manifest, &whole).unwrap();
    // A signature for another namespace, of other bytes, truncated, or missing.
    let good = fs::read(&signature).unwrap();
    fs::remove_file(&signature).unwrap();
    keygen(&["-q", "-Y", "sign", "-n", "file", "-f", desk.path("key").to_str().unwrap(), manifest.to_str().unwrap()]);
    refused(&["may make on this machine"]);
    for bytes in [&good[..good.len() / 2], b"", b"-----BEGIN SSH SIGNATURE-----\n"] {
        fs::write(&signature, bytes).unwrap();
        refused(&["may make on this machine"]);
    }
    fs::remove_file(&signature).unwrap();
    desk.add(&file, &[]).ends(1).says(&["cannot read"]);
    fs::write(&signature, good).unwrap();
    // Another component with the same signature.
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, [bytes.as_slice(), b"\0\x02\x01a"].concat()).unwrap();
    refused(&["the manifest is not one of this component"]);
    fs::write(&file, bytes).unwrap();
    desk.run(&["policy", "add", file.to_str().unwrap(), "--yes", "--digest", &Digest::of(b"another").to_string()])
        .ends(5)
        .says(&["component is not the one that was named"]);
    desk.add(&file, &[]).ends(0);
}

/// Two files for one name would stop every command, and two readers could understand two requests differently.
#[test]
fn a_policy_lies_in_one_place_and_asks_once() {
    let desk = Desk::new();
    let file = desk.signed("1.0.0", &[]);
    desk.add(&file, &[]).ends(0);
    let policies = desk.machine.path("policies");
    // Adding the same component with other grants is not a downgrade.
    let grants = desk.path("less.toml");
    fs::write(&grants, "name = \"mine\"\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"Less\"\n").unwrap();
    desk.add(&file, &["--grants", grants.to_str().unwrap()]).ends(0);
    for ending in ["toml", "wasm"] {
        let mut all = fs::read_dir(&policies).unwrap().map(|entry| entry.unwrap().path());
        let from = all.find(|path| path.extension().is_some_and(|one| one == ending)).unwrap();
        fs::rename(from, policies.join(format!("elsewhere.{ending}"))).unwrap();
    }
    let before = desk.policies();
    let newer = desk.signed("1.1.0", &[]);
    desk.add(&newer, &[]).ends(5).says(&["policy mine is in ", "elsewhere.toml", "nothing was changed"]);
    desk.update(&newer).ends(5).says(&["policy mine is in "]);
    desk.run(&["policy", "remove", "mine", "--yes"]).ends(5).says(&["policy mine is in "]);
    desk.run(&["policy", "rollback", "mine"]).ends(5).says(&["policy mine is in "]);
    assert_eq!(desk.policies(), before);

    let bytes = fs::read(&newer).unwrap();
    let request = b"\x0dwarded:policyname = 'mine'\n";
    let section = [&[0, u8::try_from(request.len()).unwrap()][..], request].concat();
    fs::write(&newer, [bytes, section].concat()).unwrap();
    desk.sign(&newer, PUBLISHER, "key").ends(5).says(&["more than one request"]);
    desk.run(&["policy", "check", newer.to_str().unwrap()]).ends(5).says(&["more than one request"]);
    // Nor is it accepted if somebody copies it into the directory.
    let text = fs::read_to_string(policies.join("elsewhere.toml")).unwrap();
    let accepted = text.lines().find(|line| line.starts_with("component = ")).unwrap();
    let digest = Digest::of(&fs::read(&newer).unwrap());
    fs::write(policies.join("elsewhere.toml"), text.replace(accepted, &format!("component = \"{digest}\""))).unwrap();
    fs::copy(&newer, policies.join("elsewhere.wasm")).unwrap();
    desk.run(&["policy", "list"]).ends(5).says(&["more than one request"]);
}

#[test]
fn what_nobody_signed_needs_the_risk_by_name() {
    let desk = Desk::new();
    let file = desk.component("1.0.0", &["files.write = [\"{sshd}/*\"]"]);
    let run = desk.add(&file, &[]).ends(5);
    assert!(run.stdout.contains("NOT SIGNED"), "{}", run.stdout);
    run.says(&["nobody has signed this component", "--accept-risk=unsigned-policy"]);
    // An operator can grant less than the component requests, but not more.
    let grants = desk.path("less.toml");
    let text = |path: &str| {
        format!(
            "name = \"mine\"\nversion = \"1.0.0\"\n[procedure.go]\nsummary = \"A test\"\nfiles.write = [\"{path}\"]\n"
        )
    };
    let with = ["--accept-risk", "unsigned-policy", "--grants", grants.to_str().unwrap()];
    fs::write(&grants, text("/etc/motd")).unwrap();
    desk.add(&file, &with).ends(5).says(&["grants what its component does not ask for", "files.write /etc/motd"]);
    let of_another = format!("\"mine\"\ncomponent = \"{}\"", Digest::of(b""));
    for (from, to, why) in [
        ("\"mine\"", of_another.as_str(), "another component of this name"),
        ("1.0.0", "9.0.0", "they name \"9.0.0\", and the component has \"1.0.0\""),
    ] {
        fs::write(&grants, text("{sshd}/motd").replacen(from, to, 1)).unwrap();
        desk.add(&file, &with).ends(5).says(&[why]);
    }
    fs::write(&grants, text("{sshd}/motd")).unwrap();
    desk.add(&file, &with).ends(0);
    let shown = desk.run(&["policy", "show", "mine"]).ends(0).stdout;
    assert!(shown.contains("{sshd}/motd") && !shown.contains("{sshd}/*"), "{shown}");
    // The change from no publisher to one is a decision as well.
    let file = desk.signed("1.1.0", &["files.write = [\"{sshd}/*\"]"]);
    desk.update(&file).ends(5).says(&["nobody signed the one that is there"]);
    desk.add(&file, &[])
        .ends(5)
        .says(&["nobody vouches for the component that is there", "--accept-risk=other-publisher"]);
    desk.add(&file, &["--accept-risk", "other-publisher"]).ends(0);
    let unsigned = desk.component("1.2.0", &["files.write = [\"{sshd}/*\"]"]);
    fs::remove_file(unsigned.with_extension("wasm.manifest")).unwrap();
    fs::remove_file(unsigned.with_extension("wasm.manifest.sig")).unwrap();
    desk.update(&unsigned).ends(5).says(&["nobody has signed it"]);
    assert_eq!(desk.version(), "1.1.0");
}
