//! What a crash of the whole machine can lose: only what was not synced. So the order of writes,
//! syncs and exchanges is held against what the journal promises.

use super::{point::Seen, *};

/// A step of a run that matters here.
#[derive(Debug, PartialEq, Eq)]
enum Step<'a> {
    /// A file's contents or metadata change.
    Written(&'a str),
    /// They are on disk, or a directory's names are.
    Synced(&'a str),
    /// A name of Warded's own changes to this one.
    Own(&'a str),
    /// A live file changes: the name that is moved.
    Live(&'a str),
    /// sshd is told.
    Told,
}

fn step(seen: &Seen) -> Option<Step<'_>> {
    let path = seen.point.path.as_str();
    Some(match seen.point.call.as_str() {
        "write" | "fchmod" | "fchown" | "fsetxattr" | "fremovexattr" if path.starts_with('/') => Step::Written(path),
        "fsync" | "fdatasync" => Step::Synced(path),
        "rename" => Step::Own(seen.to.as_deref()?),
        "renameat2" | "renameat" if path.starts_with('/') => Step::Own(path),
        "renameat2" | "renameat" => Step::Live(path),
        "kill" => Step::Told,
        _ => return None,
    })
}

/// Whether it names a certificate, as it is or on its way.
fn is_certificate(path: &str) -> bool {
    path.contains("-cert.pub")
}

#[test]
fn nothing_is_exchanged_before_all_is_on_disk_and_certificates_outlive_what_names_them() {
    if !is_root() || Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "in CI this has to be tried, as root");
        eprintln!("SKIPPED: not root, or there is no strace");
        return;
    }
    let machine = Machine::with(&Setup { alone: true, ..Setup::default() });
    work::prepare(&machine);
    for (work, certificates_first) in
        [(Work::Certify, Some(true)), (Work::Renew, None), (Work::Undo, Some(false)), (Work::TakeBack, Some(true))]
    {
        let bench = Bench::set_up(&machine, work);
        let run = trace::run(&machine, work, &format!("-e trace={}", point::CALLS), true);
        assert_eq!(run.code, Some(work.exit()), "{run:?}");
        let steps: Vec<Step<'_>> = run.seen.iter().filter(|seen| seen.counts).filter_map(step).collect();
        let told = steps.iter().position(|step| *step == Step::Told).unwrap_or(steps.len());
        let live: Vec<usize> = (0..steps.len()).filter(|at| matches!(steps[*at], Step::Live(_))).collect();
        let (before, after) = match work {
            Work::Renew => (3, 0),
            // The certificates that it made go when nothing names them, and sshd has been told so.
            Work::TakeBack => (5, 3),
            Work::Undo => (1, 3),
            _ => (4, 0),
        };
        let counted = live.iter().filter(|at| **at < told).count();
        assert_eq!((counted, live.len() - counted), (before, after), "{work:?}: {steps:?}");
        all_is_on_disk(&machine, &steps[..live[0]]);
        let directory = machine.path("ssh");
        let synced = |from: usize, to: usize| steps[from..to].contains(&Step::Synced(directory.to_str().unwrap()));
        for pair in live[..before].windows(2) {
            let (Step::Live(one), Step::Live(next)) = (&steps[pair[0]], &steps[pair[1]]) else { unreachable!() };
            if is_certificate(one) != is_certificate(next) {
                assert!(synced(pair[0], pair[1]), "{work:?}: between {one} and {next} nothing was synced: {steps:?}");
            }
        }
        assert!(synced(live[before - 1], told), "{work:?}: sshd was told of what was not on disk: {steps:?}");
        let order: Vec<bool> =
            live.iter().map(|at| matches!(steps[*at], Step::Live(path) if is_certificate(path))).collect();
        match certificates_first {
            // Put in place before the file that names them, and taken out after it.
            Some(true) => {
                assert_eq!(order[..4], [true, true, true, false], "{steps:?}");
                assert!(order.len() == 4 || order[4..] == [false, true, true, true], "{steps:?}");
            }
            Some(false) => assert_eq!(order, [false, true, true, true], "{steps:?}"),
            None => assert_eq!(order, [true; 3], "{steps:?}"),
        }
        println!("{work:?}: {} steps in order, {} of live files", steps.len(), live.len());
        bench.restore();
        bench.tear_down();
    }
}

/// Every file that was written has been synced since, and every directory in which a name changed.
fn all_is_on_disk(machine: &Machine, steps: &[Step<'_>]) {
    let run = machine.path("state/runs");
    let mut journal = 0;
    for (at, step) in steps.iter().enumerate() {
        let rest = &steps[at..];
        match step {
            // The log's last records are not what a run is taken back from.
            Step::Written(path) if !path.contains("/audit/") => {
                assert!(rest.contains(&Step::Synced(path)), "{path} is not on disk: {steps:?}");
            }
            Step::Own(path) if path.starts_with(run.to_str().unwrap()) => {
                let directory = path.rsplit_once('/').unwrap().0;
                assert!(rest.contains(&Step::Synced(directory)), "{path} is not on disk: {steps:?}");
                journal += usize::from(path.ends_with("/journal.json"));
            }
            Step::Written(_) | Step::Own(_) | Step::Synced(_) | Step::Live(_) | Step::Told => {}
        }
    }
    // As prepared, and as committing.
    assert_eq!(journal, 2, "{steps:?}");
    let directory = machine.path("ssh");
    let last_new = steps.iter().rposition(|step| matches!(step, Step::Synced(path) if path.contains(".warded-")));
    assert!(
        steps[last_new.expect("no new file was synced")..].contains(&Step::Synced(directory.to_str().unwrap())),
        "the new files' names are not on disk: {steps:?}"
    );
}
