//! An sshd that allows no algorithm that Warded itself implements: the `ssh` program proves everything, and Warded says
//! so.

use crate::support::{Machine, Setup};
use serde_json::Value;

/// How many certificates `status` reports as served.
fn served(status: &Value) -> usize {
    status["host_keys"].as_array().unwrap().iter().filter(|key| key["served"] == true).count()
}

#[test]
fn what_is_not_spoken_here_is_proved_by_ssh() {
    let only = |method: &str| Setup { lines: format!("KexAlgorithms {method}\n"), ..Setup::default() };
    for (setup, way, needs_ssh, told) in [
        (Setup::default(), "session", false, "» proved in one session with a private copy of sshd\n"),
        (
            only("sntrup761x25519-sha512@openssh.com"),
            "connections",
            true,
            "» proved by a connection to a private copy of sshd for each host key, made by `ssh`: sshd allows no algorithms \
             that Warded supports\n",
        ),
    ] {
        let machine = Machine::with(&setup);
        let certified = machine.certify();
        // No timer renews here, which `status` reports as a problem, so its exit code is not checked.
        let status = machine.warded(["status", "--json"]).object("warded.status/1");
        assert_eq!((&status["needed_ssh"], served(&status)), (&needs_ssh.into(), 3), "{status:#}");
        let said = machine.warded(["status", "--verbose"]).stderr;
        assert_eq!(said.contains("asked by `ssh`: sshd allows no algorithms"), needs_ssh, "{said}");
        let renewed = machine.warded(["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
        // A renewal of several sshds has one object for each.
        let renewed = if renewed["renewals"].is_array() { renewed["renewals"][0].clone() } else { renewed };
        let undone = machine.warded(["undo", "--yes", "--json"]).ends(0).object("warded.undo/1");
        for (what, object) in [("apply", &certified), ("renew", &renewed), ("undo", &undone)] {
            assert_eq!(
                (&object["proved_by"], &object["needed_ssh"]),
                (&way.into(), &needs_ssh.into()),
                "{what}: {object:#}"
            );
        }
        assert_eq!(certified["served"].as_array().unwrap().len(), 3);
        let words = ["apply", "certify-host", "--set", "principal=web2.example.org", "--yes", "--verbose"];
        let run = machine.warded(words).ends(0);
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
}
