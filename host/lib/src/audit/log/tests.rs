use super::{
    super::{ChainBreak, VerifiedLog, read},
    *,
};
use std::process::Command;

/// A directory with the permissions that the log requires; `tempdir` alone depends on the umask.
pub(in crate::audit) fn private() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

/// Set in the environment of the processes that `processes_share_one_chain` starts.
const CHILD: &str = "WARDED_TEST_AUDIT_CHILD";

fn event(run: u64) -> Event {
    let mut event = Event::new(run, Kind::Asked);
    event.policy = "unix".to_owned();
    event.component = Some(Digest::of(b"component"));
    event.procedure = "certify-host".to_owned();
    event.capability = Some("files.write".to_owned());
    event.need = Some("/etc/ssh/sshd_config.d/50-warded.conf".to_owned());
    event.grant = Some("files.write {sshd}/sshd_config.d/50-warded.conf".to_owned());
    event
}

fn verify(directory: &Path) -> Result<VerifiedLog, ChainBreak> {
    super::super::verify(directory).unwrap()
}

fn records(directory: &Path) -> u64 {
    verify(directory).unwrap().records
}

#[test]
fn what_is_appended_reads_back() {
    let scratch = private();
    let directory = scratch.path().join("audit");
    let log = Log::open(&directory).unwrap();
    assert_eq!(verify(&directory), Ok(VerifiedLog { records: 0, unsealed: 0, from: 1 }));
    log.append(&event(1)).unwrap();
    log.append_synced(&Event::new(1, Kind::Intent)).unwrap();
    log.append(&event(2)).unwrap();
    let head = log.seal().unwrap();
    let all: Vec<_> = read(&directory).unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 3);
    assert_eq!((&all[0].event, all[0].n, all[2].previous), (&event(1), 1, all[1].hash));
    assert_eq!((head.count, head.hash), (3, all[2].hash));
    assert_eq!(records(&directory), 3);
    for name in [LOG, HEAD] {
        assert_eq!(std::fs::metadata(directory.join(name)).unwrap().mode() & 0o777, 0o600);
    }
}

/// `verify` reports how many records follow the last seal, and the next seal says how many it covers.
#[test]
fn a_seal_says_how_many_records_it_covers() {
    let scratch = private();
    let log = Log::open(scratch.path()).unwrap();
    let head = || std::fs::read(scratch.path().join(HEAD)).unwrap();
    let seals = || read(scratch.path()).unwrap().map(|record| record.unwrap().seals).collect::<Vec<_>>();
    let empty = head();
    (0..3).for_each(|run| log.append(&event(run)).unwrap());
    assert_eq!((verify(scratch.path()), head()), (Ok(VerifiedLog { records: 3, unsealed: 3, from: 1 }), empty));
    log.append_synced(&event(3)).unwrap();
    log.append_synced(&event(4)).unwrap();
    assert_eq!(verify(scratch.path()), Ok(VerifiedLog { records: 5, unsealed: 0, from: 1 }));
    drop(log);
    // Also records that another process appended.
    let log = Log::open(scratch.path()).unwrap();
    log.append(&event(5)).unwrap();
    let verified = verify(scratch.path()).unwrap();
    assert_eq!(verified.to_string(), "6 records, chain intact; the last 1 record not sealed");
    log.append_synced(&event(6)).unwrap();
    assert_eq!(seals(), [None, None, None, Some(3), None, None, Some(1)]);
    assert!(read(scratch.path()).unwrap().nth(3).unwrap().unwrap().to_string().ends_with("seals 3 more"));
}

#[test]
fn another_opening_continues_the_chain() {
    let scratch = private();
    let (first, second) = (Log::open(scratch.path()).unwrap(), Log::open(scratch.path()).unwrap());
    for _ in 0..5 {
        first.append(&event(1)).unwrap();
        second.append(&event(2)).unwrap();
    }
    second.seal().unwrap();
    drop((first, second));
    Log::open(scratch.path()).unwrap().append_synced(&event(3)).unwrap();
    assert_eq!(records(scratch.path()), 11);
}

#[test]
fn threads_share_one_chain() {
    let scratch = private();
    let log = Log::open(scratch.path()).unwrap();
    std::thread::scope(|scope| {
        for run in 0..4 {
            let log = &log;
            scope.spawn(move || (0..50).for_each(|_| log.append(&event(run)).unwrap()));
        }
    });
    log.seal().unwrap();
    assert_eq!(records(scratch.path()), 200);
}

#[test]
fn processes_share_one_chain() {
    if let Ok(directory) = std::env::var(CHILD) {
        let log = Log::open(Path::new(&directory)).unwrap();
        (0..50).for_each(|n| if n % 20 == 0 { log.append_synced(&event(n)) } else { log.append(&event(n)) }.unwrap());
        return;
    }
    let scratch = private();
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "audit::log::tests::processes_share_one_chain"])
                .env(CHILD, scratch.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(records(scratch.path()), 150);
}

#[test]
fn a_torn_line_is_accounted_for() {
    let whole = {
        let scratch = private();
        let log = Log::open(scratch.path()).unwrap();
        (0..2).for_each(|run| log.append(&event(run)).unwrap());
        log.seal().unwrap();
        log.append(&event(2)).unwrap();
        (std::fs::read(scratch.path().join(LOG)).unwrap(), std::fs::read(scratch.path().join(HEAD)).unwrap())
    };
    let second = whole.0.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
    for (end, added, after) in [
        (second + 1, &b""[..], 4),
        (whole.0.len() - 20, b"", 4),
        // Only the newline is missing: the record counts.
        (whole.0.len() - 1, b"", 4),
        (second, b"\0\0\0\0", 4),
        (second, b"garbage\n\nmore\n", 4),
        (second, b"\n", 4),
    ] {
        let scratch = private();
        let torn = [&whole.0[..end], added].concat();
        std::fs::write(scratch.path().join(LOG), torn).unwrap();
        std::fs::write(scratch.path().join(HEAD), &whole.1).unwrap();
        assert_eq!(verify(scratch.path()).unwrap_err().record, 3, "not accounted for yet");
        Log::open(scratch.path()).unwrap().append_synced(&event(9)).unwrap();
        assert_eq!(records(scratch.path()), after, "{end} {added:?}");
    }
}

#[test]
fn a_cut_log_stays_marked_when_the_head_moves_on() {
    for unfinished in ["", "half a rec"] {
        let scratch = private();
        let path = scratch.path().join(LOG);
        let log = Log::open(scratch.path()).unwrap();
        log.append_synced(&event(1)).unwrap();
        let kept = std::fs::read_to_string(&path).unwrap();
        (0..3).for_each(|run| log.append_synced(&event(run)).unwrap());
        drop(log);
        std::fs::write(&path, kept + unfinished).unwrap();
        let broken = verify(scratch.path()).unwrap_err();
        assert_eq!(broken.record, 2, "{broken}");
        let log = Log::open(scratch.path()).unwrap();
        (0..9).for_each(|run| log.append_synced(&event(run)).unwrap());
        let broken = verify(scratch.path()).unwrap_err();
        assert_eq!(broken.record, 2, "{broken}");
        assert!(broken.what.contains("removed"), "{broken}");
    }
}

/// A change to the text of a log.
type Alteration = fn(&str) -> String;

/// No crash alters what was known to be on disk. Whatever was altered, `verify` keeps reporting the same record.
#[test]
fn an_altered_end_is_no_crash() {
    let cases: [(Alteration, u64); 6] = [
        (|text| text.replacen("\"run\":5", "\"run\":6", 1), 6),
        (|text| text[..text.len() - 40].to_owned(), 6),
        (|text| format!("{}garbage\n", &text[..text.len() - 40]), 6),
        (|text| format!("{}\n", text.lines().take(3).collect::<Vec<_>>().join("\n")), 4),
        // As well-formed as the others, but not the record that was written.
        (|text| forged(text, 5), 6),
        (|text| forged(text, 5) + "half a rec", 6),
    ];
    for (alter, expected) in cases {
        let scratch = private();
        let path = scratch.path().join(LOG);
        let log = Log::open(scratch.path()).unwrap();
        (0..6).for_each(|run| log.append_synced(&event(run)).unwrap());
        drop(log);
        let altered = alter(&std::fs::read_to_string(&path).unwrap());
        std::fs::write(&path, &altered).unwrap();
        assert_eq!(verify(scratch.path()).unwrap_err().record, expected, "{altered}");
        for _ in 0..2 {
            Log::open(scratch.path()).unwrap().append_synced(&event(9)).unwrap();
            let broken = verify(scratch.path()).unwrap_err();
            assert_eq!(broken.record, expected, "{broken}: {altered}");
        }
    }
}

/// The log up to this record, and a forged record after it that is longer than any of the genuine ones.
fn forged(text: &str, kept: usize) -> String {
    let lines: Vec<&str> = text.lines().take(kept).collect();
    let head = chain::link(lines[kept - 1].as_bytes()).unwrap().head;
    let (other, _) = chain::line(head, &event(7_777_777_777), Account::default()).unwrap();
    format!("{}\n{}", lines.join("\n"), String::from_utf8(other).unwrap())
}

#[test]
fn a_log_that_was_removed_or_replaced_while_open_is_noticed() {
    let scratch = private();
    let log = Log::open(scratch.path()).unwrap();
    log.append_synced(&event(1)).unwrap();
    std::fs::rename(scratch.path().join(LOG), scratch.path().join("old")).unwrap();
    log.append_synced(&event(2)).unwrap();
    assert!(verify(scratch.path()).unwrap_err().what.contains("removed"));
}

/// The head on disk does not cover records that are not sealed yet; but the process that wrote them remembers.
#[test]
fn unsealed_records_that_are_cut_or_replaced_are_noticed() {
    use std::os::unix::fs::PermissionsExt as _;
    let cases: [(Alteration, u64); 6] = [
        // Cut back to what the head on disk covers: two records of five.
        (|text| first_lines(text, 2), 3),
        (|text| first_lines(text, 4), 5),
        (|text| text[..text.len() - 40].to_owned(), 5),
        (|text| forged(text, 4), 5),
        // More records than there were.
        (|text| forged(&forged(&forged(&forged(text, 2), 3), 4), 5), 5),
        (|text| forged(text, 2), 4),
    ];
    for seals in [false, true] {
        for replaces in [false, true] {
            for (alter, expected) in cases {
                let scratch = private();
                let path = scratch.path().join(LOG);
                let log = Log::open(scratch.path()).unwrap();
                (0..2).for_each(|run| log.append_synced(&event(run)).unwrap());
                (0..3).for_each(|run| log.append(&event(run)).unwrap());
                let altered = alter(&std::fs::read_to_string(&path).unwrap());
                if replaces {
                    std::fs::rename(&path, scratch.path().join("old")).unwrap();
                }
                std::fs::write(&path, &altered).unwrap();
                if replaces {
                    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
                }
                if seals { log.seal().map(drop) } else { log.append(&event(9)) }.unwrap();
                let broken = verify(scratch.path()).unwrap_err();
                assert_eq!(broken.record, expected, "{seals} {replaces} {broken}: {altered}");
            }
        }
    }
}

fn first_lines(text: &str, count: usize) -> String {
    text.lines().take(count).map(|line| format!("{line}\n")).collect()
}

/// A process that cannot open any more files must not blame the log for that.
#[test]
fn a_head_that_cannot_be_read_now_is_not_held_against_the_log() {
    let scratch = private();
    let [head, aside] = [HEAD, "aside"].map(|name| scratch.path().join(name));
    Log::open(scratch.path()).unwrap().append_synced(&event(1)).unwrap();
    std::fs::rename(&head, &aside).unwrap();
    std::fs::create_dir(&head).unwrap();
    let log = Log::open(scratch.path()).unwrap();
    let error = log.append(&event(2)).unwrap_err().to_string();
    assert!(error.contains("Is a directory"), "{error}");
    std::fs::remove_dir(&head).unwrap();
    std::fs::rename(&aside, &head).unwrap();
    log.append_synced(&event(3)).unwrap();
    assert_eq!(records(scratch.path()), 2);
}

/// The process that holds the lock may have been stopped; a rollback must not wait for it forever.
#[test]
fn a_log_that_somebody_holds_is_waited_for_and_not_for_ever() {
    let scratch = private();
    let log = Log::open(scratch.path()).unwrap();
    let holder = File::open(scratch.path().join(LOG)).unwrap();
    flock(&holder, FlockOperation::LockExclusive).unwrap();
    let error = log.append(&event(1)).unwrap_err().to_string();
    assert!(error.contains("another process has kept log.jsonl locked for 3 s"), "{error}");
    flock(&holder, FlockOperation::Unlock).unwrap();
    log.append_synced(&event(2)).unwrap();
    assert_eq!(records(scratch.path()), 1);
}

#[test]
fn a_log_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = private();
    drop(Log::open(scratch.path()).unwrap());
    std::fs::set_permissions(scratch.path().join(LOG), std::fs::Permissions::from_mode(0o622)).unwrap();
    assert!(Log::open(scratch.path()).is_err());
}

#[test]
fn a_thousand_appends_are_a_thousand_records() {
    let scratch = private();
    let log = Log::open(scratch.path()).unwrap();
    let event = event(1);
    (0..1000).for_each(|_| log.append(&event).unwrap());
    assert_eq!(records(scratch.path()), 1000);
}
