//! Lines that sshd would refuse, and lines that it would take.

use super::{drop_in, refused, serves, write};
use crate::support::{Machine, Setup};

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
