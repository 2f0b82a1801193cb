//! If `renew` would be refused, `status` and `renew --plan` say so from the first day on.

use crate::support::{
    Machine, Run,
    machine::{NAME, Setup},
    missing,
};
use std::{fs, os::unix::fs::PermissionsExt as _};

fn certified() -> Machine {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    machine.warded(["status"]).ends(0);
    machine
}

/// Others could replace the directory's files.
#[test]
fn a_directory_that_others_can_write_later() {
    let machine = certified();
    let directory = machine.path("ssh");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = machine.warded(["renew", "--force"]);
    assert!(!matches!(refused.code, Some(0 | 4)), "{refused:?}");
    for command in ["status", "doctor"] {
        machine.warded([command]).ends(4).prints(&["renew would be refused: ", directory.to_str().unwrap(), "chmod"]);
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    machine.warded(["status"]).ends(0);
}

/// Certificates that clients would reject, or that could not be renewed: `certify-host` replaces them. The
/// configuration does not name them yet.
#[test]
fn a_certificate_that_is_none_to_keep_is_replaced() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let (ca, key) = (machine.path("ca/host_ca"), machine.path("ssh/ssh_host_ed25519_key"));
    for options in
        [&["-V", "always:forever"][..], &["-V", "20400101:20410101"], &["-V", "-1d:+30d", "-O", "critical:x@y=1"]]
    {
        let sign = ["-q", "-s", ca.to_str().unwrap(), "-I", "x", "-h", "-n", NAME];
        Run::of(machine.command("ssh-keygen").args(sign).args(options).arg(key.with_extension("pub"))).ends(0);
        let replaced = format!("{}-cert.pub", key.display());
        machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(3).prints(&[&replaced]);
    }
    machine.certify();
    machine.warded(["status"]).ends(0);
}

/// A backup by `cp -al` makes hard links. Warded does not write such a file, and says what to do.
#[test]
fn a_certificate_with_a_second_name() {
    let machine = certified();
    let path = machine.path("ssh/ssh_host_ed25519_key-cert.pub");
    let second = machine.path("backup");
    fs::hard_link(&path, &second).unwrap();
    let next = format!("cp -p {0} {0}.new && mv {0}.new {0}", path.display());
    machine.warded(["renew", "--force"]).ends(4).prints(&["hard link", &next]);
    for command in ["status", "doctor"] {
        machine.warded([command]).ends(4).prints(&[
            "renew would be refused: ",
            path.to_str().unwrap(),
            "hard link",
            &next,
        ]);
    }
    fs::remove_file(&second).unwrap();
    machine.warded(["renew", "--force"]).ends(0);
    machine.warded(["status"]).ends(0);
}

/// The output names the place of the error and still shows the certificates, and monitoring continues.
#[test]
fn a_configuration_that_sshd_does_not_accept() {
    for stopped in [false, true] {
        let machine = Machine::with(&Setup { without_rsa: true, stopped, ..Setup::default() });
        machine.certify();
        let drop_in = machine.path("ssh/sshd_config.d/90-theirs.conf");
        fs::write(&drop_in, "# theirs\nNoSuchKeyword 7\n").unwrap();
        machine.warded(["renew", "--force"]).ends(5).says(&["NoSuchKeyword"]);
        let place = format!("{} line 2: ", drop_in.display()).replace(" line 2: ", ": line 2: ");
        let words = ["NoSuchKeyword", "sshd -t` is silent", place.as_str()];
        machine.warded(["doctor"]).ends(4).prints(&words);
        let shown = machine.warded(["status"]).ends(4).prints(&words).prints(&[NAME, "renewal      due in "]).stdout;
        assert_eq!(shown.matches("host key     ").count(), 2, "{shown}");
        assert!(!shown.contains("no certificate"), "{shown}");
        let file = machine.path("warded.prom");
        machine.warded(["status", "--prometheus", file.to_str().unwrap()]).ends(4);
        let metrics = fs::read_to_string(&file).unwrap();
        assert_eq!(metrics.matches("\nwarded_certificate_not_after_seconds{").count(), 2, "{metrics}");
        assert!(metrics.contains("\nwarded_healthy 0\n"), "{metrics}");
        fs::remove_file(&drop_in).unwrap();
        machine.warded(["status"]).ends(0);
    }
}

/// After somebody's edit a reload would close a listening address.
#[test]
fn an_address_that_a_reload_would_close() {
    let lines = "ListenAddress 127.0.0.9\n".to_owned();
    let machine = Machine::with(&Setup { lines, without_rsa: true, ..Setup::default() });
    machine.certify();
    machine.warded(["status"]).ends(0);
    let config = fs::read_to_string(machine.config()).unwrap();
    fs::write(machine.config(), config.replace("ListenAddress 127.0.0.9\n", "")).unwrap();
    let why = "a reload would close 127.0.0.9:2222";
    machine.warded(["renew", "--force"]).ends(5).says(&[why]);
    let before = machine.tree();
    machine.warded(["renew", "--force", "--plan"]).ends(5).says(&[why, "nothing was changed"]);
    assert!(before == machine.tree());
    for command in ["status", "doctor"] {
        machine.warded([command]).ends(4).prints(&[why, "finish or undo that change"]);
    }
    fs::write(machine.config(), config).unwrap();
    machine.warded(["status"]).ends(0);
    machine.warded(["renew", "--force", "--plan"]).ends(3).prints(&["Nothing has been changed."]);
}

/// A host key with a second name (a hard link) is not used, whether it has a certificate or not.
#[test]
fn a_host_key_with_a_second_name() {
    for has_certificate in [true, false] {
        let machine = certified();
        let key = machine.path("ssh/ssh_host_ecdsa_key");
        fs::hard_link(&key, machine.path("backup")).unwrap();
        if !has_certificate {
            fs::remove_file(machine.path("ssh/ssh_host_ecdsa_key-cert.pub")).unwrap();
        }
        let words = ["renew would not use it", "a hard link", "cp -p "];
        let said = machine.warded(["status"]).ends(4).prints(&words).stdout;
        assert!(!said.contains("warded renew gets one"), "{said}");
        let mut renews = machine.warded_command(["renew", "--force"]);
        let renewed = Run::of(&mut renews);
        assert!(renewed.code != Some(0), "{renewed:?}");
    }
}

/// Another program listens on a port that the configuration names.
#[test]
fn a_port_of_the_configuration_that_another_program_has() {
    if missing::root() {
        return;
    }
    let lines = "Port 2203\n".to_owned();
    let mut machine = Machine::with(&Setup { lines, stopped: true, without_rsa: true, ..Setup::default() });
    let other = machine.listen(2203);
    machine.serve();
    let told = "something listens on 127.0.0.1:2203";
    let set = format!("principal={NAME}");
    machine.warded(["apply", "certify-host", "--yes", "--set", &set]).ends(0).prints(&["Not proved: ", told]);
    machine.serves_certificates();
    for command in ["status", "doctor"] {
        machine.warded([command]).ends(4).prints(&[told]);
    }
    drop(other);
    machine.warded(["status"]).ends(0);
}
