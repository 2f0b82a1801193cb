//! `warded verify`: many machines as a strict client sees them, both real sshds and liars.

mod liars;
mod penalties;

use crate::support::{
    Machine, Run, Setup,
    agent::Agent,
    machine::{copy_key, keygen},
    missing,
    wait::{LONG, wait},
};
use liars::{Liar, PORT};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// An sshd that listens on every address of 127/8 at its own port, with one certificate for many names.
struct Server {
    port: u16,
    process: Child,
}

impl Server {
    fn start(machine: &Machine, number: u16, names: &[String], options: &[&str]) -> Self {
        let directory = machine.path(&format!("server-{number}"));
        fs::create_dir(&directory).unwrap();
        let (key, port) = (directory.join("key"), 3000 + number);
        copy_key("ed25519", &key);
        sign(machine, "host_ca", &key, &[&["-h", "-n", &names.join(",")][..], options].concat());
        let config = format!(
            "Port {port}\nListenAddress 0.0.0.0\nHostKey {0}\nHostCertificate {0}-cert.pub\nPidFile {1}/pid\nUsePAM no\n\
             StrictModes no\nMaxStartups 200\nAuthorizedKeysFile none\nTrustedUserCAKeys {2}\n",
            key.display(),
            directory.display(),
            machine.path("ca/user_ca.pub").display(),
        );
        fs::write(directory.join("sshd_config"), config).unwrap();
        let mut sshd = machine.command("/usr/sbin/sshd");
        sshd.arg("-D").arg("-f").arg(directory.join("sshd_config")).arg("-E").arg(directory.join("log"));
        let process = sshd.stdin(Stdio::null()).spawn().unwrap();
        wait("sshd listens", LONG, || directory.join("pid").exists());
        Self { port, process }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        self.process.wait().unwrap();
    }
}

fn sign(machine: &Machine, ca: &str, key: &std::path::Path, options: &[&str]) {
    let authority = machine.path("ca").join(ca);
    let begin = ["-q", "-s", authority.to_str().unwrap(), "-I", "a server"];
    let public = format!("{}.pub", key.display());
    keygen(&[&begin[..], options].concat(), &PathBuf::from(public));
}

fn address(server: u16, number: u16) -> IpAddr {
    let [_, low] = number.to_be_bytes();
    IpAddr::from(Ipv4Addr::new(127, 1, u8::try_from(server).unwrap(), low))
}

/// Four sshds whose certificates have 250 names each stand for a thousand machines; others lie, flood or are silent.
#[test]
fn a_thousand_machines_are_judged_to_the_last_one() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let mut lines = String::new();
    let mut servers = Vec::new();
    for server in 0..4 {
        let names: Vec<String> = (1..=250).map(|number| address(server, number).to_string()).collect();
        servers.push(Server::start(&machine, server, &names, &["-V", "-1h:+30d"]));
        for name in &names {
            writeln!(lines, "{name}:{}", servers.last().unwrap().port).unwrap();
        }
    }
    let liars = Liar::all(&machine);
    for liar in &liars {
        writeln!(lines, "{}:{PORT} {}  # {:?}", liar.name(), liar.address, liar.lie).unwrap();
    }
    let (port, name) = (servers[0].port, "other.lab.test");
    writeln!(lines, "{name}:{port} 127.1.0.1").unwrap();
    writeln!(lines, "gone.lab.test 127.9.9.9:9").unwrap();
    let file = machine.path("hosts");
    fs::write(&file, lines).unwrap();

    let prometheus = machine.path("warded.prom");
    // There are more connections than this process may have open, so it raises its limit.
    let mut verify = machine.command("sh");
    let script = format!("ulimit -Sn 64; exec time -f %M -o {} \"$0\" \"$@\"", machine.path("kilobytes").display());
    machine.environment(&mut verify).args(["-c", &script, env!("CARGO_BIN_EXE_warded")]);
    verify.args(["verify", "--json", "--timeout", "5s", "--hosts"]).arg(&file).arg("--prometheus").arg(&prometheus);
    let begun = Instant::now();
    let object = Run::of(&mut verify).ends(4).object("warded.verify/1");
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    let kilobytes = fs::read_to_string(machine.path("kilobytes")).unwrap();
    let kilobytes: u64 = kilobytes.lines().last().unwrap().parse().unwrap();
    println!("{} s, {kilobytes} KiB", object["seconds"]);
    assert!(kilobytes < 128 * 1024, "{kilobytes} KiB");
    let hosts = object["hosts"].as_array().unwrap();
    assert_eq!(hosts.len(), 1000 + liars.len() + 2);
    for host in &hosts[..1000] {
        assert_eq!((&host["state"], &host["keys"][0]["key_id"]), (&"ok".into(), &"a server".into()), "{host}");
    }
    for (host, liar) in hosts[1000..].iter().zip(&liars) {
        let (state, cause) = liar.lie.expected();
        assert_eq!(host["state"], state, "{:?}: {host}", liar.lie);
        assert!(host["cause"].as_str().unwrap().contains(cause), "{:?}: {host}", liar.lie);
    }
    let cause = |host: &Value| host["cause"].as_str().unwrap().to_owned();
    let [other, gone] = &hosts[hosts.len() - 2..] else { panic!() };
    assert!(
        cause(other).contains("not for this name, but for 127.1.0.1") && cause(other).contains("246 more"),
        "{other}"
    );
    assert_eq!((&gone["state"], cause(gone).contains("refused")), (&"unknown".into(), true), "{gone}");

    // If that file cannot be written, the output is a single object: the error.
    let nowhere = machine.path("hosts/none.prom");
    let words = ["verify", "--json", "--hosts", file.to_str().unwrap(), "--prometheus", nowhere.to_str().unwrap()];
    machine.warded(words).ends(1).object("warded.error/1");

    let text = fs::read_to_string(&prometheus).unwrap();
    let shown = liars.iter().filter(|liar| liar.lie.shows_an_end()).count();
    assert_eq!(text.matches("warded_verify_not_after_seconds{").count(), 1001 + shown);
    assert!(!text.contains("accepted{host=\"gone") && text.contains("answered{host=\"gone.lab.test\",port=\"9\"} 0"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&prometheus).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644);
}

/// If this process may not open a file for each machine, it asks fewer at a time, and says so.
#[test]
fn a_limit_of_open_files_that_cannot_be_raised_is_told() {
    let machine = Machine::stopped();
    let hosts = machine.path("hosts");
    let lines: String = (1..=5).map(|number| format!("host{number}.lab.test 127.9.9.{number}:9\n")).collect();
    fs::write(&hosts, lines).unwrap();
    let mut verify = machine.command("sh");
    machine.environment(&mut verify).args(["-c", "ulimit -n 40; exec \"$0\" verify --json --hosts \"$1\""]);
    let run = Run::of(verify.arg(env!("CARGO_BIN_EXE_warded")).arg(&hosts)).ends(4);
    let run =
        run.says(&["note: Warded asks 1 machine at a time, not 5: this process may open no more files (ulimit -Hn)"]);
    let object = run.object("warded.verify/1");
    let hosts = object["hosts"].as_array().unwrap();
    assert!(hosts.len() == 5 && hosts.iter().all(|host| host["state"] == "unknown"), "{object}");
}

#[test]
fn one_connection_asks_a_machine_and_more_only_where_all_keys_are_wanted() {
    let machine = Machine::with(&Setup { lines: "LogLevel VERBOSE\n".to_owned(), ..Setup::default() });
    let connections = || fs::read_to_string(machine.path("sshd.log")).unwrap().matches("Connection from").count();
    // The machine's own port.
    let config = fs::read_to_string(machine.config()).unwrap();
    let port = config.lines().find_map(|line| line.strip_prefix("Port ")).unwrap().to_owned();
    let hosts = machine.path("hosts");
    fs::write(&hosts, format!("web1.example.org 127.0.0.1:{port}\n")).unwrap();
    let verify = |more: &[&str]| {
        let before = connections();
        let mut command = machine.warded_command(["verify", "--json", "--hosts"]);
        let run = Run::of(command.arg(&hosts).args(more));
        let ended = run.code;
        let host = run.object("warded.verify/1")["hosts"][0].clone();
        (
            ended,
            host["state"].as_str().unwrap().to_owned(),
            host["keys"].as_array().unwrap().len(),
            connections() - before,
        )
    };
    assert_eq!(verify(&[]), (Some(4), "no-certificate".to_owned(), 1, 1));
    machine.certify();
    assert_eq!(verify(&[]), (Some(0), "ok".to_owned(), 1, 1));
    assert_eq!(verify(&["--all-keys"]), (Some(0), "ok".to_owned(), 3, 3));
    // This CA's certificates are valid for 30 days.
    assert_eq!(verify(&["--expect-within", "7d"]), (Some(0), "ok".to_owned(), 1, 1));
    assert_eq!(verify(&["--expect-within", "31d"]), (Some(4), "ends-soon".to_owned(), 1, 1));
    // With the key in a file, Warded does not ask the CA.
    let key = machine.path("ca/host_ca.pub");
    assert_eq!(verify(&["--ca-key", key.to_str().unwrap()]), (Some(0), "ok".to_owned(), 1, 1));
    let other = machine.path("ca/user_ca.pub");
    assert_eq!(verify(&["--ca-key", other.to_str().unwrap()]).1, "wrong");
    let log = fs::read_to_string(machine.path("sshd.log")).unwrap();
    assert!(!log.contains("Failed") && !log.contains("Invalid user"), "nothing that fail2ban counts: {log}");
}

#[test]
fn a_persons_login_works_or_it_is_told_why_not() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let server = Server::start(&machine, 1, &["127.1.1.1".to_owned()], &[]);
    let agent = Agent::openssh(&machine, "agent");
    let place = format!("127.1.1.1:{}", server.port);
    let verify = |more: &[&str]| {
        let mut command = machine.warded_command(["verify", "--login-as", "root"]);
        Run::of(command.env("SSH_AUTH_SOCK", &agent.socket).args(more))
    };
    verify(&[&place]).ends(1).says(&["has no certificate that holds", "warded login root"]);
    let key = machine.path("person");
    keygen(&["-q", "-t", "ed25519", "-N", "", "-f"], &key);
    sign(&machine, "user_ca", &key, &["-n", "root"]);
    Run::of(Command::new("ssh-add").env("SSH_AUTH_SOCK", &agent.socket).arg("-q").arg(&key)).ends(0);
    verify(&[&place]).ends(0).prints(&["in   root@127.1.1.1"]);
    verify(&[&format!("127.1.1.2:{}", server.port)])
        .ends(4)
        .prints(&["not  root@127.1.1.2", "Host key verification failed"]);
    Run::of(Command::new("ssh-add").env("SSH_AUTH_SOCK", &agent.socket).arg("-q").arg("-D")).ends(0);
    sign(&machine, "user_ca", &key, &["-n", "ann"]);
    Run::of(Command::new("ssh-add").env("SSH_AUTH_SOCK", &agent.socket).arg("-q").arg(&key)).ends(0);
    verify(&[&place]).ends(4).prints(&["not  root@127.1.1.1", "Permission denied"]);
}
