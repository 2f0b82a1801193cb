//! Drop-ins of units (systemd.unit(5)).

use super::*;

#[test]
fn a_drop_in_of_our_own_timer_says_how_often_it_runs() {
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("etc/systemd/system");
    fs::create_dir_all(units.join("timers.target.wants")).unwrap();
    fs::create_dir_all(units.join("warded-renew.timer.d")).unwrap();
    let ours = "[Timer]\nOnCalendar=hourly\nRandomizedDelaySec=1h\nFixedRandomDelay=yes\n";
    for (file, text) in [
        ("warded-renew.service", SERVICE),
        ("warded-renew.timer", ours),
        ("timers.target.wants/warded-renew.timer", ours),
    ] {
        fs::write(units.join(file), text).unwrap();
    }
    let now = "2026-11-29T09:30:00Z".parse().unwrap();
    let hours = || {
        let found = Schedule::find(root.path(), true, &usual());
        found.interval(now).map(|interval| interval.as_secs() / 3600)
    };
    assert_eq!(hours(), Some(1));
    let drop_in = units.join("warded-renew.timer.d/override.conf");
    for (text, expected) in [
        ("[Timer]\nOnCalendar=\nOnCalendar=weekly\n", Some(168)),
        ("[Timer]\nOnCalendar=\nOnCalendar=Mon *-*-1..7 04:00\n", None),
        ("[Timer]\nFixedRandomDelay=no\n", Some(2)),
    ] {
        fs::write(&drop_in, text).unwrap();
        assert_eq!(hours(), expected, "{text}");
    }
    fs::remove_file(&drop_in).unwrap();

    // Drop-ins for all units with the same prefix, and for all timers; for equal names the most specific one counts.
    let put = |file: &str, text: &str| put(root.path(), file, text);
    let every = |times: &str| format!("[Timer]\nOnCalendar=\nOnCalendar={times}\n");
    put("etc/systemd/system/timer.d/50-all.conf", &every("daily"));
    assert_eq!(hours(), Some(24));
    put("usr/lib/systemd/system/warded-.timer.d/60-w.conf", &every("weekly"));
    assert_eq!(hours(), Some(168));
    put("run/systemd/system/warded-.timer.d/50-all.conf", &every("monthly"));
    put("usr/lib/systemd/system/warded-.timer.d/60-w.conf", "");
    assert_eq!(hours(), Some(31 * 24));
    put("etc/systemd/system/warded-renew.timer.d/50-all.conf", "");
    assert_eq!(hours(), Some(1));
    put("etc/systemd/system/warded-.timer.d/70-once.conf", &every("2026-12-24"));
    assert_eq!(Schedule::find(root.path(), true, &usual()), passed("warded-renew.timer", RejectionReason::FixedYears));
}
