//! Host keys are replaced only if the operator accepts the loss of the old ones.

use crate::support::{
    ClientKnowledge, Machine, Peer, Run,
    attributes::{FileAttributes, adorn, whole},
    machine::{Found, KEYS, NAME, keygen},
    step_ca::StepCa,
    wait::{LONG, wait},
};
use std::{collections::BTreeMap, fs, os::unix::fs::chown, path::PathBuf, process::Command};

const REKEY: [&str; 4] = ["apply", "rekey-host", "--yes", "--json"];
const ACCEPT: &str = "--accept-risk=replace-host-keys";

/// The fingerprint of a key or of a certificate's key, as printed by ssh-keygen.
fn fingerprint(machine: &Machine, file: &str) -> String {
    let run = Run::of(Command::new("ssh-keygen").args(["-l", "-f"]).arg(machine.path(file))).ends(0);
    run.stdout.split_whitespace().nth(1).unwrap().to_owned()
}

/// The size and type of a key, as printed by ssh-keygen.
fn kind(machine: &Machine, file: &str) -> String {
    let run = Run::of(Command::new("ssh-keygen").args(["-l", "-f"]).arg(machine.path(file))).ends(0);
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    format!("{} {}", words[0], words[words.len() - 1])
}

/// The fingerprints of the keys. Checks that each key, its `.pub` and its certificate belong together.
#[track_caller]
fn pairs(machine: &Machine) -> Vec<String> {
    KEYS.iter()
        .map(|name| {
            let key = format!("ssh/ssh_host_{name}_key");
            // Derived from the private key itself: `-y` does not read the `.pub` file.
            let public = Run::of(Command::new("ssh-keygen").arg("-y").arg("-f").arg(machine.path(&key))).ends(0).stdout;
            let of = |text: &str| text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            assert_eq!(of(&public), of(&machine.host_key(name)), "{name}");
            let print = fingerprint(machine, &format!("{key}.pub"));
            assert_eq!(print, fingerprint(machine, &format!("{key}-cert.pub")), "{name}");
            print
        })
        .collect()
}

#[test]
fn keys_are_replaced_and_brought_back() {
    let machine = Machine::start();
    machine.certify();
    let (first, old) = (machine.tree(), pairs(&machine));
    let pinned: Vec<_> =
        KEYS.iter().map(|name| machine.client(&ClientKnowledge::Keys(machine.host_key(name)))).collect();

    // The plan names the keys that end. Without the option for exactly this risk, apply is refused.
    let plan = machine.warded(["plan", "rekey-host"]).ends(3);
    for print in &old {
        assert!(plan.stdout.contains(&format!("clients that pinned {print} will warn")), "{}", plan.stdout);
    }
    assert!(plan.stdout.contains(&format!("`apply` refuses that without {ACCEPT}.")), "{}", plan.stdout);
    machine.warded(["rekey", "--plan", ACCEPT]).ends(3).prints(&[&format!("would be refused: accepted by {ACCEPT}.")]);
    let refused = machine.warded(REKEY).ends(5).says(&["host keys", ACCEPT, "nothing was changed"]);
    old.iter().for_each(|print| assert!(refused.stderr.contains(print.as_str()), "{}", refused.stderr));
    machine.warded(["rekey", "--yes"]).ends(5).says(&[ACCEPT]);
    assert_eq!(first, machine.tree());

    let done = Run::of(machine.warded_command(REKEY).arg(ACCEPT)).ends(0).object("warded.apply/1");
    assert_eq!(done["served"].as_array().unwrap().len(), KEYS.len(), "{done}");
    assert_eq!(done["certificates"][0]["principals"][0], NAME);
    let new = pairs(&machine);
    assert!(new.iter().all(|print| !old.contains(print)), "{old:?} {new:?}");
    let modes = |tree: &BTreeMap<PathBuf, Found>| {
        tree.iter().map(|(path, (mode, user, group, _))| (path.clone(), *mode, *user, *group)).collect::<Vec<_>>()
    };
    assert_eq!(modes(&first), modes(&machine.tree()));
    machine.serves_certificates();
    KEYS.iter().for_each(|name| drop(machine.client(&ClientKnowledge::Keys(machine.host_key(name))).connects()));
    pinned.iter().for_each(|client| assert_ne!(client.tries().code, Some(0), "a client that knows the old key got in"));

    // Renewals continue with the new keys.
    machine.warded(["renew", "--force"]).ends(0);

    // The undo reverts that renewal, too. It ends the new keys, so it needs the same option.
    let refused = machine.warded(["undo", "--yes"]).ends(5).says(&[ACCEPT, "nothing was changed"]);
    new.iter().for_each(|print| assert!(refused.stderr.contains(print.as_str()), "{}", refused.stderr));
    assert_eq!(new, pairs(&machine));
    let undone = machine.warded(["undo", "--yes", ACCEPT]).ends(0);
    new.iter().for_each(|print| assert!(undone.stdout.contains(print.as_str()), "{}", undone.stdout));
    assert_eq!(first, machine.tree());
    pinned.iter().for_each(|client| drop(client.connects()));
    machine.serves_certificates();
    let accepted = |record: &serde_json::Value| {
        record["detail"].as_str().is_some_and(|detail| detail.ends_with("accepted: replace-host-keys"))
    };
    assert_eq!(machine.audit().iter().filter(|record| accepted(record)).count(), 2);
}

/// As on RHEL, where the keys have a label and users other than root may read them. Stock sshd accepts such a key only
/// if its owner is another user than the one as whom sshd runs (`sshkey_perm_ok` in OpenSSH's authfile.c).
#[test]
fn a_replaced_key_keeps_owner_group_mode_and_attributes() {
    let machine = Machine::start();
    let key = machine.path("ssh/ssh_host_ed25519_key");
    chown(&key, Some(7), None).unwrap();
    adorn(&key, 0o640, 8);
    machine.certify();
    let before = whole(&key);
    let but_its_bytes = |bytes: Vec<u8>| FileAttributes { bytes, ..before.clone() };
    Run::of(machine.warded_command(REKEY).arg(ACCEPT)).ends(0);
    let after = whole(&key);
    assert_ne!(after.bytes, before.bytes);
    assert_eq!(after, but_its_bytes(after.bytes.clone()));
    drop(machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects());
    machine.warded(["undo", "--yes", ACCEPT]).ends(0);
    assert_eq!(whole(&key), before);
}

/// The key keeps its type, even an unusual one, and only the named key is replaced.
#[test]
fn one_key_of_any_type_is_replaced_alone() {
    for (algorithm, bits) in [("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "4096")] {
        let machine = Machine::stopped();
        let file = format!("ssh/ssh_host_{algorithm}_key");
        let key = machine.path(&file);
        fs::remove_file(&key).unwrap();
        keygen(&["-q", "-N", "", "-C", "mine", "-t", algorithm, "-b", bits, "-f"], &key);
        machine.certify();
        let (old, before) = (pairs(&machine), kind(&machine, &file));
        assert!(before.starts_with(bits), "{before}");
        let key = format!("key={}", key.display());
        Run::of(machine.warded_command(REKEY).args([ACCEPT, "--set", &key])).ends(0);
        let new = pairs(&machine);
        assert_eq!(old.iter().zip(&new).filter(|(old, new)| old != new).count(), 1, "{old:?} {new:?}");
        assert_eq!(kind(&machine, &file), before);
        assert!(machine.host_key(algorithm).trim_end().ends_with(" mine"), "the comment went");
    }
}

/// A certificate that sshd does not serve would be refused, and all others with it. So such a key is left out.
#[test]
fn a_key_that_sshd_hides_keeps_no_other_from_being_replaced() {
    let machine = Machine::stopped();
    machine.certify();
    let (rsa, ed25519) = (machine.host_key("rsa"), machine.host_key("ed25519"));
    let only = "HostKeyAlgorithms ssh-ed25519,ssh-ed25519-cert-v01@openssh.com\n";
    fs::write(machine.config(), fs::read_to_string(machine.config()).unwrap() + only).unwrap();
    let done = Run::of(machine.warded_command(REKEY).arg(ACCEPT)).ends(0).object("warded.apply/1");
    assert!(done["messages"].to_string().contains("ssh_host_rsa_key is not replaced: HostKeyAlgorithms"), "{done}");
    assert_eq!(rsa, machine.host_key("rsa"));
    assert_ne!(ed25519, machine.host_key("ed25519"));
    pairs(&machine);
}

/// A Proxmox VE cluster knows its machines by their RSA keys. Its directory exists even while its service is not
/// running.
#[test]
fn the_key_that_a_cluster_pins_stays() {
    let Some(peer) = Peer::prepared("trixie", |peer| fs::create_dir(peer.file("/etc/pve")).unwrap()) else { return };
    peer.warded(&["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]).ends(0);
    let key = |name: &str| fs::read_to_string(peer.file(&format!("/etc/ssh/ssh_host_{name}_key.pub"))).unwrap();
    let [rsa, ecdsa, ed25519] = ["rsa", "ecdsa", "ed25519"].map(key);
    peer.warded(&["rekey", "--yes", ACCEPT])
        .ends(0)
        .prints(&["ssh_host_rsa_key is not replaced", "Proxmox VE cluster"]);
    assert_eq!(rsa, key("rsa"));
    assert_ne!([ecdsa, ed25519], ["ecdsa", "ed25519"].map(key));
    peer.client(&ClientKnowledge::Keys(rsa)).connects();
}

#[test]
fn what_this_ca_did_not_certify_stays() {
    let machine = Machine::start();
    let run = Run::of(machine.warded_command(REKEY).arg(ACCEPT));
    assert_ne!(run.code, Some(0));
    run.says(&["No host key has a certificate of this CA", "warded apply certify-host"]);
    machine.certify();
    fs::remove_file(machine.path("ssh/ssh_host_rsa_key-cert.pub")).unwrap();
    let (rsa, ecdsa) = (machine.host_key("rsa"), machine.host_key("ecdsa"));
    let done = Run::of(machine.warded_command(REKEY).arg(ACCEPT)).ends(0).object("warded.apply/1");
    assert!(done["messages"].to_string().contains("ssh_host_rsa_key is not replaced"), "{done}");
    assert_eq!(rsa, machine.host_key("rsa"));
    assert_ne!(ecdsa, machine.host_key("ecdsa"));
}

#[test]
fn a_real_step_ca_takes_the_old_keys_word() {
    let machine = Machine::start();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let warded = |arguments: &[&str]| Run::of(machine.warded_command([]).args(arguments).env_remove("WARDED_CA"));
    warded(&["bootstrap", "--ca-url", &ca.url(), "--fingerprint", &ca.fingerprint()]).ends(0);
    let password = ca.password_file();
    let certify = ["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"];
    let credential = ["--provisioner", "admin", "--provisioner-password-file", password.to_str().unwrap()];
    warded(&[&certify[..], &credential[..]].concat()).ends(0);
    let old = pairs(&machine);
    let done = warded(&[&REKEY[..], &[ACCEPT]].concat()).ends(0).object("warded.apply/1");
    assert_eq!(done["served"].as_array().unwrap().len(), KEYS.len(), "{done}");
    assert!(pairs(&machine).iter().all(|print| !old.contains(print)));
    machine.client(&ClientKnowledge::Authority(ca.authority("host"))).connects();
}

/// Killed before any of the exchanges, and rolled back by whichever process: afterwards each key has its certificate,
/// all keys are old or all new, and clients that know them get in.
#[test]
fn no_crash_leaves_a_key_without_its_certificate() {
    let machine = Machine::start();
    machine.certify();
    let (first, old) = (machine.tree(), pairs(&machine));
    let mut ended = (0, 0);
    for when in 1.. {
        let trace = machine.path("trace");
        let mut command = machine.command("strace");
        command.arg("-o").arg(&trace).args(["-e", "trace=renameat2", "-e"]);
        command.arg(format!("inject=renameat2:signal=KILL:when={when}")).arg(env!("CARGO_BIN_EXE_warded"));
        Run::of(machine.environment(&mut command).args(REKEY).arg(ACCEPT));
        if !fs::read_to_string(&trace).expect("strace did not run: is it installed?").contains("killed by SIGKILL") {
            break;
        }
        rolled_back(&machine, &format!("exchange {when}"));
        let now = pairs(&machine);
        if now == old {
            assert_eq!(first, machine.tree(), "exchange {when}");
            ended.0 += 1;
        } else {
            ended.1 += 1;
            assert!(now.iter().all(|print| !old.contains(print)), "exchange {when}: {old:?} {now:?}");
            machine.warded(["undo", "--yes", ACCEPT]).ends(0);
        }
        machine.serves_certificates();
        machine.client(&ClientKnowledge::Keys(machine.host_key("ecdsa"))).connects();
    }
    // There are three files for each key.
    assert!(ended.0 >= 3 * KEYS.len(), "{ended:?}");
    assert!(pairs(&machine).iter().all(|print| !old.contains(print)), "the last one was not killed");
}

/// Waits until a killed run is rolled back, by its watchdog or by this function's `recover`.
#[track_caller]
pub(super) fn rolled_back(machine: &Machine, what: &str) {
    wait(&format!("rolled back: {what}"), LONG, || {
        let is_final = machine.warded(["recover"]).code == Some(0) && journal_is_final(machine);
        // The watchdog removes its temporary files after that.
        is_final && !machine.tree().keys().any(|path| path.to_string_lossy().contains(".warded-"))
    });
}

/// Whether the newest run is kept or rolled back.
fn journal_is_final(machine: &Machine) -> bool {
    let runs = fs::read_dir(machine.path("state/runs")).unwrap();
    let newest = runs.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok()).max().unwrap();
    let run = machine.path(&format!("state/runs/{newest}"));
    // A run number that was only reserved has no journal.
    let Ok(state) = fs::read_link(run.join("journal.state")) else { return !run.join("journal.json").exists() };
    matches!(state.to_str(), Some("kept" | "rolled-back"))
}

/// If two policies have the procedure, the operator chooses one with the option that the error names.
#[test]
fn the_policy_is_chosen_where_several_replace_keys() {
    let machine = Machine::start();
    machine.certify();
    // The same policy under another name.
    let bundled = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let policies = machine.path("policies");
    fs::create_dir_all(&policies).unwrap();
    fs::copy(bundled.join("unix.wasm"), policies.join("case.wasm")).unwrap();
    let text = fs::read_to_string(bundled.join("unix.toml")).unwrap();
    fs::write(policies.join("case.toml"), text.replacen("\"unix\"", "\"case\"", 1)).unwrap();
    let before = machine.tree();
    let several = ["more than one policy for this machine has a procedure rekey-host", "choose one with --policy: "];
    machine.warded(["rekey", "--yes"]).ends(2).says(&several).says(&["case", "unix"]);
    // The operator confirmed the names for the policy with which the machine is enrolled.
    let unconfirmed = "web1.example.org is not a name that the operator confirmed for this machine";
    machine.warded(["rekey", "--yes", "--policy", "case"]).ends(1).says(&[unconfirmed]);
    machine.warded(["rekey", "--yes", "--policy", "unix"]).ends(5).says(&[ACCEPT]);
    machine.warded(["rekey", "--plan", "--policy", "unix"]).ends(3).prints(&["policy unix "]);
    assert_eq!(before, machine.tree());
    machine.warded(["rekey", "--yes", "--policy", "unix", ACCEPT]).ends(0);
    assert_ne!(before, machine.tree());
}
