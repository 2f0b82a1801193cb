//! Two sshds on one machine. Each has its own enrolment, and a run for one takes the other into account if both read a
//! file.

use crate::support::{
    ClientKnowledge, Run,
    machine::{NAME, tree},
    peer::Peer,
    wait::{LONG, wait},
};
use serde_json::Value;
use std::fs;

const FIRST: &str = "/etc/ssh/sshd_config";
const SECOND: &str = "/etc/ssh/sshd_config_sftp";
const SHARED: &str = "Include /etc/ssh/sshd_config.d/*.conf\n";
const OWN_KEY: &str = "/etc/ssh/sftp_key";

/// A machine with a second sshd, which has these lines and listens on port 2222.
fn with_second(suite: &str, lines: &str) -> Option<Peer> {
    let peer = Peer::shaped(suite, |directory| {
        fs::write(directory.join("sshd_config_sftp"), format!("{lines}Port 2222\nUsePAM no\n")).unwrap();
    })?;
    let keygen = ["-q", "-N", "", "-t", "ed25519", "-f", OWN_KEY];
    Run::of(peer.command("ssh-keygen").args(keygen)).ends(0);
    peer.serve(SECOND);
    Some(peer)
}

fn certify(peer: &Peer, sshd: &str, names: &[&str]) -> Run {
    let mut command = peer.warded_command(&["--sshd-config", sshd, "apply", "certify-host", "--yes"]);
    command.args(names.iter().flat_map(|name| ["--set".to_owned(), format!("principal={name}")]));
    Run::of(&mut command)
}

fn both(peer: &Peer) {
    for sshd in [FIRST, SECOND] {
        certify(peer, sshd, &[NAME]).ends(0);
    }
}

/// Checks that a client that knows only the CA can connect to both.
#[track_caller]
fn both_serve(peer: &Peer) {
    let authority = || ClientKnowledge::Authority(fs::read_to_string(peer.file("/root/ca/host_ca.pub")).unwrap());
    peer.client(&authority()).connects();
    peer.client_at(2222, &authority()).connects();
}

/// How many certificates the public status has.
fn told_to_all(peer: &Peer) -> usize {
    let file = fs::read(peer.file("/var/lib/warded-status/status.json")).unwrap();
    serde_json::from_slice::<Value>(&file).unwrap()["keys"].as_array().unwrap().len()
}

fn enrolled(peer: &Peer) -> Vec<String> {
    let Ok(file) = fs::read(peer.file("/var/lib/warded/enrolment.json")) else { return Vec::new() };
    let file: Value = serde_json::from_slice(&file).unwrap();
    let enrolments = file["enrolments"].as_array().unwrap();
    enrolments.iter().map(|enrolment| enrolment["sshd_config"].as_str().unwrap().to_owned()).collect()
}

fn serials(result: &Value) -> Vec<String> {
    let certificates = result["certificates"].as_array().unwrap();
    certificates.iter().map(|one| one["serial"].as_str().unwrap().to_owned()).collect()
}

/// Since OpenSSH 9.8 an sshd serves the certificates of its last reload, so both have to be told.
#[test]
fn a_shared_certificate_is_renewed_once_and_both_are_told() {
    for suite in ["bookworm", "trixie"] {
        let Some(peer) = with_second(suite, "") else { return };
        let before = tree(&peer.file("/etc/ssh"));
        both(&peer);
        assert_eq!(enrolled(&peer), [FIRST, SECOND]);
        both_serve(&peer);
        let again = peer.warded(&["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(0);
        assert!(again.stdout.contains("Nothing to do"), "{}", again.stdout);

        let renewed = peer.warded(&["renew", "--force", "--json"]).ends(0).object("warded.renewals/1");
        let results = renewed["sshds"].as_array().unwrap();
        assert_eq!((&results[0]["sshd_config"], &results[1]["sshd_config"]), (&FIRST.into(), &SECOND.into()));
        let count = |result: &Value| serials(&result["result"]).len();
        assert_eq!((results.len(), count(&results[0]), count(&results[1])), (2, 3, 0), "{renewed:#}");
        assert_eq!(results[0]["result"]["reloads"].as_array().unwrap().len(), 2, "{renewed:#}");
        both_serve(&peer);

        // Nothing schedules renewals on this machine, hence the exit code.
        let status = peer.warded(&["status", "--json"]).ends(4).object("warded.status/1");
        let served = |sshd: &Value| {
            let keys = sshd["host_keys"].as_array().unwrap();
            keys.iter().filter(|key| key["served"] == true).count()
        };
        assert_eq!((served(&status), served(&status["others"][0])), (3, 3), "{status:#}");
        assert_eq!(status["others"][0]["sshd_config"], SECOND);
        assert!(peer.warded(&["status"]).ends(4).stdout.contains(&format!("{SECOND} · OpenSSH")));

        // Each undo applies to its run's own sshd, without an option that names it.
        peer.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(enrolled(&peer), [FIRST]);
        peer.warded(&["undo", "--yes"]).ends(0);
        assert!(enrolled(&peer).is_empty());
        assert!(before == tree(&peer.file("/etc/ssh")));
        let pinned = || ClientKnowledge::Keys(fs::read_to_string(peer.file("/etc/ssh/ssh_host_rsa_key.pub")).unwrap());
        peer.client(&pinned()).connects();
        peer.client_at(2222, &pinned()).connects();
    }
}

/// The second sshd includes the system's drop-ins, as a copy of Debian's file does. Its own lines are in its own file.
#[test]
fn two_sshds_with_different_keys_keep_their_own_lines() {
    let lines = format!("{SHARED}HostKey {OWN_KEY}\n");
    let Some(peer) = with_second("trixie", &lines) else { return };
    both(&peer);
    both_serve(&peer);
    let drop_in = fs::read_to_string(peer.file("/etc/ssh/sshd_config.d/50-warded.conf")).unwrap();
    let own = fs::read_to_string(peer.file(SECOND)).unwrap();
    assert!(!drop_in.contains(OWN_KEY) && own.contains(&format!("HostCertificate {OWN_KEY}-cert.pub")), "{own}");
    let renewed = peer.warded(&["renew", "--force", "--json"]).ends(0).object("warded.renewals/1");
    let counts: Vec<usize> =
        renewed["sshds"].as_array().unwrap().iter().map(|sshd| serials(&sshd["result"]).len()).collect();
    assert_eq!(counts, [3, 1], "{renewed:#}");
    both_serve(&peer);
    // Nothing schedules renewals on this machine; that is the only problem.
    let status = peer.warded(&["status"]).ends(4).stdout;
    assert_eq!(status.matches("\nproblem ").count(), 1, "{status}");
    peer.warded(&["doctor"]).ends(4).prints(&["nothing renews automatically"]);
    assert_eq!(told_to_all(&peer), 4);
    // A renewal of one sshd alone.
    let one = peer.warded(&["--sshd-config", SECOND, "renew", "--force", "--json"]).ends(0).object("warded.renew/1");
    assert_eq!(serials(&one).len(), 1, "{one:#}");
    peer.warded(&["--sshd-config", SECOND, "unenrol", "--yes"]).ends(0);
    assert_eq!(told_to_all(&peer), 3);
}

#[test]
fn one_that_does_not_run_or_is_gone_keeps_no_other_from_being_renewed() {
    let Some(peer) = with_second("trixie", &format!("HostKey {OWN_KEY}\n")) else { return };
    both(&peer);
    let pid = fs::read_to_string(peer.file("/run/sshd-etc-ssh-sshd_config_sftp.pid")).unwrap();
    Run::of(peer.command("kill").arg(pid.trim())).ends(0);
    peer.warded(&["renew", "--force"]).ends(0).prints(&["No sshd is listening now", "3 certificates served"]);

    fs::rename(peer.file(SECOND), peer.file("/etc/ssh/away")).unwrap();
    for (second, others) in [("0", 1), ("1", 0)] {
        // The result does not depend on the order in which they were enrolled.
        let run = peer.warded(&["renew", "--force", "--json"]).ends(4);
        assert!(run.stderr.contains(&format!("{SECOND} is gone")), "{second} {}", run.stderr);
        let renewed = run.object("warded.renewals/1");
        let first = &renewed["sshds"][others ^ 1];
        assert_eq!((&first["exit"], serials(&first["result"]).len()), (&0.into(), 3), "{renewed:#}");
        swap(&peer);
    }
    let last = fs::read_to_string(peer.file("/var/lib/warded/last-renewal.json")).unwrap();
    assert!(last.contains(&format!("{SECOND} is gone")), "{last}");
    let log = peer.warded(&["audit", "log", "--json"]).ends(0).stdout;
    assert_eq!(log.matches(&format!("{SECOND} is gone")).count(), 2, "{log}");
    let next = format!("warded --sshd-config {SECOND} unenrol");
    peer.warded(&["status"]).ends(4).prints(&[&format!("{SECOND} is gone"), &next]);
    peer.warded(&["doctor"]).ends(4).prints(&[&next]);
    peer.warded(&["--sshd-config", SECOND, "unenrol", "--yes"]).ends(0);
    peer.warded(&["--sshd-config", SECOND, "unenrol", "--yes"]).ends(2).says(&["is not enrolled", FIRST]);
    peer.warded(&["renew", "--force"]).ends(0);
    peer.warded(&["status"]).ends(4).prints(&["nothing renews automatically"]);
    peer.warded(&["--sshd-config", SECOND, "renew"]).ends(2).says(&["is not enrolled", FIRST]);
}

/// Reverses the order of the enrolments.
fn swap(peer: &Peer) {
    let path = peer.file("/var/lib/warded/enrolment.json");
    let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    file["enrolments"].as_array_mut().unwrap().reverse();
    fs::write(path, file.to_string()).unwrap();
}

#[test]
fn a_shared_certificate_is_for_the_names_of_both() {
    let Some(peer) = with_second("bookworm", "") else { return };
    certify(&peer, FIRST, &[NAME]).ends(0);
    let before = tree(&peer.file("/etc/ssh"));
    let words = ["would lose names", FIRST, &format!("--set principal=sftp.example.org --set principal={NAME}")];
    certify(&peer, SECOND, &["sftp.example.org"]).ends(5).says(&words);
    assert!(before == tree(&peer.file("/etc/ssh")) && enrolled(&peer) == [FIRST]);
    certify(&peer, SECOND, &["sftp.example.org", NAME]).ends(0);
    certify(&peer, FIRST, &[NAME]).ends(5).says(&["would lose names", SECOND]);
    peer.warded(&["renew", "--force"]).ends(0);
    both_serve(&peer);
}

/// Both have the old key in memory, so both are told of the new one. The second sshd is proved before that.
#[test]
fn a_shared_key_is_replaced_for_both() {
    let Some(peer) = with_second("trixie", "") else { return };
    both(&peer);
    let rekey = ["rekey", "--yes", "--accept-risk=replace-host-keys"];
    peer.warded(&rekey).ends(0).prints(&[&format!("The sshd of {SECOND} reads these files, too")]);
    let key = || ClientKnowledge::Keys(fs::read_to_string(peer.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap());
    peer.client_at(2222, &key()).connects();
    peer.client(&key()).connects();
    both_serve(&peer);
    peer.warded(&["undo", "--yes", "--accept-risk=replace-host-keys"]).ends(0);
    peer.client_at(2222, &key()).connects();
    peer.client(&key()).connects();
}

/// The second sshd is not enrolled, but it runs. A drop-in that it includes as well would break it.
#[test]
fn what_would_break_another_sshd_is_refused() {
    let Some(peer) = with_second("trixie", &format!("HostKey {OWN_KEY}\nMatch User nobody\n{SHARED}Match all\n"))
    else {
        return;
    };
    let before = tree(&peer.file("/etc/ssh"));
    certify(&peer, FIRST, &[NAME]).ends(5).says(&[&format!("the sshd of {SECOND}"), "nothing was changed"]);
    assert!(before == tree(&peer.file("/etc/ssh")) && enrolled(&peer).is_empty());
}

/// The second sshd was started with a relative path, which by now leads nowhere. Whether it reads the changed files is
/// not known, and the output says so.
#[test]
fn another_sshd_whose_file_is_not_known_is_told_of() {
    let peer = Peer::shaped("trixie", |directory| {
        fs::write(directory.join("sshd_config_sftp"), format!("{SHARED}Port 2222\nUsePAM no\n")).unwrap();
    });
    let Some(peer) = peer else { return };
    let start = "cd /etc && exec /usr/sbin/sshd -f ssh/sshd_config_sftp -E /run/sftp.log -o PidFile=/run/sftp.pid";
    Run::of(peer.command("sh").args(["-c", start])).ends(0);
    wait("the second sshd listens", LONG, || peer.file("/run/sftp.pid").exists());
    let told = ["Attention: process", "is an sshd, too", "`-f ssh/sshd_config_sftp`, a relative path"];
    certify(&peer, FIRST, &[NAME]).ends(4).prints(&told);
    peer.warded(&["renew", "--force"]).ends(4).prints(&told);
    peer.warded(&["undo", "--yes"]).ends(4).prints(&told);
}

/// The watchdog rolls the change back, and tells both.
#[test]
fn what_nobody_confirms_is_rolled_back_for_both() {
    let Some(peer) = with_second("trixie", "") else { return };
    both(&peer);
    let before = tree(&peer.file("/etc/ssh"));
    let mut command = peer.warded_command(&["rekey", "--yes", "--accept-risk=replace-host-keys"]);
    Run::of(command.args(["--confirm-within", "5s"])).ends(0);
    assert!(before != tree(&peer.file("/etc/ssh")));
    wait("it is rolled back", LONG, || {
        let ended = peer.warded(&["audit", "log", "--json"]).ends(0).object("warded.audit-log/1");
        let records = ended["records"].as_array().unwrap();
        records.iter().any(|record| {
            record["detail"].as_str().is_some_and(|detail| {
                detail.contains("rolled back") && detail.contains(&format!("ssh ({SECOND}) reloaded, checked"))
            })
        })
    });
    assert!(before == tree(&peer.file("/etc/ssh")));
    both_serve(&peer);
    let key = || ClientKnowledge::Keys(fs::read_to_string(peer.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap());
    peer.client_at(2222, &key()).connects();
}

#[test]
fn remove_undoes_the_changes_for_both() {
    let Some(peer) = with_second("trixie", &format!("{SHARED}HostKey {OWN_KEY}\n")) else { return };
    let before = tree(&peer.file("/etc/ssh"));
    both(&peer);
    peer.warded(&["renew", "--force"]).ends(0);
    let removed = peer.warded(&["remove", "--yes"]).ends(0);
    assert!(before == tree(&peer.file("/etc/ssh")) && enrolled(&peer).is_empty(), "{}", removed.stdout);
    for (port, key) in [(22, "/etc/ssh/ssh_host_rsa_key"), (2222, OWN_KEY)] {
        let pinned = ClientKnowledge::Keys(fs::read_to_string(peer.file(&format!("{key}.pub"))).unwrap());
        peer.client_at(port, &pinned).connects();
        let authority = ClientKnowledge::Authority(fs::read_to_string(peer.file("/root/ca/host_ca.pub")).unwrap());
        peer.client_at(port, &authority).tries().ends(255);
    }
}
