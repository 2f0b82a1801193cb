//! A certificate that was put in place without a reload: since OpenSSH 9.8 sshd serves the old one until it is
//! reloaded. That gives a renewal something to do, although no file differs.

use crate::support::{
    Client, ClientKnowledge, Machine, Peer, Run,
    machine::NAME,
    wait::{LONG, wait},
};
use std::{fs, process::Command};

const SERIAL: &str = "4711";
const SET: &str = "principal=web1.example.org";

/// Signs the Ed25519 host key anew, as another program might.
fn renewed_by_hand(mut keygen: Command, authority: &str, key: &str) {
    keygen.args(["-q", "-s", authority, "-I", "web1", "-h", "-n", NAME, "-z", SERIAL, "-V", "-1m:+30d"]);
    Run::of(keygen.arg(format!("{key}.pub"))).ends(0);
}

fn sees_it(strict: &Client<'_>) -> bool {
    let said = strict.connects().stderr;
    assert!(said.contains("Server host certificate: "), "{said}");
    said.contains(&format!("serial {SERIAL} "))
}

#[test]
fn openssh_10_is_told_of_it() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    let authority = fs::read_to_string(peer.file("/root/ca/host_ca.pub")).unwrap();
    let strict = peer.client(&ClientKnowledge::Authority(authority));
    peer.warded(&["plan", "renew-host"]).ends(0);
    renewed_by_hand(peer.command("ssh-keygen"), "/root/ca/host_ca", "/etc/ssh/ssh_host_ed25519_key");
    assert!(!sees_it(&strict), "it is served at once: there is nothing to test");

    let plan = peer.warded(&["plan", "renew-host", "--json"]).ends(3).object("warded.plan/1");
    assert_eq!((&plan["pending"], &plan["reloads"][0]), (&true.into(), &"ssh".into()), "{plan}");
    assert!(plan["files"].as_array().unwrap().is_empty());
    let words = peer.warded(&["plan", "renew-host"]).ends(3).stdout;
    assert!(words.contains("serial 4711 is on disk, and not served") && words.contains("would reload ssh"), "{words}");
    assert!(!sees_it(&strict), "a plan changed something");
    peer.warded(&["apply", "renew-host"]).ends(2).says(&["there is no terminal to ask at"]);
    assert!(!sees_it(&strict));

    let done = peer.warded(&["renew", "--json"]).ends(0).object("warded.renew/1");
    assert_eq!(done["served"], serde_json::json!([SERIAL]), "{done}");
    assert!(done["run"].is_null() && done["reloads"][0]["service"] == "ssh", "{done}");
    assert!(sees_it(&strict));
    assert!(peer.warded(&["renew"]).ends(0).stdout.contains("Nothing is due"));
    peer.warded(&["plan", "renew-host"]).ends(0);
    peer.warded(&["audit", "verify"]).ends(0);

    // If sshd would not accept its configuration, it is not reloaded for the certificate.
    let path = peer.file("/etc/ssh/sshd_config");
    let good = fs::read_to_string(&path).unwrap();
    renewed_by_hand(peer.command("ssh-keygen"), "/root/ca/host_ca", "/etc/ssh/ssh_host_ecdsa_key");
    fs::write(&path, format!("Prot 22\n{good}")).unwrap();
    assert_ne!(peer.warded(&["renew"]).code, Some(0));
    fs::write(&path, good).unwrap();
    assert!(peer.warded(&["apply", "renew-host", "--yes"]).ends(0).stdout.contains("1 certificate served"));
    // A run that only reloaded is not recorded as a run of its own: an undo reverts the certification.
    fs::remove_file(peer.file("/etc/ssh/ssh_host_ed25519_key-cert.pub")).unwrap();
    peer.warded(&["undo", "--yes"]).ends(5).says(&["ssh_host_e"]);
}

/// sshd offers the key that it has in memory, and a reload would end that key.
#[test]
fn openssh_10_is_not_reloaded_while_it_offers_a_former_key() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    peer.renews_by_cron();
    let authority = fs::read_to_string(peer.file("/root/ca/host_ca.pub")).unwrap();
    let key = |name: &str| format!("/etc/ssh/ssh_host_{name}_key");
    let read = |path: String| fs::read_to_string(peer.file(&path)).unwrap();
    let certificate = |name: &str| read(format!("{}-cert.pub", key(name)));
    let print = |name: &str| {
        let said = Run::of(peer.command("ssh-keygen").args(["-lf", &format!("{}.pub", key(name))])).ends(0).stdout;
        said.split_whitespace().nth(1).unwrap().to_owned()
    };
    let pinned: Vec<_> = ["ecdsa", "rsa", "ed25519"]
        .map(|name| peer.client(&ClientKnowledge::Keys(read(format!("{}.pub", key(name))))))
        .into();
    let (former, gone) = (print("ecdsa"), print("rsa"));
    let (first, ecdsa) = (certificate("ed25519"), key("ecdsa"));

    // One key is replaced, and one is removed.
    for path in [&ecdsa, &key("rsa")] {
        ["", ".pub"].iter().for_each(|end| fs::remove_file(peer.file(&format!("{path}{end}"))).unwrap());
    }
    Run::of(peer.command("ssh-keygen").args(["-q", "-t", "ecdsa", "-N", "", "-f", &ecdsa])).ends(0);
    let told = [
        format!("its former ecdsa-sha2-nistp256 host key {former}, in whose place {ecdsa} has another one"),
        format!("its former ssh-rsa host key {gone}, which is in none of its files"),
        "kill -HUP".to_owned(),
    ];
    let told: Vec<&str> = told.iter().map(String::as_str).collect();
    peer.warded(&["renew", "--force"])
        .ends(4)
        .prints(&told)
        .prints(&["Not reloaded: ", "the plain keys are offered as before"]);
    assert_ne!(certificate("ed25519"), first, "another key kept it from its certificate");
    let strict = peer.client(&ClientKnowledge::Authority(authority));
    for client in pinned.iter().chain([&strict]) {
        client.connects();
    }
    // Nothing is due any more, and nothing is reloaded.
    for arguments in [&["renew"][..], &["renew", "--plan"], &["status"]] {
        peer.warded(arguments).ends(4).prints(&told);
    }
    let object = peer.warded(&["renew", "--force", "--json"]).ends(4).object("warded.renew/1");
    let mut former_keys: Vec<_> =
        object["former_keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap()).collect();
    former_keys.sort_unstable();
    let mut expected = [former.as_str(), gone.as_str()];
    expected.sort_unstable();
    assert_eq!(former_keys, expected);
    // A run that has to change the configuration is refused: the reload would end the former keys.
    peer.warded(&["apply", "certify-host", "--force", "--set", SET, "--yes"]).ends(5).says(&["no longer offer"]);
    pinned.iter().for_each(|client| drop(client.connects()));

    Run::of(peer.command("sh").args(["-c", "kill -HUP $(cat /run/sshd.pid)"])).ends(0);
    wait("the former keys are gone", LONG, || peer.warded(&["renew"]).code == Some(0));
    // One key is gone for good, and the next apply removes its line.
    peer.warded(&["status"]).ends(4).prints(&["ssh_host_rsa_key-cert.pub, and has no host key for it"]);
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    peer.warded(&["status"]).ends(0);
    strict.connects();
    peer.client(&ClientKnowledge::Keys(read(format!("{ecdsa}.pub")))).connects();
}

/// No file has to change, but there is more to report than that.
#[test]
fn apply_tells_of_a_former_key_where_it_has_nothing_to_change() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    let apply = ["apply", "certify-host", "--set", SET, "--yes"];
    peer.warded(&apply).ends(0);
    peer.warded(&apply).ends(0).prints(&["Nothing to do."]);
    let key = "/etc/ssh/ssh_host_ecdsa_key";
    ["", ".pub"].iter().for_each(|end| fs::remove_file(peer.file(&format!("{key}{end}"))).unwrap());
    Run::of(peer.command("ssh-keygen").args(["-q", "-t", "ecdsa", "-N", "", "-f", key])).ends(0);
    let told = ["Not reloaded: ", "in whose place /etc/ssh/ssh_host_ecdsa_key has another one", "kill -HUP"];
    peer.warded(&["renew"]).ends(4).prints(&told);
    peer.warded(&apply).ends(4).prints(&told).prints(&["Nothing to do."]);
    Run::of(peer.command("sh").args(["-c", "kill -HUP $(cat /run/sshd.pid)"])).ends(0);
    wait("the former key is gone", LONG, || peer.warded(&apply).code == Some(0));
}

#[test]
fn openssh_9_2_serves_it_at_once() {
    let machine = Machine::start();
    machine.certify();
    let key = machine.path("ssh/ssh_host_ed25519_key");
    renewed_by_hand(machine.command("ssh-keygen"), machine.path("ca/host_ca").to_str().unwrap(), key.to_str().unwrap());
    let version = Run::of(machine.command("ssh").arg("-V")).stderr;
    let strict = machine.client(&ClientKnowledge::Authority(machine.authority()));
    if version.starts_with("OpenSSH_9.2") {
        assert!(sees_it(&strict));
        machine.warded(["plan", "renew-host"]).ends(0);
    }
    machine.warded(["renew"]).ends(0);
    assert!(sees_it(&strict));
}
