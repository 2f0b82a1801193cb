//! The guard where sshd counts connections, penalizes them, or does not listen itself.

use crate::support::{ClientKnowledge, Machine, Peer, Run, Setup, machine::NAME, missing};
use std::{
    fs,
    net::TcpListener,
    os::fd::OwnedFd,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

const SET: &str = "principal=web1.example.org";

/// Certifies, renews and undoes both.
fn through(peer: &Peer) {
    for command in [
        &["apply", "certify-host", "--set", SET, "--yes"][..],
        &["renew", "--force"],
        &["undo", "--yes"],
        &["undo", "--yes"],
    ] {
        peer.warded(command).ends(0);
    }
}

/// Warded's own probes cause no error: they come from many addresses, one after the other.
#[test]
fn tight_penalties_and_few_startups_are_no_obstacle() {
    let tight = "PerSourcePenalties crash:90s authfail:60s noauth:60s grace-exceeded:60s min:1s max:600s\n\
                 MaxStartups 1:100:1\nPerSourceMaxStartups 1\n";
    let Some(peer) = Peer::start("trixie", tight) else { return };
    let effective = Run::of(peer.command("/usr/sbin/sshd").arg("-T")).ends(0).stdout;
    assert!(effective.contains("maxstartups 1:100:1\n") && effective.contains("noauth:60"), "{effective}");
    through(&peer);
}

/// TCP wrappers let one address of this machine in, and no other.
#[test]
fn tcp_wrappers_that_turn_probes_away_are_no_obstacle() {
    let peer = Peer::prepared("bookworm", |peer| {
        fs::write(peer.file("/etc/hosts.deny"), "ALL: ALL\n").unwrap();
        fs::write(peer.file("/etc/hosts.allow"), "sshd: 127.0.0.1\n").unwrap();
    });
    let Some(peer) = peer else { return };
    let mut other = peer.command("ssh");
    other.args(["-F", "none", "-o", "BatchMode=yes", "-b", "127.0.0.2", "127.0.0.1"]);
    Run::of(&mut other).ends(255).says(&["kex_exchange_identification"]);
    through(&peer);
}

/// The only address is not a loopback address, and sshd penalizes clients that connect without a login.
#[test]
fn strict_penalties_on_another_address_are_no_obstacle() {
    let lines = "ListenAddress 10.9.9.9\nPerSourcePenalties crash:90s authfail:15s noauth:15s refuseconnection:10s \
                 grace-exceeded:20s min:15s\n";
    let peer = Peer::prepared("trixie", |peer| {
        Run::of(peer.command_beside("ip").args(["addr", "add", "10.9.9.9/24", "dev", "lo"])).ends(0);
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{stock}{lines}")).unwrap();
    });
    let Some(peer) = peer else { return };
    let listed = Run::of(peer.command_beside("ss").args(["-tlnH"])).ends(0).stdout;
    assert!(listed.contains("10.9.9.9:22") && !listed.contains("127.0.0.1"), "{listed}");
    through(&peer);
}

/// Here all of 127/8 counts as one address, which may have one connection at a time. After a few probes the guard
/// cannot see anything more. It does not take that for a change, and without seeing it changes nothing unless the
/// operator names that risk.
#[test]
fn a_probe_that_is_turned_away_says_nothing() {
    let Some(peer) = Peer::start("trixie", BLIND) else { return };
    let files = || crate::support::machine::tree(&peer.file("/etc/ssh"));
    let is_reloaded = || fs::read_to_string(peer.file("/run/sshd.log")).unwrap().contains("SIGHUP");
    let before = files();
    let certify = ["apply", "certify-host", "--set", SET, "--yes"];
    let run = peer.warded(&certify);
    run.ends(5).says(&[UNSEEN, RISK, "nothing was changed"]);
    assert!(before == files() && !is_reloaded());
    peer.warded(&[&certify[..], &[RISK]].concat()).ends(4).prints(&["Certified 3 keys", "Not seen live: sshd at"]);
    assert!(before != files() && is_reloaded());

    // After the reload sshd has the keys that are on disk, so a renewal that only changes certificates is allowed.
    peer.warded(&["renew", "--force"]).ends(4).prints(&["Not seen live: sshd at"]);
    // sshd may offer a key that is no longer on disk, and nobody could see that.
    let key = peer.file("/etc/ssh/ssh_host_ecdsa_key");
    let former = fs::read(&key).unwrap();
    fs::write(&key, &former).unwrap();
    let renewed = files();
    peer.warded(&["renew", "--force"]).ends(5).says(&[
        "ssh_host_ecdsa_key has changed since sshd was last known to have read it",
        RISK,
        "nothing was changed",
    ]);
    assert!(renewed == files());
    let gone = peer.file("/etc/ssh/ssh_host_rsa_key");
    fs::rename(&gone, gone.with_extension("kept")).unwrap();
    peer.warded(&["renew", "--force"]).ends(5).says(&["ssh_host_rsa_key has changed", "or is gone", RISK]);
    fs::rename(gone.with_extension("kept"), &gone).unwrap();
    peer.warded(&["remove", "--yes", RISK]).ends(4).prints(&["Not seen live: sshd at"]);
    assert!(before == files());
}

/// The administrator retired a host key. Once the operator has accepted that risk, it does not stop later renewals.
#[test]
fn a_host_key_that_was_retired_where_nobody_can_ask() {
    let Some(peer) = Peer::start("trixie", BLIND) else { return };
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes", RISK]).ends(4);
    for file in ["ssh_host_rsa_key", "ssh_host_rsa_key.pub", "ssh_host_rsa_key-cert.pub"] {
        fs::remove_file(peer.file("/etc/ssh").join(file)).unwrap();
    }
    let drop_in = peer.file("/etc/ssh/sshd_config.d/50-warded.conf");
    let lines = fs::read_to_string(&drop_in).unwrap();
    let kept: String = lines.lines().filter(|line| !line.contains("_rsa_")).map(|line| format!("{line}\n")).collect();
    fs::write(&drop_in, kept).unwrap();
    let pid = fs::read_to_string(peer.file("/run/sshd.pid")).unwrap();
    Run::of(peer.command("kill").args(["-HUP", pid.trim()])).ends(0);
    let renew = |more: &[&str]| {
        // Each reload resets sshd's counts. After these scans sshd turns the guard's probes away again.
        (0..3).for_each(|_| drop(Run::of(peer.command("ssh-keyscan").args(["-T", "2", "127.0.0.1"]))));
        peer.warded(&[&["renew", "--force"], more].concat())
    };
    renew(&[]).ends(5).says(&["or is gone: sshd may offer a former key", "until something changes again", RISK]);
    renew(&[RISK]).ends(4).prints(&["Not seen live: sshd at"]);
    renew(&[]).ends(4).prints(&["Not seen live: sshd at"]);
}

const BLIND: &str =
    "PerSourcePenalties noauth:60s min:1s max:600s\nPerSourceNetBlockSize 8:64\nPerSourceMaxStartups 1\n";
const UNSEEN: &str = "cannot be asked which host keys it offers";
const RISK: &str = "--accept-risk=not-seen-live";

/// After the machine was certified, TCP wrappers were set up that let no address of this machine in. Warded still
/// renews certificates and undoes runs.
#[test]
fn tcp_wrappers_that_come_later_keep_nothing_from_being_renewed_or_undone() {
    let Some(peer) = Peer::start("bookworm", "") else { return };
    let files = || crate::support::machine::tree(&peer.file("/etc/ssh"));
    let before = files();
    peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
    fs::write(peer.file("/etc/hosts.deny"), "ALL: ALL\n").unwrap();
    fs::write(peer.file("/etc/hosts.allow"), "sshd: 10.0.0.0/255.0.0.0\n").unwrap();
    let certified = files();
    let renewed = peer.warded(&["renew", "--force", "--json"]).ends(4).object("warded.renew/1");
    assert!(renewed["not_seen_live"].as_str().unwrap().contains(UNSEEN), "{renewed}");
    assert_eq!(renewed["certificates"].as_array().unwrap().len(), 3, "{renewed}");
    let renewed = files();
    assert!(certified != renewed);
    peer.warded(&["undo", "--yes"]).ends(5).says(&[UNSEEN, RISK, "nothing was changed"]);
    assert!(renewed == files());
    peer.warded(&["undo", "--yes", RISK]).ends(4).prints(&["Not seen live: sshd at"]);
    assert!(before == files());
    fs::write(peer.file("/etc/hosts.allow"), "ALL: ALL\n").unwrap();
    let key = fs::read_to_string(peer.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    peer.client(&ClientKnowledge::Keys(key)).connects();
}

#[test]
fn one_startup_at_a_time_on_this_machines_sshd() {
    let setup = Setup { lines: "MaxStartups 1:100:1\nLoginGraceTime 20\n".to_owned(), ..Setup::default() };
    let machine = Machine::with(&setup);
    machine.certify();
    machine.serves_certificates();
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
}

/// The only address is an IPv6 one, so probes can come from no other address, and have to be paced.
#[test]
fn openssh_10_on_ipv6_alone() {
    let Some(peer) = Peer::start("trixie", "AddressFamily inet6\nListenAddress ::1\n") else { return };
    let done = peer.warded(&["apply", "certify-host", "--set", SET, "--yes", "--json"]).ends(0);
    assert_eq!(done.object("warded.apply/1")["served"].as_array().unwrap().len(), 3);
    let done = peer.warded(&["renew", "--force", "--json"]).ends(0);
    assert_eq!(done.object("warded.renew/1")["served"].as_array().unwrap().len(), 3);
    peer.warded(&["undo", "--yes"]).ends(0);
    peer.warded(&["undo", "--yes"]).ends(0);
}

/// A link-local address is reached through its interface.
#[test]
fn openssh_10_on_a_link_local_address() {
    let peer = Peer::prepared("trixie", |peer| {
        Run::of(peer.command_beside("ip").args("addr add fe80::7/64 dev lo nodad scope link".split(' '))).ends(0);
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{stock}ListenAddress fe80::7%lo\n")).unwrap();
    });
    let Some(peer) = peer else { return };
    let done = peer.warded(&["apply", "certify-host", "--set", SET, "--yes", "--json"]).ends(0);
    assert_eq!(done.object("warded.apply/1")["served"].as_array().unwrap().len(), 3);
    peer.warded(&["renew", "--force"]).ends(0);
    peer.warded(&["undo", "--yes"]).ends(0);
}

#[test]
fn every_listener_is_kept_with_arguments_of_its_own() {
    let lines = "Port 2223\nListenAddress 127.0.0.9\nListenAddress [::1]:2224\n";
    let machine = Machine::with(&Setup { lines: lines.to_owned(), ..Setup::default() });
    let listening = || {
        let listed = Run::of(machine.command("ss").args(["-tlnH"])).stdout;
        let mut found: Vec<_> =
            listed.lines().filter_map(|line| line.split_whitespace().nth(3)).map(str::to_owned).collect();
        found.sort();
        found
    };
    let before = listening();
    assert!(before.len() >= 5, "{before:?}");
    machine.certify();
    assert_eq!(listening(), before);
    // Somebody's edit: the next reload would close one of the listeners.
    let config = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), config.replace("ListenAddress [::1]:2224\n", "")).unwrap();
    machine.warded(["renew", "--force"]).ends(5).says(&["a reload would close [::1]:2224"]);
}

/// Options on sshd's command line take precedence over its files, and survive a reload.
#[test]
fn an_sshd_with_options_on_its_command_line() {
    let algorithms = "HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com,rsa-sha2-512-cert-v01@openssh.com,\
                      ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-ed25519,rsa-sha2-512,ecdsa-sha2-nistp256";
    let options = ["-o", "Port=2201", "-o", algorithms];
    let machine = Machine::with(&Setup { arguments: options.map(str::to_owned).to_vec(), ..Setup::default() });
    let listens = || {
        let listed = Run::of(machine.command("ss").args(["-tlnH"])).stdout;
        let own = machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519")));
        own.connects();
        listed.contains(":2201 ")
    };
    assert!(listens());
    let before = machine.tree();
    machine.certify();
    assert!(listens());
    machine.serves_certificates();
    machine.warded(["renew", "--force"]).ends(0);
    assert!(listens());
    machine.serves_certificates();
    machine.warded(["undo", "--yes"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
    assert!(listens());
    assert!(before == machine.tree());
    // If that list has no certificate algorithms, no certificate would be served, whatever the files say.
    let machine = Machine::with(&Setup {
        arguments: ["-o", "HostKeyAlgorithms=ssh-ed25519,rsa-sha2-512,ecdsa-sha2-nistp256"].map(str::to_owned).to_vec(),
        ..Setup::default()
    });
    let certify = machine.warded(["apply", "certify-host", "--set", SET, "--yes"]);
    certify.ends(5).says(&["HostKeyAlgorithms (sshd's command line) does not list their types", "nothing was changed"]);
}

/// Another program listens, and starts an sshd for each connection (inetd, a systemd socket with `Accept=yes`). Warded
/// does not know that program and cannot ask it, but the next connection reads the files that are in place.
#[test]
fn an_sshd_that_is_started_for_each_connection() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let (over, socket) = (Arc::new(AtomicBool::new(false)), machine.listen(2222));
    thread::scope(|scope| {
        scope.spawn(|| serve(&machine, &socket, &over));
        let plain = machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519")));
        plain.connects();
        let before = machine.tree();
        let certify = ["apply", "certify-host", "--set", SET, "--yes", "--json"];
        machine.warded(certify).ends(5).says(&["what listens is not known", "127.0.0.1:2222", "nothing was changed"]);
        assert!(before == machine.tree());
        let accepted = |words: &[&str]| {
            let mut command = machine.warded_command([]);
            Run::of(command.args(words).args(["--json", "--accept-risk=unknown-listener"])).ends(4)
        };
        let certified = accepted(&["apply", "certify-host", "--set", SET, "--yes"]).object("warded.apply/1");
        assert!(certified["unknown_listener"].as_str().unwrap().contains("127.0.0.1:2222"), "{certified}");
        machine.serves_certificates();
        let status = machine.warded(["status", "--json"]).ends(4).object("warded.status/1");
        assert_eq!(status["listening"], false, "{status}");
        assert!(status["problems"][0].as_str().unwrap().contains("something listens on 127.0.0.1:2222"), "{status}");
        // If only certificates change, no process has to be told, so there is no risk to accept.
        let renewed = machine.warded(["renew", "--force"]).ends(4);
        assert!(renewed.stdout.contains("Not seen live: something listens on"), "{}", renewed.stdout);
        machine.serves_certificates();
        // The renewal accepts the option that the refusal of a changed configuration names.
        accepted(&["renew", "--force"]);
        machine
            .warded(["undo", "--yes"])
            .ends(5)
            .says(&["what listens is not known", "--accept-risk=unknown-listener"]);
        accepted(&["undo", "--yes"]);
        plain.connects();
        assert_ne!(machine.client(&ClientKnowledge::Authority(machine.authority())).tries().code, Some(0), "{NAME}");
        over.store(true, Ordering::Relaxed);
    });
}

fn serve(machine: &Machine, socket: &TcpListener, over: &AtomicBool) {
    socket.set_nonblocking(true).unwrap();
    while !over.load(Ordering::Relaxed) {
        let Ok((stream, _)) = socket.accept() else {
            thread::sleep(std::time::Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        let (input, output): (OwnedFd, OwnedFd) = (stream.try_clone().unwrap().into(), stream.into());
        let mut sshd = machine.command("/usr/sbin/sshd");
        sshd.args(["-i", "-f"]).arg(machine.config()).stdin(input).stdout(output).stderr(Stdio::null());
        let mut child = sshd.spawn().unwrap();
        thread::spawn(move || child.wait());
    }
}
