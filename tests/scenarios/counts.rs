//! The cost of a renewal. The tests count programs and waits for the disk, which do not depend on the machine's speed.
//! Fewer is better; more is a regression.

use crate::support::{
    Machine, Peer, Run, Setup,
    counts::{self, Counts},
    missing,
};
use std::{collections::BTreeSet, fs};

/// Warded keeps this many renewals as separate runs.
const RUNS_KEPT: usize = 20;

/// Changes a machine before its sshd starts.
type Prepare = fn(&Peer);

#[test]
fn a_renewal_starts_few_programs_and_waits_seldom_for_the_disk() {
    let machine = Machine::start();
    machine.certify();
    let steps = [
        (&["renew", "--force"][..], 5, 15),
        // The renewal remembers what it saw the sshd serve.
        (&["renew"], 0, 0),
        (&["status"], 1, 0),
    ];
    for (arguments, programs, syncs) in steps {
        let (run, counts) = counts::warded(&machine, arguments);
        run.ends(0);
        let Counts { programs: started, compilers, syncs: waited } = &counts;
        println!("{arguments:?}: {} programs, {} syncs: {counts:#?}", started.len(), waited.len());
        assert_eq!(*compilers, 0, "{arguments:?}: {counts:#?}");
        assert!(started.len() <= programs && waited.len() <= syncs, "{arguments:?}: {counts:#?}");
    }
}

/// Since 9.8 the sshd of a proof consists of three programs; Warded starts as many programs as before.
#[test]
fn a_renewal_of_openssh_10_starts_as_few_programs() {
    if missing::strace() {
        return;
    }
    let Some(peer) = Peer::start("trixie", "") else { return };
    peer.warded(&["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"]).ends(0);
    for (arguments, programs, syncs) in [(&["renew", "--force"][..], 5, 15), (&["renew"], 0, 0)] {
        let (run, counts) = counts::on(&peer, arguments);
        run.ends(0);
        println!("{arguments:?}: {} programs, {} syncs: {counts:#?}", counts.programs.len(), counts.syncs.len());
        assert!(counts.programs.len() <= programs && counts.syncs.len() <= syncs, "{arguments:?}: {counts:#?}");
    }
}

/// Beyond that number each renewal folds the oldest run into the one before it.
#[test]
fn a_renewal_after_many_waits_little_more() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    (0..RUNS_KEPT).for_each(|_| drop(machine.warded(["renew", "--force"]).ends(0)));
    let (run, counts) = counts::warded(&machine, &["renew", "--force"]);
    run.ends(0);
    println!("{counts:#?}");
    // With two keys there is one new file less. Copies and their names are synced before the journal that names them: 4
    // syncs in a fold.
    assert!(counts.programs.len() <= 5 && counts.syncs.len() <= 18, "{counts:#?}");
}

/// The head before the first seal, as if the process that created the log's file had died before the file's name was
/// synced.
const EMPTY_HEAD: &str =
    r#"{"count":0,"hash":"sha256:1882e0fc5d164858534c9531b02396c2def2767552e75787328e93ec940501d3"}"#;

#[test]
fn a_file_of_the_audit_log_has_its_name_on_disk_before_a_head_knows_it() {
    let machine = Machine::stopped();
    machine.certify();
    let directory = machine.path("state/audit");
    fs::write(directory.join("head.json"), EMPTY_HEAD).unwrap();
    for expected in [1, 0] {
        let (run, counts) = counts::warded(&machine, &["renew", "--force"]);
        run.ends(0);
        let of_names = counts.syncs.iter().filter(|path| **path == directory.to_str().unwrap()).count();
        assert_eq!(of_names, expected, "{counts:#?}");
    }
}

/// If nothing is staged that decides who can log in, Warded reads no user's files.
#[test]
fn a_renewal_reads_no_files_of_users() {
    let machine = Machine::start();
    machine.certify();
    let trace = machine.path("trace");
    // Traces only Warded's own process: the sshd that it asks does read them.
    let mut strace = machine.command("strace");
    machine.environment(&mut strace).args(["-qq", "-e", "trace=openat,readlink", "-o"]).arg(&trace);
    Run::of(strace.arg(env!("CARGO_BIN_EXE_warded")).args(["renew", "--force"])).ends(0);
    let calls = fs::read_to_string(&trace).unwrap();
    let of_user = format!("openat(AT_FDCWD, \"{}\"", machine.path("authorized_keys").display());
    let read: Vec<&str> = calls.lines().filter(|line| line.contains(&of_user)).collect();
    assert!(calls.contains("sshd_config") && read.is_empty(), "{read:#?}");
}

/// For `/proc/net/tcp` the kernel walks all connections. It can list the listening sockets without that.
#[test]
fn nothing_walks_the_table_of_connections() {
    let machine = Machine::start();
    machine.certify();
    let trace = machine.path("trace");
    for arguments in [&["renew", "--force"][..], &["status"]] {
        let mut strace = machine.command("strace");
        machine.environment(&mut strace).args(["-f", "-qq", "-e", "trace=openat", "-o"]).arg(&trace);
        Run::of(strace.arg(env!("CARGO_BIN_EXE_warded")).args(arguments)).ends(0);
        let calls = fs::read_to_string(&trace).unwrap();
        let read: Vec<&str> = calls.lines().filter(|line| line.contains("/net/tcp")).collect();
        assert!(calls.contains("sshd_config") && read.is_empty(), "{arguments:?}: {read:#?}");
    }
}

/// If nobody can log in, each host key is proved by a connection. The counts are printed, and not limited.
#[test]
fn a_hardened_machine_is_counted() {
    for lines in ["AllowGroups nogroup\n", "PermitRootLogin no\n", "AuthenticationMethods publickey,publickey\n"] {
        let machine = Machine::with(&Setup { lines: lines.to_owned(), ..Setup::default() });
        machine.certify();
        let (run, counts) = counts::warded(&machine, &["renew", "--force"]);
        run.ends(0);
        println!("{lines:?}: {} programs, {} syncs: {counts:#?}", counts.programs.len(), counts.syncs.len());
        assert_eq!(counts.compilers, 0);
        let (run, counts) = counts::warded(&machine, &["renew"]);
        run.ends(0);
        assert!(counts.programs.is_empty() && counts.syncs.is_empty(), "{lines:?}: {counts:#?}");
    }
}

/// A certificate that is seen live also stands for its plain key: 3 connections for the survey, 1 for the proof, 3 for
/// the look afterwards. At most three are made at a time, each by its own thread, and never more than half of what sshd
/// allows.
#[test]
fn a_renewal_makes_few_connections() {
    for (lines, at_once) in [("", 3), ("MaxStartups 4:30:100\n", 2), ("MaxStartups 2:30:100\n", 1)] {
        let machine = Machine::with(&Setup { lines: lines.to_owned(), ..Setup::default() });
        machine.certify();
        let mut live = 0;
        for _ in 0..3 {
            let renewal = machine.warded_command(["renew", "--force"]);
            let (run, connections) = counts::connections(&renewal, &machine.path("trace"));
            run.ends(0);
            println!("connections to sshd, and to the private copy: {connections:?}");
            assert!(connections.len() <= 7, "{connections:?}");
            let threads = |of: &[String]| of.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(threads(&connections[..3]), at_once, "{lines}{connections:?}");
            live = live.max(threads(&connections[4..]));
        }
        // A thread that starts late may find its question already answered.
        assert_eq!(live, at_once, "{lines}");
    }
}

/// If no fresh source address is available, or none is let in, sshd counts the connections against one address: they
/// are made one after the other.
#[test]
fn where_sshd_counts_connections_they_are_made_one_after_the_other() {
    if missing::strace() {
        return;
    }
    let ipv6: Prepare = |peer| {
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("AddressFamily inet6\nListenAddress ::1\n{stock}")).unwrap();
    };
    let wrappers: Prepare = |peer| {
        fs::write(peer.file("/etc/hosts.deny"), "ALL: ALL\n").unwrap();
        fs::write(peer.file("/etc/hosts.allow"), "sshd: 127.0.0.1\n").unwrap();
    };
    for (suite, prepare) in [("trixie", ipv6), ("bookworm", wrappers)] {
        let Some(peer) = Peer::prepared(suite, prepare) else { return };
        peer.warded(&["apply", "certify-host", "--yes", "--set", "principal=web1.example.org"]).ends(0);
        let renewal = peer.warded_command(&["renew", "--force"]);
        let (run, most) = counts::at_once(&renewal, &peer.shared().join("trace"));
        run.ends(0);
        assert_eq!(most, 1, "{suite}");
    }
}

/// The watchdog starts while the proof runs, so its start costs no extra time.
#[test]
fn the_watchdog_is_started_before_the_proof() {
    let machine = Machine::start();
    machine.certify();
    let (run, counts) = counts::warded(&machine, &["renew", "--force"]);
    run.ends(0);
    let first = |word: &str| counts.programs.iter().position(|line| line.split(' ').any(|one| one == word));
    assert!(first("watchdog").is_some() && first("watchdog") < first("-i"), "{counts:#?}");
}
