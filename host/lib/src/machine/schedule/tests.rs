mod drop_ins;
mod recovery;

use super::{times::Times, *};
use std::{
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

const SERVICE: &str = "[Service]\nExecStart=/usr/local/bin/warded renew\n";
const TIMER: &str = "[Timer]\nOnCalendar=daily\n";

/// The default installation on Debian, with a cron daemon among the processes of the machine.
fn installation(root: &Path) -> Installation {
    let process = root.join("proc/20");
    fs::create_dir_all(&process).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(process.join("comm"), "cron\n").unwrap();
    symlink(root, process.join("root")).unwrap();
    usual()
}

fn usual() -> Installation {
    Installation {
        state: "/var/lib/warded".into(),
        config: "/etc/warded/config.toml".into(),
        default_state: "/var/lib/warded".into(),
        default_config: "/etc/warded/config.toml".into(),
    }
}

fn passed(by: &str, why: RejectionReason) -> Schedule {
    Schedule::Passed(RejectedSchedule { by: by.to_owned(), why })
}

const MANAGER: (&str, &str) = ("usr/lib/systemd/systemd", "");

/// A timer of that name; how often a timer runs is tested elsewhere.
fn timer(name: &str) -> Schedule {
    Schedule::Timer(Timer::read(name.to_owned(), "OnCalendar=daily", false).unwrap())
}

/// Writes a file with the mode that such a file usually has.
fn put(root: &Path, name: &str, text: &str) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    let of_table = if name.starts_with("var/spool/") { 0o600 } else { 0o644 };
    let mode = if text.starts_with("#!") { 0o755 } else { of_table };
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The schedule that is found on a machine with these files below its root.
fn found(files: &[(&str, &str)], has_systemd: bool) -> Schedule {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        put(root.path(), path, text);
    }
    match Schedule::find(root.path(), has_systemd, &installation(root.path())) {
        Schedule::Timer(found) => timer(&found.name),
        Schedule::Cron(cron) => {
            Schedule::Cron(Cron { file: cron.file.strip_prefix(root.path()).unwrap().to_owned(), ..cron.clone() })
        }
        other @ (Schedule::DisabledTimer(_)
        | Schedule::Job(_)
        | Schedule::DisabledJob(_)
        | Schedule::Passed(_)
        | Schedule::Nothing
        | Schedule::Unknown(_)) => other,
    }
}

fn by_cron(file: impl Into<PathBuf>, times: Option<&str>) -> Schedule {
    Schedule::Cron(Cron { file: file.into(), times: times.map(|times| Times::Fields(times.to_owned())) })
}

#[test]
fn timers_are_found() {
    for (case, files, has_systemd, expected) in [
        ("nothing", &[][..], true, Schedule::Nothing),
        ("no systemd", &[][..], false, Schedule::Nothing),
        ("OpenRC beside it", &[MANAGER, ("run/openrc/x", "")][..], false, Schedule::Nothing),
        ("systemd out of sight", &[MANAGER][..], false, Schedule::Unknown(BlindSpot::Systemd)),
        (
            "an enabled timer",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            true,
            timer("r.timer"),
        ),
        (
            "a timer of a package, for a service of another name",
            &[
                ("usr/lib/systemd/system/w.service", SERVICE),
                ("usr/lib/systemd/system/t.timer", "[Timer]\nOnBootSec=1\nOnUnitActiveSec=1d\nUnit=w.service\n"),
                ("etc/systemd/system/timers.target.wants/t.timer", ""),
            ],
            true,
            timer("t.timer"),
        ),
        (
            "no systemd",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            false,
            Schedule::Nothing,
        ),
        (
            "a timer that is not enabled",
            &[("etc/systemd/system/r.service", SERVICE), ("etc/systemd/system/r.timer", TIMER)],
            true,
            Schedule::DisabledTimer("r.timer".to_owned()),
        ),
    ] {
        assert_eq!(found(files, has_systemd), expected, "{case}");
    }
}

#[test]
fn what_the_text_of_a_unit_says_decides() {
    for (case, files, expected) in [
        (
            "a masked service",
            &[
                ("etc/systemd/system/r.service", ""),
                ("usr/lib/systemd/system/r.service", SERVICE),
                ("usr/lib/systemd/system/r.timer", TIMER),
            ][..],
            Schedule::Nothing,
        ),
        (
            "another timer",
            &[
                ("etc/systemd/system/r.service", "[Service]\nExecStart=/usr/bin/certbot renew\n"),
                ("etc/systemd/system/r.timer", TIMER),
            ],
            Schedule::Nothing,
        ),
        (
            "a timer of a user's",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("run/systemd/system/r.service.d/u.conf", "[Service]\nUser=nobody\n"),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            passed("r.timer", RejectionReason::User("nobody".to_owned())),
        ),
        (
            "a drop-in that takes the command out",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("etc/systemd/system/r.service.d/50-w.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n"),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            Schedule::Nothing,
        ),
        (
            "blanks, and a line that goes on",
            &[
                ("etc/systemd/system/r.service", "[Service]\nExecStart = /bin/sh -c \\\n  '/opt/warded renew'\n"),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            timer("r.timer"),
        ),
        (
            "an instance of a template",
            &[
                ("etc/systemd/system/r@.service", SERVICE),
                ("etc/systemd/system/r@.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r@main.timer", TIMER),
            ],
            timer("r@main.timer"),
        ),
        (
            "a timer for the start of the machine",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("etc/systemd/system/r.timer", "[Timer]\nOnBootSec=5min\n"),
                ("etc/systemd/system/timers.target.wants/r.timer", ""),
            ],
            passed("r.timer", RejectionReason::OnlyAtStart),
        ),
        (
            "a timer of another installation",
            &[
                ("etc/systemd/system/r.service", "[Service]\nExecStart=/usr/local/bin/warded --state /s renew\n"),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            passed("r.timer", RejectionReason::State("/s".into())),
        ),
    ] {
        assert_eq!(found(files, true), expected, "{case}");
    }
}

#[test]
fn tables_and_scripts_of_crons_are_found() {
    for (case, files, has_systemd, expected) in [
        (
            "a line of cron's beside a timer that is not enabled",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/cron.d/warded", "# renew\n17 4 * * * root warded renew\n"),
            ][..],
            true,
            by_cron("etc/cron.d/warded", Some("17 4 * * *")),
        ),
        ("a comment", &[("etc/crontab", "#17 4 * * * root warded renew\n")], false, Schedule::Nothing),
        (
            "root's table",
            &[("var/spool/cron/crontabs/root", "@daily /opt/warded --json renew >/dev/null\n")],
            false,
            by_cron("var/spool/cron/crontabs/root", Some("0 0 * * *")),
        ),
        (
            "a line for each start",
            &[("etc/cron.d/w", "@reboot root warded renew\n")],
            false,
            passed("/etc/cron.d/w", RejectionReason::OnlyAtStart),
        ),
        (
            "a line for each start, and one by the clock",
            &[("etc/cron.d/w", "@reboot root warded renew\n17 4 * * * root warded renew\n")],
            false,
            by_cron("etc/cron.d/w", Some("17 4 * * *")),
        ),
        (
            "a line for one sshd",
            &[("etc/cron.d/w", "7 * * * * root warded --sshd-config /s renew\n")],
            false,
            passed("/etc/cron.d/w", RejectionReason::OneSshd("/s".into())),
        ),
        (
            "a crontab of a user's",
            &[("var/spool/cron/crontabs/jane", "17 * * * * warded renew\n")],
            false,
            passed("/var/spool/cron/crontabs/jane", RejectionReason::User("jane".to_owned())),
        ),
        (
            "a crontab of a user's, by sudo",
            &[("var/spool/cron/crontabs/jane", "17 * * * * sudo warded renew\n")],
            false,
            by_cron("var/spool/cron/crontabs/jane", Some("17 * * * *")),
        ),
        (
            "a user's line in the system's table",
            &[("etc/crontab", "17 * * * * jane warded renew\n")],
            false,
            passed("/etc/crontab", RejectionReason::User("jane".to_owned())),
        ),
        (
            "a line without a user",
            &[("etc/cron.d/w", "17 * * * * /usr/local/bin/warded renew\n")],
            false,
            passed("/etc/cron.d/w", RejectionReason::Ignored(SkipReason::NoUser)),
        ),
        (
            "root's own line with a user",
            &[("var/spool/cron/crontabs/root", "17 * * * * root warded renew\n")],
            false,
            passed("/var/spool/cron/crontabs/root", RejectionReason::Ignored(SkipReason::User)),
        ),
        (
            "root's line behind a user's",
            &[("etc/crontab", "17 * * * * jane warded renew\n@daily root warded renew\n")],
            false,
            by_cron("etc/crontab", Some("0 0 * * *")),
        ),
        (
            "a table without an end",
            &[("etc/cron.d/w", "17 * * * * root warded renew")],
            false,
            passed("/etc/cron.d/w", RejectionReason::Ignored(SkipReason::NoEnd)),
        ),
        (
            "a name with a dot",
            &[("etc/cron.d/warded.cron", "17 * * * * root warded renew\n")],
            false,
            passed("/etc/cron.d/warded.cron", RejectionReason::Ignored(SkipReason::Name)),
        ),
        (
            "a script each month",
            &[("etc/cron.monthly/warded", "#!/bin/sh\nexec warded renew\n")],
            false,
            by_cron("etc/cron.monthly/warded", Some("0 0 1 * *")),
        ),
        ("what an editor left", &[("etc/cron.d/warded~", "17 4 * * * root warded renew\n")], false, Schedule::Nothing),
        (
            "a script that may not be executed",
            &[("etc/cron.daily/warded", "exec warded renew\n")],
            false,
            passed("/etc/cron.daily/warded", RejectionReason::Ignored(SkipReason::NotExecutable)),
        ),
    ] {
        assert_eq!(found(files, has_systemd), expected, "{case}");
    }
}

#[test]
fn only_a_line_of_roots_in_the_systems_tables_counts() {
    for (file, line, expected) in [
        ("etc/cron.d/w", "7 * * * * jane warded renew\n", false),
        ("etc/crontab", "@daily jane warded renew\n", false),
        ("etc/crontab", "@daily root warded renew\n", true),
        ("etc/cron.d/w", "7 * * * * root warded renew\n", true),
        ("var/spool/cron/crontabs/root", "7 * * * * warded renew\n", true),
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        put(root.path(), file, line);
        let found = Schedule::find(root.path(), false, &installation(root.path()));
        let is_it = matches!(&found, Schedule::Cron(cron) if cron.file == path);
        assert_eq!(is_it, expected, "{file}: {line}");
    }
}

#[test]
fn a_line_of_crons_counts_where_a_daemon_reads_it() {
    let by_hand = [
        ("etc/cron.d/w", "7 * * * * root warded renew\n"),
        ("var/spool/cron/crontabs/root", "7 * * * * warded renew\n"),
        ("etc/anacrontab", "1 5 w warded renew\n"),
        ("var/spool/cron/root", "7 * * * * warded renew\n"),
        ("var/spool/cron/tabs/root", "7 * * * * warded renew\n"),
        ("etc/periodic/hourly/w", "#!/bin/sh\nwarded renew\n"),
    ];
    for (case, name, program, wants, counts) in [
        // The columns are the directories of tables; the last but one is openSUSE's.
        ("Debian's", "cron", "/usr/sbin/cron", false, [true, true, true, false, true, false]),
        ("cronie's", "crond", "/usr/sbin/crond", false, [true; 6]),
        ("BusyBox's", "crond", "/bin/busybox", false, [false, true, false, false, false, true]),
        ("none", "", "", false, [false; 6]),
        ("anacron by a timer", "", "", true, [false, false, true, false, false, false]),
    ] {
        for ((file, line), counts) in by_hand.into_iter().zip(counts) {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            let installation = installation(root.path());
            fs::write(at("proc/20/comm"), name).unwrap();
            symlink(program, at("proc/20/exe")).unwrap_or_default();
            if wants {
                fs::create_dir_all(at("etc/systemd/system/timers.target.wants")).unwrap();
                fs::write(at("etc/systemd/system/timers.target.wants/anacron.timer"), "").unwrap();
            }
            put(root.path(), file, line);
            let found = Schedule::find(root.path(), false, &installation);
            if counts {
                assert!(matches!(&found, Schedule::Cron(cron) if cron.file == at(file)), "{case}: {found:?}");
            } else {
                assert_eq!(found, passed(&format!("/{file}"), RejectionReason::NoDaemon), "{case}");
            }
        }
    }
}

/// The mode that an editor or a redirection leaves: Debian's cron ignores the table, cronie does not.
#[test]
fn a_table_of_roots_that_others_may_read() {
    let root = tempfile::tempdir().unwrap();
    let installation = installation(root.path());
    let file = "var/spool/cron/crontabs/root";
    put(root.path(), file, "7 * * * * warded renew\n");
    fs::set_permissions(root.path().join(file), fs::Permissions::from_mode(0o644)).unwrap();
    let find = || Schedule::find(root.path(), false, &installation);
    assert_eq!(find(), passed("/var/spool/cron/crontabs/root", RejectionReason::Ignored(SkipReason::Mode)));
    fs::write(root.path().join("proc/20/comm"), "crond").unwrap();
    assert!(matches!(find(), Schedule::Cron(_)));
}
