//! An sshd that allows nothing that Warded speaks itself: everything is proved by the `ssh` program, and that is told.

use crate::support::{Machine, Setup};
use serde_json::Value;

/// How many certificates are seen to be served.
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
             that Warded knows\n",
        ),
    ] {
        let machine = Machine::with(&setup);
        let certified = machine.certify();
        // Nothing renews here by the clock, which is a note of `status`.
        let status = machine.warded(["status", "--json"]).object("warded.status/1");
        assert_eq!((&status["needed_ssh"], served(&status)), (&needs_ssh.into(), 3), "{status:#}");
        let said = machine.warded(["status", "--verbose"]).stderr;
        assert_eq!(said.contains("asked by `ssh`: sshd allows no algorithms that Warded knows"), needs_ssh, "{said}");
        let renewed = machine.warded(["renew", "--force", "--json"]).ends(0).object("warded.renew/1");
        // A renewal is of one sshd or of several: each has its object.
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
