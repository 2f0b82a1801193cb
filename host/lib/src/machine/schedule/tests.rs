use super::*;
use std::path::PathBuf;

const SERVICE: &str = "[Service]\nExecStart=/usr/local/bin/warded renew\n";
const TIMER: &str = "[Timer]\nOnCalendar=daily\n";

/// Debian's own, with a cron daemon among the processes of the machine.
fn installation(root: &Path) -> Installation {
    let process = root.join("proc/20");
    fs::create_dir_all(&process).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(process.join("comm"), "cron\n").unwrap();
    std::os::unix::fs::symlink(root, process.join("root")).unwrap();
    Installation {
        state: "/var/lib/warded".into(),
        config: "/etc/warded/config.toml".into(),
        default_state: "/var/lib/warded".into(),
        default_config: "/etc/warded/config.toml".into(),
    }
}

fn passed(by: &str, why: Why) -> Schedule {
    Schedule::Passed(Passed { by: by.to_owned(), why })
}

const MANAGER: (&str, &str) = ("usr/lib/systemd/systemd", "");

fn timer(name: &str) -> Schedule {
    Schedule::Timer(name.to_owned())
}

/// What is found on a machine with these files, below its root.
fn found(files: &[(&str, &str)], has_systemd: bool) -> Schedule {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    match Schedule::find(root.path(), has_systemd, &installation(root.path())) {
        Schedule::Cron(cron) => by_cron(cron.file.strip_prefix(root.path()).unwrap(), cron.times.as_deref()),
        other @ (Schedule::Timer(_)
        | Schedule::DisabledTimer(_)
        | Schedule::Job(_)
        | Schedule::Passed(_)
        | Schedule::Nothing
        | Schedule::Unknown(_)) => other,
    }
}

fn by_cron(file: impl Into<PathBuf>, times: Option<&str>) -> Schedule {
    Schedule::Cron(Cron { file: file.into(), times: times.map(str::to_owned) })
}

#[test]
fn timers_are_found() {
    for (case, files, has_systemd, expected) in [
        ("nothing", &[][..], true, Schedule::Nothing),
        ("no systemd", &[][..], false, Schedule::Nothing),
        ("OpenRC beside it", &[MANAGER, ("run/openrc/x", "")][..], false, Schedule::Nothing),
        ("systemd out of sight", &[MANAGER][..], false, Schedule::Unknown(Unseen::Systemd)),
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
                ("usr/lib/systemd/system/t.timer", "[Timer]\nUnit=w.service\n"),
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
        (
            "a masked service",
            &[
                ("etc/systemd/system/r.service", ""),
                ("usr/lib/systemd/system/r.service", SERVICE),
                ("usr/lib/systemd/system/r.timer", TIMER),
            ],
            true,
            Schedule::Nothing,
        ),
        (
            "another timer",
            &[
                ("etc/systemd/system/r.service", "[Service]\nExecStart=/usr/bin/certbot renew\n"),
                ("etc/systemd/system/r.timer", TIMER),
            ],
            true,
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
            true,
            passed("r.timer", Why::User("nobody".to_owned())),
        ),
        (
            "a drop-in that takes the command out",
            &[
                ("etc/systemd/system/r.service", SERVICE),
                ("etc/systemd/system/r.service.d/50-w.conf", "[Service]\nExecStart=\nExecStart=/bin/true\n"),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            true,
            Schedule::Nothing,
        ),
        (
            "a timer of another installation",
            &[
                ("etc/systemd/system/r.service", "[Service]\nExecStart=/usr/local/bin/warded --state /s renew\n"),
                ("etc/systemd/system/r.timer", TIMER),
                ("etc/systemd/system/timers.target.wants/r.timer", TIMER),
            ],
            true,
            passed("r.timer", Why::State("/s".into())),
        ),
    ] {
        assert_eq!(found(files, has_systemd), expected, "{case}");
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
            passed("/etc/cron.d/w", Why::OnlyAtStart),
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
            passed("/etc/cron.d/w", Why::OneSshd("/s".into())),
        ),
        ("what an editor left", &[("etc/cron.d/warded~", "17 4 * * * root warded renew\n")], false, Schedule::Nothing),
        (
            "a script that nothing runs",
            &[("etc/cron.daily/warded", "#!/bin/sh\nexec warded renew\n")],
            false,
            Schedule::Nothing,
        ),
    ] {
        assert_eq!(found(files, has_systemd), expected, "{case}");
    }
}

#[test]
fn only_a_line_of_roots_in_the_systems_tables_counts() {
    for (file, line, expected) in [
        ("etc/cron.d/w", "7 * * * * jane warded renew", false),
        ("etc/crontab", "@daily jane warded renew", false),
        ("etc/crontab", "@daily root warded renew", true),
        ("etc/cron.d/w", "7 * * * * root warded renew", true),
        ("var/spool/cron/root", "7 * * * * warded renew", true),
    ] {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, line).unwrap();
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
    ];
    for (case, name, program, wants, counts) in [
        ("Debian's", "cron", "/usr/sbin/cron", false, [true, true, true]),
        ("BusyBox's", "crond", "/bin/busybox", false, [false, true, false]),
        ("none", "", "", false, [false, false, false]),
        ("anacron by a timer", "", "", true, [false, false, true]),
    ] {
        for ((file, line), counts) in by_hand.into_iter().zip(counts) {
            let root = tempfile::tempdir().unwrap();
            let at = |path: &str| root.path().join(path);
            let installation = installation(root.path());
            fs::write(at("proc/20/comm"), name).unwrap();
            std::os::unix::fs::symlink(program, at("proc/20/exe")).unwrap_or_default();
            if wants {
                fs::create_dir_all(at("etc/systemd/system/timers.target.wants")).unwrap();
                fs::write(at("etc/systemd/system/timers.target.wants/anacron.timer"), "").unwrap();
            }
            fs::create_dir_all(at(file).parent().unwrap()).unwrap();
            fs::write(at(file), line).unwrap();
            let found = Schedule::find(root.path(), false, &installation);
            if counts {
                assert!(matches!(&found, Schedule::Cron(cron) if cron.file == at(file)), "{case}: {found:?}");
            } else {
                assert_eq!(found, passed(&format!("/{file}"), Why::NoDaemon), "{case}");
            }
        }
    }
}
