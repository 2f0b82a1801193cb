//! Unusual host keys. Keys that sshd ignores do not affect the others, and it does not matter by which path a key is
//! named.

use crate::support::{
    ClientKnowledge, Machine, Run,
    machine::{KEYS, NAME, Setup, keygen},
    wait::{LONG, wait},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Child, Stdio},
};

/// A machine without an RSA key whose sshd has not been started.
fn prepared() -> Machine {
    Machine::with(&Setup { stopped: true, without_rsa: true, ..Setup::default() })
}

/// Adds a line at the beginning of sshd's main configuration file.
fn configure(machine: &Machine, line: &str) {
    let config = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), format!("{line}\n{config}")).unwrap();
}

/// Certifies, renews, rekeys and undoes. `certified` are the host keys that must be certified, by name.
#[track_caller]
fn through(machine: &Machine, certified: &[&str]) {
    let before = machine.tree();
    let pinned: Vec<_> =
        machine.keys().iter().map(|name| machine.client(&ClientKnowledge::Keys(machine.host_key(name)))).collect();
    let all_connect = || pinned.iter().for_each(|client| drop(client.connects()));
    let serves = || {
        machine.serves_certificates();
        let status = machine.warded(["status", "--json"]).ends(0).object("warded.status/1");
        let served = status["host_keys"].as_array().unwrap().iter().filter(|key| key["served"] == true);
        let names = served.map(|key| key["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names, certified, "{status:#}");
    };
    machine.certify();
    serves();
    all_connect();
    machine.warded(["renew", "--force"]).ends(0);
    serves();
    all_connect();
    machine.warded(["rekey", "--yes", "--accept-risk=replace-host-keys"]).ends(0);
    serves();
    machine.warded(["undo", "--yes", "--accept-risk=replace-host-keys"]).ends(0);
    serves();
    all_connect();
    for _ in 0..2 {
        machine.warded(["undo", "--yes"]).ends(0);
    }
    assert_eq!(before, machine.tree());
}

const STOCK: [&str; 2] = ["ssh_host_ecdsa_key", "ssh_host_ed25519_key"];

#[test]
fn keys_that_sshd_ignores_are_named_and_left_alone() {
    let mut machine = prepared();
    let at = |name: &str| machine.path("ssh").join(name);
    keygen(&["-q", "-t", "ecdsa", "-b", "384", "-N", "secret", "-f"], &at("secret"));
    keygen(&["-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f"], &at("open"));
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o640)).unwrap();
    keygen(&["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"], &at("short"));
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &at("second"));
    fs::write(at("empty"), "").unwrap();
    let named = [
        ("secret", "it has a passphrase"),
        ("open", "its mode is 0640"),
        ("short", "RSA key of 1024 bits"),
        ("second", "ssh_host_ed25519_key comes first"),
        ("empty", "the file is empty"),
        ("gone", "there is no such file"),
    ];
    let lines: Vec<String> = named.iter().map(|(name, _)| format!("HostKey {}", at(name).display())).collect();
    // After the machine's own keys: sshd offers the first key of a type.
    let config = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), format!("{config}{}\n", lines.join("\n"))).unwrap();
    machine.serve();
    let plan = machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(3);
    for (name, why) in named {
        let path = machine.path("ssh").join(name);
        let told = plan.stdout.lines().find(|line| line.contains(&format!("{} gets no certificate", path.display())));
        assert!(told.is_some_and(|line| line.contains(why)), "{name}: {}", plan.stdout);
    }
    through(&machine, &STOCK);
}

/// If a key becomes unusable after it was certified, clients that know only the CA cannot connect.
#[test]
fn a_certified_key_that_sshd_ignores_since_is_a_problem() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    let key = machine.path("ssh/ssh_host_ecdsa_key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let status = machine.warded(["status", "--json"]).ends(4).object("warded.status/1");
    let problems = status["problems"].to_string();
    assert!(problems.contains("its mode is 0644"), "{problems}");
}

/// The others are renewed, and the exit code says that not all are.
#[test]
fn a_damaged_key_keeps_no_other_from_renewal() {
    let machine = Machine::stopped();
    machine.certify();
    let certificate =
        |name: &str| fs::read_to_string(machine.path(&format!("ssh/ssh_host_{name}_key-cert.pub"))).unwrap();
    let before = KEYS.map(certificate);
    fs::write(machine.path("ssh/ssh_host_rsa_key"), "damaged\n").unwrap();
    let told =
        ["ssh_host_rsa_key gets no certificate: sshd does not offer it: no key can be read from it", "ssh-keygen"];
    machine.warded(["renew", "--force"]).ends(4).prints(&["Certified 2 keys"]).prints(&told);
    for (name, before) in KEYS.iter().zip(before) {
        assert_eq!(certificate(name) == before, *name == "rsa", "{name}");
    }
    machine.warded(["renew"]).ends(4).prints(&told);
    machine.warded(["status"]).ends(4).prints(&["no key can be read from it"]);
}

#[test]
fn without_a_key_that_can_be_certified_all_are_named() {
    let machine = prepared();
    for name in ["ecdsa", "ed25519"] {
        let key = machine.path(&format!("ssh/ssh_host_{name}_key"));
        keygen(&["-q", "-p", "-P", "", "-N", "secret", "-f"], &key);
    }
    let run = machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(1);
    run.says(&["no-host-key", "ssh_host_ecdsa_key: sshd does not offer it: it has a passphrase", "ssh-keygen -p"]);
}

/// Moves a key from its file into an agent on the machine.
fn agent_with(machine: &Machine, key: &Path, socket: &Path) -> Child {
    let agent = machine.command("ssh-agent").arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).spawn().unwrap();
    wait("the agent listens", LONG, || socket.exists());
    Run::of(machine.command("ssh-add").env("SSH_AUTH_SOCK", socket).arg("-q").arg(key)).ends(0);
    fs::remove_file(key).unwrap();
    agent
}

#[test]
fn a_key_in_an_agent_is_certified() {
    let mut machine = prepared();
    let (key, socket) = (machine.path("ssh/tpm"), machine.path("agent"));
    keygen(&["-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f"], &key);
    let mut agent = agent_with(&machine, &key, &socket);
    configure(&machine, &format!("HostKeyAgent {}\nHostKey {}.pub", socket.display(), key.display()));
    machine.serve();
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let pinned = machine.client(&ClientKnowledge::Keys(public));
    pinned.connects();
    through(&machine, &["ssh_host_ecdsa_key", "ssh_host_ed25519_key", "tpm"]);
    pinned.connects();
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// sshd still offers the key, but cannot sign with it.
#[test]
fn a_key_that_its_agent_lost_keeps_no_other_from_its_certificate() {
    let mut machine = prepared();
    let (key, socket) = (machine.path("ssh/tpm"), machine.path("agent"));
    keygen(&["-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f"], &key);
    let kept = machine.path("kept");
    fs::copy(&key, &kept).unwrap();
    let mut agent = agent_with(&machine, &key, &socket);
    configure(&machine, &format!("HostKeyAgent {}\nHostKey {}.pub", socket.display(), key.display()));
    machine.serve();
    machine.certify();
    let certificate = |name: &str| fs::read(machine.path(&format!("ssh/{name}-cert.pub"))).unwrap();
    let add = |arguments: &[&str]| {
        Run::of(machine.command("ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-q").args(arguments)).ends(0);
    };
    let renews_the_others = |told: &[&str]| {
        let before = ["tpm", "ssh_host_ed25519_key"].map(certificate);
        machine.warded(["renew", "--force"]).ends(4).prints(told);
        assert_eq!(certificate("tpm"), before[0]);
        assert_ne!(certificate("ssh_host_ed25519_key"), before[1]);
        machine.warded(["status"]).ends(4).prints(told);
        machine.serves_certificates();
    };
    add(&["-d", &format!("{}.pub", key.display())]);
    renews_the_others(&["does not have its private key", "ssh-add FILE"]);
    add(&[kept.to_str().unwrap()]);
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["status"]).ends(0);

    // sshd itself notices that the agent is gone once it is restarted.
    fs::remove_file(&socket).unwrap();
    renews_the_others(&["no agent has the private one", "start that agent before sshd"]);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

/// sshd reads its files through links, and Warded certifies and renews the machine through them.
#[test]
fn links_lead_to_the_keys_and_to_the_directory() {
    let mut machine = prepared();
    fs::create_dir(machine.path("data")).unwrap();
    let (link, real) = (machine.path("ssh/ssh_host_ecdsa_key"), machine.path("data/host key"));
    fs::rename(&link, &real).unwrap();
    symlink(&real, &link).unwrap();
    machine.serve();
    through(&machine, &STOCK);

    let mut machine = prepared();
    fs::rename(machine.path("ssh"), machine.path("persist")).unwrap();
    symlink("persist", machine.path("ssh")).unwrap();
    machine.serve();
    through(&machine, &STOCK);

    let mut machine = prepared();
    fs::create_dir(machine.path("live")).unwrap();
    let certificate = machine.path("ssh/ssh_host_ecdsa_key-cert.pub");
    fs::write(machine.path("live/ecdsa"), "").unwrap();
    symlink("../live/ecdsa", &certificate).unwrap();
    machine.serve();
    through(&machine, &STOCK);
    assert!(certificate.symlink_metadata().unwrap().is_symlink());
}

/// Another tool kept the certificates elsewhere, and has been removed.
#[test]
fn a_link_at_the_certificates_path_may_lead_nowhere() {
    let mut machine = prepared();
    let certificate = machine.path("ssh/ssh_host_ecdsa_key-cert.pub");
    symlink("none", &certificate).unwrap();
    machine.serve();
    through(&machine, &STOCK);
    assert!(certificate.symlink_metadata().unwrap().is_symlink());

    fs::remove_file(&certificate).unwrap();
    symlink("../gone/none", &certificate).unwrap();
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes"]).ends(1);
    run.says(&["is a link to ../gone/none, whose directory does not exist", "next:", "rm ", "nothing was changed"]);
    assert_eq!(before, machine.tree());
}

#[test]
fn other_spellings_of_a_path_are_taken() {
    let mut machine = prepared();
    let config = fs::read_to_string(machine.config()).unwrap();
    let spelled = config.replace("/ssh/ssh_host_", "//ssh/./ssh_host_").replace("/sshd_config.d", "//sshd_config.d");
    assert_ne!(config, spelled);
    fs::write(machine.config(), spelled).unwrap();
    machine.serve();
    through(&machine, &STOCK);
}

#[test]
fn a_path_with_two_dots_is_a_path() {
    let mut machine = prepared();
    let config = fs::read_to_string(machine.config()).unwrap();
    let roundabout = config.replace("/ssh/ssh_host_ed25519_key", "/ssh/../ssh/ssh_host_ed25519_key");
    assert_ne!(config, roundabout);
    fs::write(machine.config(), roundabout).unwrap();
    machine.serve();
    through(&machine, &STOCK);
}

/// A client that knows only this key would take the other key's certificate for a changed host key.
#[test]
fn a_preferred_key_that_would_be_the_only_one_without_a_certificate() {
    let mut machine = prepared();
    let key = machine.path("ssh/ssh_host_ed25519_key");
    fs::hard_link(&key, machine.path("ssh/linked")).unwrap();
    machine.serve();
    let before = machine.tree();
    let pinned = machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519")));
    pinned.connects();
    let apply = ["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"];
    let unproved = "clients that know only the ssh-ed25519 host key: it has no certificate";
    let told = "clients that know only sshd's ssh-ed25519 host key would be refused";
    let plan = machine.warded(["plan", "certify-host", "--set", "principal=web1.example.org"]).ends(3);
    plan.prints(&[unproved, "would be refused: `apply` refuses that without --accept-risk=replace-host-keys."]);
    machine.warded(apply).ends(5).says(&[told, "--accept-risk=replace-host-keys"]);
    assert_eq!(before, machine.tree());
    pinned.connects();
    let risk = "--accept-risk=replace-host-keys";
    let [a, b, c, d, e] = apply;
    machine.warded([a, b, c, d, e, risk]).ends(0).prints(&[&format!("Not proved: {unproved}")]);
    machine.warded(["renew", "--force"]).ends(4).prints(&["Not proved: ", unproved]);
    machine.warded(["undo", "--yes"]).ends(0);
    pinned.connects();
}
