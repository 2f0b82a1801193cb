//! Nobody who knows a host key is locked out: clients that have pinned no, one or all host keys, with their default
//! algorithms, connect before and after each command that changes something.

use crate::support::{
    Client, ClientKnowledge, Machine, Peer, Run,
    machine::{KEYS, NAME},
};
use std::fs;

/// Host keys listed one by one, as an administrator or an older Debian does.
const HOST_KEYS: &str = "HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/ssh/ssh_host_ecdsa_key\n\
                         HostKey /etc/ssh/ssh_host_ed25519_key\n";

/// A machine on which the matrix is tried.
trait Subject {
    fn warded(&self, arguments: &[&str]) -> Run;
    fn client(&self, knows: &ClientKnowledge) -> Client<'_>;
    fn keys(&self) -> Vec<String>;
    fn host_key(&self, name: &str) -> String;
    fn authority(&self) -> String;
}

impl Subject for Machine {
    fn warded(&self, arguments: &[&str]) -> Run {
        Run::of(self.warded_command([]).args(arguments))
    }

    fn client(&self, knows: &ClientKnowledge) -> Client<'_> {
        self.client(knows)
    }

    fn keys(&self) -> Vec<String> {
        self.keys().into_iter().map(str::to_owned).collect()
    }

    fn host_key(&self, name: &str) -> String {
        self.host_key(name)
    }

    fn authority(&self) -> String {
        self.authority()
    }
}

impl Subject for Peer {
    fn warded(&self, arguments: &[&str]) -> Run {
        self.warded(arguments)
    }

    fn client(&self, knows: &ClientKnowledge) -> Client<'_> {
        self.client(knows)
    }

    fn keys(&self) -> Vec<String> {
        self.keys()
    }

    fn host_key(&self, name: &str) -> String {
        fs::read_to_string(self.file(&format!("/etc/ssh/ssh_host_{name}_key.pub"))).unwrap()
    }

    fn authority(&self) -> String {
        fs::read_to_string(self.file("/root/ca/host_ca.pub")).unwrap()
    }
}

#[test]
fn this_machines_sshd() {
    matrix(&Machine::start());
}

#[test]
fn openssh_9_2_as_debian_configures_it() {
    Peer::start("bookworm", "").iter().for_each(|peer| matrix(peer));
}

#[test]
fn openssh_10_as_debian_configures_it() {
    Peer::start("trixie", "").iter().for_each(|peer| {
        let version = Run::of(peer.command("ssh").arg("-V")).stderr;
        assert!(version.starts_with("OpenSSH_10."), "{version}");
        matrix(peer);
    });
}

/// This release's fourth default host key has a type that CAs cannot certify yet. sshd still offers it, and the others
/// are certified.
#[test]
fn openssh_10_6_as_debian_configures_it() {
    const NEW: &str = "/etc/ssh/ssh_host_mldsa44_ed25519_key";
    Peer::start("sid", "").iter().for_each(|peer| {
        assert!(peer.keys().contains(&"mldsa44_ed25519".to_owned()), "{:?}", peer.keys());
        let principal = format!("principal={NAME}");
        let plan = peer.warded(&["plan", "certify-host", "--set", &principal]).ends(3);
        let told = format!("{NEW} gets no certificate: keys of the type ssh-mldsa44-ed25519 are not certified");
        assert!(plan.stdout.contains(&told), "{}", plan.stdout);
        let before = fs::read(peer.file(NEW)).unwrap();
        matrix(peer);
        peer.warded(&["apply", "certify-host", "--set", &principal, "--yes"]).ends(0);
        peer.renews_by_cron();
        let status = peer.warded(&["status", "--json"]).ends(0).object("warded.status/1");
        let keys = status["host_keys"].as_array().unwrap();
        let certified = keys.iter().filter(|key| key["served"] == true).count();
        let left_alone =
            |key: &&serde_json::Value| key["left_alone"].as_str().is_some_and(|why| why.contains("mldsa44"));
        assert_eq!((keys.len(), certified, keys.iter().filter(left_alone).count()), (4, 3, 1), "{status:#}");
        peer.warded(&["rekey", "--yes", "--accept-risk=replace-host-keys"]).ends(0);
        peer.client(&ClientKnowledge::Keys(peer.host_key("mldsa44_ed25519"))).connects();
        assert_eq!(fs::read(peer.file(NEW)).unwrap(), before);
    });
}

#[test]
fn openssh_10_with_host_keys_named_and_a_match_at_the_end() {
    let lines = format!("{HOST_KEYS}Match User nobody\n    X11Forwarding no\n");
    Peer::start("trixie", &lines).iter().for_each(|peer| matrix(peer));
}

fn matrix(subject: &dyn Subject) {
    // These clients keep the host keys that they learn.
    let mut clients = vec![("no key at first", subject.client(&ClientKnowledge::Nothing))];
    let mut all = String::new();
    let names = subject.keys();
    for name in &names {
        let key = subject.host_key(name);
        all.push_str(&key);
        clients.push((name.as_str(), subject.client(&ClientKnowledge::Keys(key))));
    }
    clients.push(("all keys", subject.client(&ClientKnowledge::Keys(all))));
    let strict = subject.client(&ClientKnowledge::Authority(subject.authority()));
    let all_connect = |when: &str| {
        let newcomer = ("no key", subject.client(&ClientKnowledge::Nothing));
        for (pinned, client) in clients.iter().chain([&newcomer]) {
            eprintln!("{when}: a client that pinned {pinned}");
            client.connects();
        }
    };

    all_connect("before");
    assert_ne!(strict.tries().code, Some(0), "a client that knows only the CA got in without a certificate");

    let principal = format!("principal={NAME}");
    let certified = subject.warded(&["apply", "certify-host", "--set", &principal, "--yes", "--json"]).ends(0);
    let first = served(&certified.object("warded.apply/1"));
    all_connect("certified");
    assert!(first.contains(&serial(&strict)));

    let renewed = subject.warded(&["renew", "--force", "--json"]).ends(0);
    let renewed = renewed.object("warded.renew/1");
    let second = served(&renewed);
    all_connect("renewed");
    assert!(second.contains(&serial(&strict)));
    assert!(!second.iter().any(|serial| first.contains(serial)), "{first:?} {second:?}");

    subject.warded(&["undo", "--yes", "--down-to", &renewed["run"].to_string()]).ends(0);
    all_connect("renewal undone");
    assert!(first.contains(&serial(&strict)));

    subject.warded(&["undo", "--yes"]).ends(0);
    all_connect("certification undone");
    assert_ne!(strict.tries().code, Some(0), "a client that knows only the CA got in without a certificate");
}

/// The serial numbers of the three certificates that were seen live.
fn served(done: &serde_json::Value) -> Vec<String> {
    let served: Vec<String> =
        done["served"].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect();
    assert_eq!(served.len(), KEYS.len(), "{done}");
    served
}

/// The serial number of the certificate with which a client that knows only the CA got in.
fn serial(strict: &Client<'_>) -> String {
    let said = strict.connects().stderr;
    let (_, rest) = said.split_once("Server host certificate: ").expect("no certificate was served");
    rest.split("serial ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
}
