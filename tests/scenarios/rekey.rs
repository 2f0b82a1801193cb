//! Host keys are replaced, and only where the operator gives the old ones up.

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

/// The fingerprint of a key or of a certificate's key, as ssh-keygen says it.
fn fingerprint(machine: &Machine, file: &str) -> String {
    let run = Run::of(Command::new("ssh-keygen").args(["-l", "-f"]).arg(machine.path(file))).ends(0);
    run.stdout.split_whitespace().nth(1).unwrap().to_owned()
}

/// Size and type of a key, as ssh-keygen says them.
fn kind(machine: &Machine, file: &str) -> String {
    let run = Run::of(Command::new("ssh-keygen").args(["-l", "-f"]).arg(machine.path(file))).ends(0);
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    format!("{} {}", words[0], words[words.len() - 1])
}

/// Each key, its `.pub` and its certificate belong together: the fingerprints.
#[track_caller]
fn pairs(machine: &Machine) -> Vec<String> {
    KEYS.iter()
        .map(|name| {
            let key = format!("ssh/ssh_host_{name}_key");
            // From the private key itself: -y does not look at what lies beside.
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

    // What ends is named, and refused: by a plan, by apply, and by nothing less than this risk.
    let plan = machine.warded(["plan", "rekey-host"]).ends(3);
    for print in &old {
        assert!(plan.stdout.contains(&format!("clients that pinned {print} will warn")), "{}", plan.stdout);
    }
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

    // It goes on as before: what is there is renewed.
    machine.warded(["renew", "--force"]).ends(0);

    // And back, with that renewal, which ends the new ones.
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

/// As on RHEL, whose keys others than root may read, and have a label. Stock sshd reads such a key only where another user
/// than sshd's own has it (`sshkey_perm_ok` in OpenSSH's authfile.c).
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

/// The type is kept, also where it is none of the usual ones; and only what was asked for goes.
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

/// A certificate that sshd does not serve would be refused, and with it all others.
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

/// A cluster of Proxmox VE knows its machines by their RSA keys; its directory is there also while its service is not running.
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

/// Killed before any of the exchanges, whoever rolls it back: afterwards each key has its
/// certificate, all of them are old or all new, and whoever knows them gets in.
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
    // Three files of each of the keys.
    assert!(ended.0 >= 3 * KEYS.len(), "{ended:?}");
    assert!(pairs(&machine).iter().all(|print| !old.contains(print)), "the last one was not killed");
}

/// Waits until a run that was killed is rolled back: by its watchdog, or by this.
#[track_caller]
pub(super) fn rolled_back(machine: &Machine, what: &str) {
    wait(&format!("rolled back: {what}"), LONG, || {
        let is_final = machine.warded(["recover"]).code == Some(0) && journal_is_final(machine);
        // The watchdog tidies up after that.
        is_final && !machine.tree().keys().any(|path| path.to_string_lossy().contains(".warded-"))
    });
}

/// Whether the newest run has ended, one way or the other.
fn journal_is_final(machine: &Machine) -> bool {
    let runs = fs::read_dir(machine.path("state/runs")).unwrap();
    let newest = runs.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u64>().ok()).max().unwrap();
    let run = machine.path(&format!("state/runs/{newest}"));
    // A number that was only taken has no journal.
    let Ok(state) = fs::read_link(run.join("journal.state")) else { return !run.join("journal.json").exists() };
    matches!(state.to_str(), Some("kept" | "rolled-back"))
}

/// Where two policies can, one is chosen, by the option that the refusal names.
#[test]
fn the_policy_is_chosen_where_several_replace_keys() {
    let machine = Machine::start();
    machine.certify();
    // The same policy by another name.
    let bundled = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let policies = machine.path("policies");
    fs::create_dir_all(&policies).unwrap();
    fs::copy(bundled.join("unix.wasm"), policies.join("case.wasm")).unwrap();
    let text = fs::read_to_string(bundled.join("unix.toml")).unwrap();
    fs::write(policies.join("case.toml"), text.replacen("\"unix\"", "\"case\"", 1)).unwrap();
    let before = machine.tree();
    let several = ["more than one policy for this machine has a procedure rekey-host", "choose one with --policy: "];
    machine.warded(["rekey", "--yes"]).ends(2).says(&several).says(&["case", "unix"]);
    // The names were confirmed for the policy that the machine is enrolled with.
    let unconfirmed = "web1.example.org is not a name that the operator confirmed for this machine";
    machine.warded(["rekey", "--yes", "--policy", "case"]).ends(1).says(&[unconfirmed]);
    machine.warded(["rekey", "--yes", "--policy", "unix"]).ends(5).says(&[ACCEPT]);
    machine.warded(["rekey", "--plan", "--policy", "unix"]).ends(3).prints(&["policy unix "]);
    assert_eq!(before, machine.tree());
    machine.warded(["rekey", "--yes", "--policy", "unix", ACCEPT]).ends(0);
    assert_ne!(before, machine.tree());
}
