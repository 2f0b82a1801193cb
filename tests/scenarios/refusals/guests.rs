//! Failures with which a procedure ends: a sentence, the file and the line if there is one, and what to do next.

use crate::support::{Machine, Run};
use std::fs;

const CERTIFY: [&str; 3] = ["certify-host", "--set", "principal=web1.example.org"];
const REVOKE: [&str; 3] = ["revoke-users", "--set", "serial=7"];

#[test]
fn every_failure_says_what_to_do_next() {
    type Case<'a> = (&'a [&'a str], &'a dyn Fn(&Machine), &'a [&'a str]);
    let main = |machine: &Machine, lines: &str| {
        let text = fs::read_to_string(machine.config()).unwrap();
        fs::write(machine.config(), text + lines).unwrap();
    };
    let cases: [Case<'_>; 9] = [
        (
            &CERTIFY,
            &|machine| main(machine, "# BEGIN warded\nUseDNS no\n# BEGIN warded\n"),
            &["gave up (broken-block)", "such marks are in line ", "correct these lines"],
        ),
        (
            &CERTIFY,
            &|machine| fs::create_dir(machine.path("ssh/sshd_config.d/50-warded.conf")).unwrap(),
            &["gave up (not-a-file)", "50-warded.conf: a directory", "move it away, so that a file can be there"],
        ),
        (
            &CERTIFY,
            &|machine| main(machine, "NoSuchKeyword 7\n"),
            &["gave up (invalid-configuration)", "sshd_config: line ", "NoSuchKeyword", "correct sshd's configuration"],
        ),
        (
            &CERTIFY,
            &|machine| main(machine, "HostKeyAlgorithms sk-ssh-ed25519@openssh.com\n"),
            &["gave up (no-host-key)", "HostKeyAlgorithms: sk-ssh-ed25519@openssh.com", "take that line out"],
        ),
        (&["revoke-users", "--set", "serial=x"], &|_| (), &["gave up (invalid-serial)", "ssh-keygen -L -f"]),
        (
            &REVOKE,
            &|machine| fs::write(machine.path("ssh/warded-revoked.krl"), "what is this?\n").unwrap(),
            &[
                "gave up (not-a-revocation-list)",
                "cannot add serial numbers to",
                "warded-revoked.krl",
                "restore it from a backup",
            ],
        ),
        (
            &REVOKE,
            &|machine| main(machine, "RevokedKeys none\n"),
            &["gave up (other-revoked-keys)", "sshd_config line ", "take that line out"],
        ),
        (
            &REVOKE,
            &|machine| {
                let key = fs::read(machine.path("ssh/ssh_host_ed25519_key")).unwrap();
                fs::write(machine.path("ssh/sshd_config.d/90-lost.conf"), key).unwrap();
            },
            // sshd would quote the file line by line.
            &["gave up (invalid-configuration)", "90-lost.conf: line 1: ", "not shown: it may quote a private key"],
        ),
        (
            &["rekey-host", "--set", "key=/etc/ssh/no_such_key"],
            &|_| (),
            &["gave up (not-rekeyed)", "/etc/ssh/no_such_key is not a host key", "warded status shows"],
        ),
    ];
    for (procedure, fault, words) in cases {
        let machine = Machine::stopped();
        fault(&machine);
        let before = machine.tree();
        let mut command = machine.warded_command(["plan"]);
        // If sshd does not accept its configuration, Warded refuses to change anything.
        let is_refused = words.contains(&"gave up (invalid-configuration)");
        let run = Run::of(command.args(procedure)).ends(if is_refused { 5 } else { 1 });
        eprintln!("{}", run.stderr);
        let said = run.says(words).says(&["next:", "nothing was changed"]).stderr;
        let key = fs::read_to_string(machine.path("ssh/ssh_host_ed25519_key")).unwrap();
        assert!(key.lines().skip(1).all(|line| !said.contains(line)), "{said}");
        assert_eq!(machine.tree(), before);
    }
}
