//! A thousand machines whose OpenSSH penalizes clients that connect often and do not log in, asked by Ansible's module.

use crate::support::{
    Run,
    peer::{self, Peer},
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

const SERVERS: usize = 100;
const NAMES: usize = 10;

/// Starts sshds with the default PerSourcePenalties, each on all addresses, and certified for ten names. The
/// certificate of one more has ended.
const START: &str = r#"
set -e
mkdir /run/many
cd /run/many
server=0
while [ $server -le 100 ]; do
    cp /etc/ssh/ssh_host_ed25519_key.pub $server.pub
    valid=-1h:+30d
    [ $server -lt 100 ] || valid=-2d:-1d
    ssh-keygen -q -s /root/ca/host_ca -I 'a server' -h -V $valid -n "$(seq -s , -f "127.1.$server.%g" 10)" $server.pub
    printf '%s\n' "Port $((3000 + server))" 'HostKey /etc/ssh/ssh_host_ed25519_key' 'LogLevel VERBOSE' \
        "HostCertificate /run/many/$server-cert.pub" "PidFile /run/many/$server.pid" >$server.conf
    /usr/sbin/sshd -f /run/many/$server.conf -E /run/many/$server.log
    server=$((server + 1))
done
"#;

/// Machines with a fault: another name, an ended certificate, a port where nothing listens. Each with its state, and
/// what its cause says.
const FAULTS: [(&str, &str, &str, &str); 3] = [
    ("other.test:3000 127.1.0.1", "other.test", "wrong", "not for this name, but for 127.1.0.1"),
    ("127.1.100.1:3100", "127.1.100.1", "wrong", "it expired at "),
    ("closed.test:9 127.1.0.2", "closed.test", "unknown", "refused"),
];

/// A hundred sshds stand for ten machines each. So each is asked ten times from one address, while a machine of a real
/// fleet is asked once.
#[test]
fn a_thousand_machines_are_asked_without_a_penalty() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    let Some(ansible) = peer::made_by("ansible-core", None) else { return };
    Run::of(peer.command("sh").args(["-c", START])).ends(0);
    let log = |server: usize| fs::read_to_string(peer.file(&format!("/run/many/{server}.log"))).unwrap();
    let mut lines = Vec::new();
    for name in 1..=NAMES {
        lines.extend((0..SERVERS).map(|server| format!("127.1.{server}.{name}:{}", 3000 + server)));
    }
    // Each fault is among good machines.
    for (at, (line, ..)) in FAULTS.iter().enumerate() {
        lines.insert(SERVERS * (2 * at + 1), (*line).to_owned());
    }
    let asked = Asked::by(&peer, &ansible, &lines);
    println!("{} s, {} KiB", asked.seconds, asked.kilobytes);
    assert!(asked.kilobytes < 128 * 1024, "{} KiB", asked.kilobytes);
    assert_eq!((&asked.result["reason"], &asked.result["exit"]), (&"incomplete".into(), &4.into()));
    let told = asked.result["msg"].as_str().unwrap();
    assert!(told.starts_with("clients would not accept 3 of 1003 hosts\n"), "{told}");
    let hosts = asked.result["warded"]["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), SERVERS * NAMES + FAULTS.len());
    let faulty: Vec<&Value> = hosts.iter().filter(|host| host["state"] != "ok").collect();
    assert_eq!(faulty.len(), FAULTS.len(), "{faulty:?}");
    for (host, (_, name, state, cause)) in faulty.into_iter().zip(FAULTS) {
        assert_eq!((&host["name"], &host["state"]), (&name.into(), &state.into()), "{host}");
        assert!(host["cause"].as_str().unwrap().contains(cause) && told.contains(name), "{host}: {told}");
    }
    // sshd counts each connection, and none leads to a penalty.
    let logs: String = (0..=SERVERS).map(log).collect();
    assert!(logs.contains("deferred penalty of 1 seconds for penalty: connections without attempting"), "{}", log(0));
    assert!(!logs.contains("activating") && !logs.contains("drop connection"), "{logs}");

    // Many connections at once to one machine do lead to one.
    let hosts: String = (0..40).map(|number| format!("n{number}.test 127.1.0.1:3000\n")).collect();
    let file = peer.shared().join("hosts");
    fs::write(&file, hosts).unwrap();
    peer.warded(&["verify", "--json", "--hosts", file.to_str().unwrap(), "--at-once", "8"]).ends(4);
    assert!(log(0).contains("activating") && log(0).contains("drop connection"), "{}", log(0));
}

/// What the module `verify` told Ansible, and what the program needed for it.
struct Asked {
    result: Value,
    seconds: f64,
    kilobytes: u64,
}

impl Asked {
    /// Has the real Ansible run the module on this machine, the controller, which shares the network with the servers.
    fn by(peer: &Peer, ansible: &Path, lines: &[String]) -> Self {
        let shared = peer.shared();
        let collections = shared.join("collections");
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        fs::create_dir_all(collections.join("ansible_collections/warded")).unwrap();
        symlink(checkout.join("deploy/ansible"), collections.join("ansible_collections/warded/ssh")).unwrap();
        let (program, measured, config) =
            (shared.join("measured-warded"), shared.join("measured"), shared.join("config"));
        let (warded, figures) = (env!("CARGO_BIN_EXE_warded"), measured.display());
        fs::write(&program, format!("#!/bin/sh\nexec time -f '%e %M' -o {figures} {warded} \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&config, "").unwrap();
        let arguments = json!({
            "hosts": lines, "program": program, "config": config, "ca_key": peer.tree().join("root/ca/host_ca.pub"),
        });
        let mut command = peer.command_beside("env");
        command.args(["-i", "LC_ALL=C.UTF-8", "ANSIBLE_NO_TARGET_SYSLOG=1", "PYTHONDONTWRITEBYTECODE=1"]);
        command.arg(format!("PATH={}:/usr/sbin:/usr/bin:/sbin:/bin", ansible.display()));
        command.arg(format!("HOME={}", shared.display()));
        command.arg(format!("ANSIBLE_COLLECTIONS_PATH={}", collections.display()));
        command.args(["ansible", "localhost", "-m", "warded.ssh.verify", "-a", &arguments.to_string()]);
        let run = Run::of(&mut command).ends(2);
        let (_, result) = run.stdout.split_once("FAILED! => ").unwrap_or_else(|| panic!("{run:?}"));
        let figures = fs::read_to_string(&measured).unwrap();
        // time(1) says before that the program did not end with 0.
        let (seconds, kilobytes) = figures.lines().last().unwrap().split_once(' ').unwrap();
        Self {
            result: serde_json::from_str(result).unwrap_or_else(|error| panic!("{error}: {run:?}")),
            seconds: seconds.parse().unwrap(),
            kilobytes: kilobytes.parse().unwrap(),
        }
    }
}
