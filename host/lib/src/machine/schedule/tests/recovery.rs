//! What recovers interrupted runs at the start of the machine.

use super::*;

#[test]
fn lines_of_crons_and_scripts_of_inits_recover_where_they_are_started() {
    let script = "#!/bin/sh\ncase $1 in\n    start) exec /usr/local/bin/warded recover ;;\nesac\n";
    for (case, files, expected) in [
        ("nothing", &[][..], None),
        ("cron's", &[("etc/cron.d/w", "@reboot root /usr/bin/warded recover >/dev/null\n")], Some("/etc/cron.d/w")),
        ("by the clock", &[("etc/cron.d/w", "5 * * * * root warded recover\n")], None),
        ("a user's", &[("etc/cron.d/w", "@reboot jane warded recover\n")], None),
        ("a comment", &[("etc/cron.d/w", "#@reboot root warded recover\n")], None),
        ("a script that nothing starts", &[("etc/init.d/w", script)], None),
        ("sysvinit's", &[("etc/init.d/w", script), ("etc/rc2.d/S01w", "")], Some("/etc/init.d/w")),
        ("one that sysvinit stops", &[("etc/init.d/w", script), ("etc/rc2.d/K01w", "")], None),
        ("OpenRC's", &[("etc/init.d/w", script), ("etc/runlevels/default/w", "")], Some("/etc/init.d/w")),
        (
            "runit's",
            &[("etc/runit/core-services/97-w.sh", "/usr/local/bin/warded recover\n")],
            Some("/etc/runit/core-services/97-w.sh"),
        ),
        ("another command", &[("etc/runit/core-services/97-w.sh", "warded renew\n")], None),
    ] {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            put(root.path(), path, text);
        }
        let found = recovers_at_start(root.path(), &installation(root.path()));
        assert_eq!(found.as_deref(), expected.map(Path::new), "{case}");
    }
    // No daemon reads the table.
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "etc/cron.d/w", "@reboot root warded recover\n");
    assert_eq!(recovers_at_start(root.path(), &usual()), None);
}
