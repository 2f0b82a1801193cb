//! A thousand machines whose OpenSSH penalizes clients that connect often and do not log in.

use crate::support::{Run, peer::Peer};
use std::{fmt::Write as _, fs};

const SERVERS: usize = 100;
const NAMES: usize = 10;

/// Starts sshds with the default PerSourcePenalties, each on all addresses, and certified for ten names.
const START: &str = r#"
set -e
mkdir /run/many
cd /run/many
server=0
while [ $server -lt 100 ]; do
    cp /etc/ssh/ssh_host_ed25519_key.pub $server.pub
    ssh-keygen -q -s /root/ca/host_ca -I 'a server' -h -V -1h:+30d -n "$(seq -s , -f "127.1.$server.%g" 10)" $server.pub
    printf '%s\n' "Port $((3000 + server))" 'HostKey /etc/ssh/ssh_host_ed25519_key' 'LogLevel VERBOSE' \
        "HostCertificate /run/many/$server-cert.pub" "PidFile /run/many/$server.pid" >$server.conf
    /usr/sbin/sshd -f /run/many/$server.conf -E /run/many/$server.log
    server=$((server + 1))
done
"#;

/// A hundred sshds stand for ten machines each. So each is asked ten times from one address, while a machine of a real
/// fleet is asked once.
#[test]
fn a_thousand_machines_are_asked_without_a_penalty() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    Run::of(peer.command("sh").args(["-c", START])).ends(0);
    let log = |server: usize| fs::read_to_string(peer.file(&format!("/run/many/{server}.log"))).unwrap();
    let mut hosts = String::new();
    for name in 1..=NAMES {
        for server in 0..SERVERS {
            writeln!(hosts, "127.1.{server}.{name}:{}", 3000 + server).unwrap();
        }
    }
    let file = peer.shared().join("hosts");
    fs::write(&file, hosts).unwrap();
    let verify = ["verify", "--json", "--hosts", file.to_str().unwrap()];
    let object = peer.warded(&verify).ends(0).object("warded.verify/1");
    println!("{} s", object["seconds"]);
    assert_eq!(object["hosts"].as_array().unwrap().len(), SERVERS * NAMES);
    // sshd counts each connection, and none leads to a penalty.
    let logs: String = (0..SERVERS).map(log).collect();
    assert!(logs.contains("deferred penalty of 1 seconds for penalty: connections without attempting"), "{}", log(0));
    assert!(!logs.contains("activating") && !logs.contains("drop connection"), "{logs}");

    // Many connections at once to one machine do lead to one.
    let hosts: String = (0..40).map(|number| format!("n{number}.test 127.1.0.1:3000\n")).collect();
    fs::write(&file, hosts).unwrap();
    peer.warded(&[&verify[..], &["--at-once", "8"]].concat()).ends(4);
    assert!(log(0).contains("activating") && log(0).contains("drop connection"), "{}", log(0));
}
