//! Lines that sshd would refuse, and lines that it would take.

use super::{drop_in, refused, serves, write};
use crate::support::{
    Machine, Peer, Run, Setup,
    machine::{NAME, tree},
};
use std::fs;

#[test]
fn a_line_that_sshd_refuses() {
    let machine = Machine::start();
    refused(
        &machine,
        r#"["HostCertificate"]"#,
        &["HostCertificate"],
        &["60-test.conf line 1: no argument after keyword"],
    );
    refused(
        &machine,
        r#"["LoginGraceTime"]"#,
        &["LoginGraceTime soon"],
        &["60-test.conf line 1", "invalid time value"],
    );
    refused(
        &machine,
        r#"["HostCertificate"]"#,
        &["HostCertifcate /x"],
        &["60-test.conf line 1", "not granted", "hostcertifcate"],
    );
    serves(&machine);
}

#[test]
fn a_keyword_that_is_not_granted() {
    let machine = Machine::start();
    for (lines, line, says) in [
        (vec!["DenyUsers *"], 1, "denyusers"),
        (vec!["denyusers=*"], 1, "denyusers"),
        (vec!["# a comment", "ForceCommand /bin/false"], 2, "forcecommand"),
        (vec!["Match User root", "    ForceCommand /bin/false"], 1, "match"),
        (vec!["Match all", "    DenyUsers root"], 1, "match"),
        (vec!["HostCertificate /x", "DenyUsers root"], 2, "denyusers"),
        (vec!["Include /etc/ssh/sshd_config"], 1, "include"),
        (vec!["AuthorizedKeysCommand /usr/bin/id", "AuthorizedKeysCommandUser root"], 1, "authorizedkeyscommand"),
        (vec!["HostKey /etc/ssh/ssh_host_rsa_key"], 1, "hostkey"),
    ] {
        let place = format!("60-test.conf line {line} ");
        refused(&machine, r#"["HostCertificate"]"#, &lines, &[&place, says, "not granted", "granted: hostcertificate"]);
    }
    refused(&machine, "[]", &["HostCertificate /x"], &["no sshd keyword is granted"]);
    serves(&machine);
}

/// Granted by an administrator who did not see what it does.
#[test]
fn a_granted_keyword_that_locks_people_out() {
    let machine = Machine::start();
    for (keyword, line, says) in [
        ("DenyUsers", "DenyUsers *", "log in"),
        ("ForceCommand", "ForceCommand /bin/false", "forcecommand decides who gets in"),
        ("HostKeyAlgorithms", "HostKeyAlgorithms ssh-ed25519", "host key could not connect any more"),
    ] {
        refused(&machine, &format!("[{keyword:?}]"), &[line], &[says]);
    }
    serves(&machine);
}

#[test]
fn a_certificate_that_would_be_hidden() {
    let lines = "HostKeyAlgorithms ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512\n".to_owned();
    let machine = Machine::with(&Setup { lines, ..Setup::default() });
    let before = machine.tree();
    let run = machine.warded(["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]);
    let place = format!("{} line ", machine.config().display());
    run.ends(5).says(&[
        "does not list their types",
        &place,
        "ssh-ed25519-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01",
    ]);
    assert_eq!(before, machine.tree());
    serves(&machine);
}

#[test]
fn the_main_file_outside_the_marked_block() {
    let machine = Machine::start();
    let before = machine.tree();
    let grants = ["files.write = [\"{sshd-config}\"]", "sshd.keywords = [\"DenyUsers\"]"];
    let path = machine.config();
    let run = write(&machine, &grants, path.to_str().unwrap(), &["DenyUsers *"]);
    run.ends(1).says(&["unmarked-change", "# BEGIN warded", "nothing was changed"]);
    assert_eq!(before, machine.tree());
    serves(&machine);
}

/// So that the refusals above are not for want of trying.
#[test]
fn a_granted_keyword_that_does_no_harm_is_taken() {
    let machine = Machine::start();
    drop_in(&machine, r#"["LoginGraceTime"]"#, &["LoginGraceTime 77"]).ends(0);
    assert!(machine.path("ssh/sshd_config.d/60-test.conf").exists());
}

/// What an administrator wrote into Warded's drop-in, or between its marks, is the administrator's.
#[test]
fn a_line_that_somebody_wrote_among_ours_is_not_removed() {
    for alone in [false, true] {
        let machine = Machine::with(&Setup { alone, without_rsa: true, ..Setup::default() });
        let again = || {
            let name = format!("principal={NAME}");
            machine.warded(["apply", "certify-host", "--set", &name, "--yes"])
        };
        machine.certify();
        let path = machine.path(if alone { "ssh/sshd_config" } else { "ssh/sshd_config.d/50-warded.conf" });
        let ours = fs::read_to_string(&path).unwrap();
        let certificate = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
        let theirs = machine.path("ssh/theirs-cert.pub");
        fs::copy(&certificate, &theirs).unwrap();
        let first =
            format!("HostCertificate {}/ssh/ssh_host_ecdsa", machine.path("").to_str().unwrap().trim_end_matches('/'));
        let edited = |line: &str| fs::write(&path, ours.replacen(&first, &format!("{line}\n{first}"), 1)).unwrap();

        edited(&format!("HostCertificate {}", theirs.display()));
        assert_ne!(fs::read_to_string(&path).unwrap(), ours);
        let before = machine.tree();
        again().ends(5).says(&["theirs-cert.pub", "which Warded did not write", "nothing was changed"]);
        assert_eq!(machine.tree(), before);

        // A comment is no line to sshd; that it goes is told.
        edited("# theirs");
        let run = again().ends(0);
        assert!(run.stdout.contains("was edited since Warded wrote it"), "{}", run.stdout);
        assert!(run.stdout.contains("-# theirs"), "{}", run.stdout);
        assert_eq!(fs::read_to_string(&path).unwrap(), ours);
        again().ends(0);
        serves(&machine);
    }
}

/// A directory of drop-ins that is read for some connections by another name: our lines would be there, too.
#[test]
fn a_directory_that_is_read_under_two_names() {
    let peer = Peer::prepared("trixie", |peer| {
        fs::create_dir(peer.file("/etc/ssh/more")).unwrap();
        Run::of(peer.command("mount").args(["--bind", "/etc/ssh/sshd_config.d", "/etc/ssh/more"])).ends(0);
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{stock}Match User backup\n  Include /etc/ssh/more/*.conf\n")).unwrap();
    });
    let Some(peer) = peer else { return };
    let before = tree(&peer.file("/etc/ssh"));
    let principal = format!("principal={NAME}");
    for command in [&["plan"][..], &["apply", "--yes"]] {
        let words = [command, &["certify-host", "--set", &principal]].concat();
        peer.warded(&words).ends(5).says(&[
            "50-warded.conf is read a second time, as /etc/ssh/more/50-warded.conf",
            "their directory has two names",
        ]);
    }
    assert!(before == tree(&peer.file("/etc/ssh")));
    assert!(!fs::read_to_string(peer.file("/run/sshd.log")).unwrap().contains("SIGHUP"));
}
