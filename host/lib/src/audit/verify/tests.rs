use super::{
    super::{Event, Kind, Log, UnreadableLine, chain::Account, log::tests::private, read},
    *,
};
use crate::digest::Digest;
use proptest::prelude::proptest;
use rustix::fs::flock;
use std::{
    fs::{self, File},
    path::PathBuf,
    sync::LazyLock,
    thread,
};

/// A sealed log of six records, of which the fourth accounts for unfinished bytes before it.
static WHOLE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let scratch = private();
    let path = scratch.path().join(LOG);
    let log = Log::open(scratch.path()).unwrap();
    let mut event = Event::new(7, Kind::Asked);
    event.need = Some("/etc/ssh/ü".to_owned());
    (0..3).for_each(|_| log.append(&event).unwrap());
    fs::write(&path, [&fs::read(&path).unwrap()[..], b"{\"n\":4,\"ti"].concat()).unwrap();
    (0..2).for_each(|_| log.append(&event).unwrap());
    log.seal().unwrap();
    (fs::read(&path).unwrap(), fs::read(scratch.path().join(HEAD)).unwrap())
});

fn verify(directory: &Path) -> Result<VerifiedLog, ChainBreak> {
    super::verify(directory).unwrap()
}

struct Scratch {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        let directory = private();
        fs::write(directory.path().join(HEAD), &WHOLE.1).unwrap();
        Self { path: directory.path().to_owned(), _directory: directory }
    }

    fn verify(&self, log: &[u8]) -> Result<VerifiedLog, ChainBreak> {
        fs::write(self.path.join(LOG), log).unwrap();
        verify(&self.path)
    }
}

/// The lines with their newlines, and the record that each belongs to.
fn lines() -> Vec<(&'static [u8], u64)> {
    let lines: Vec<&[u8]> = WHOLE.0.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 7);
    // The unfinished bytes belong to the record that accounts for them.
    lines.into_iter().zip([1, 2, 3, 4, 4, 5, 6]).collect()
}

#[test]
fn a_whole_log_is_whole() {
    assert_eq!(Scratch::new().verify(&WHOLE.0), Ok(VerifiedLog { records: 6, unsealed: 0, from: 1 }));
}

#[test]
fn any_changed_byte_is_named() {
    let scratch = Scratch::new();
    let mut at = 0;
    for (line, record) in lines() {
        for offset in 0..line.len() {
            for change in [1, line[offset] ^ b'\n'] {
                if change != 0 {
                    let mut log = WHOLE.0.clone();
                    log[at + offset] ^= change;
                    let broken = scratch.verify(&log).unwrap_err();
                    assert_eq!(broken.record, record, "byte {offset} of {:?}: {broken}", String::from_utf8_lossy(line));
                }
            }
        }
        at += line.len();
    }
}

#[test]
fn any_missing_line_is_named() {
    let scratch = Scratch::new();
    for (index, (_, record)) in lines().into_iter().enumerate() {
        let rest: Vec<u8> = lines()
            .into_iter()
            .enumerate()
            .filter(|(at, _)| *at != index)
            .flat_map(|(_, (line, _))| line.to_vec())
            .collect();
        let broken = scratch.verify(&rest).unwrap_err();
        assert_eq!(broken.record, record, "line {index}: {broken}");
    }
}

#[test]
fn any_exchange_of_lines_is_named() {
    let scratch = Scratch::new();
    for first in 0..7 {
        for second in first + 1..7 {
            let mut lines = lines();
            let record = lines[first].1;
            lines.swap(first, second);
            let log: Vec<u8> = lines.into_iter().flat_map(|(line, _)| line.to_vec()).collect();
            let broken = scratch.verify(&log).unwrap_err();
            assert_eq!(broken.record, record, "{first} and {second}: {broken}");
        }
    }
}

#[test]
fn any_cut_is_named() {
    let scratch = Scratch::new();
    for length in 0..WHOLE.0.len() {
        let mut at = 0;
        let record = lines()
            .into_iter()
            .find(|(line, _)| {
                at += line.len();
                length < at
            })
            .unwrap()
            .1;
        let broken = scratch.verify(&WHOLE.0[..length]).unwrap_err();
        assert_eq!(broken.record, record, "cut at {length}: {broken}");
    }
}

/// A process that appends keeps the log locked while a line is half written, and until the head covers it.
#[test]
fn a_log_is_checked_between_two_appends() {
    let scratch = Scratch::new();
    let path = scratch.path.join(LOG);
    fs::write(&path, &WHOLE.0).unwrap();
    let held = fs::OpenOptions::new().write(true).open(&path).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    held.set_len(u64::try_from(WHOLE.0.len()).unwrap() - 20).unwrap();
    thread::scope(|scope| {
        let checked = scope.spawn(|| verify(&scratch.path));
        thread::sleep(Duration::from_millis(200));
        fs::write(&path, &WHOLE.0).unwrap();
        flock(&held, FlockOperation::Unlock).unwrap();
        assert_eq!(checked.join().unwrap(), Ok(VerifiedLog { records: 6, unsealed: 0, from: 1 }));
    });
}

#[test]
fn a_log_that_somebody_holds_is_not_waited_for_without_end() {
    let scratch = Scratch::new();
    fs::write(scratch.path.join(LOG), &WHOLE.0).unwrap();
    let held = File::open(scratch.path.join(LOG)).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let check = Check { patience: Duration::from_millis(50), from_beginning: false, step: STEP };
    let error = check.run(&scratch.path).unwrap_err();
    assert!(error.message().ends_with("was not checked: it is in use"), "{error}");
    // A shared lock, which other readers hold, does not keep `verify` out.
    flock(&held, FlockOperation::LockShared).unwrap();
    assert_eq!(verify(&scratch.path), Ok(VerifiedLog { records: 6, unsealed: 0, from: 1 }));
}

#[test]
fn a_log_needs_its_head() {
    let scratch = Scratch::new();
    scratch.verify(&WHOLE.0).unwrap();
    let other = serde_json::to_string(&Head { count: 0, hash: Digest::of(b"another beginning") }).unwrap();
    for head in ["", "{}", "{\"count\":6,\"hash\":\"sha256:00\"}", &other] {
        fs::write(scratch.path.join(HEAD), head).unwrap();
        assert!(verify(&scratch.path).is_err(), "{head}");
    }
    fs::remove_file(scratch.path.join(HEAD)).unwrap();
    assert_eq!(verify(&scratch.path).unwrap_err().record, 6);
    fs::remove_file(scratch.path.join(LOG)).unwrap();
    assert_eq!(
        verify(&scratch.path),
        Ok(VerifiedLog { records: 0, unsealed: 0, from: 1 }),
        "nothing was ever logged here"
    );
}

#[test]
fn what_cannot_be_opened_is_not_taken_for_none() {
    for (file, record, what) in [(LOG, 1, "cannot be read: "), (HEAD, 0, "cannot be read: ")] {
        let directory = private();
        std::os::unix::fs::symlink(file, directory.path().join(file)).unwrap();
        let broken = verify(directory.path()).unwrap_err();
        assert!(broken.record == record && broken.what.starts_with(what), "{file}: {broken}");
        assert_eq!(broken.to_string().starts_with("its head cannot be read: "), file == HEAD, "{broken}");
        assert_eq!(read(directory.path()).is_err(), file == LOG, "{file}");
    }
}

#[test]
fn a_forged_log_does_not_fit_the_head() {
    let forged = private();
    let log = Log::open(forged.path()).unwrap();
    (0..9).for_each(|_| log.append(&Event::new(1, Kind::Done)).unwrap());
    let broken = Scratch::new().verify(&fs::read(forged.path().join(LOG)).unwrap()).unwrap_err();
    assert_eq!(broken.record, 6, "{broken}");
}

/// Each record's own hash is right, and the head matches the last one: only `previous` shows the break.
#[test]
fn a_record_that_does_not_follow_is_named() {
    let event = Event::new(1, Kind::Done);
    for changed in 1..=4 {
        let (mut head, mut log) = (Head::empty(), Vec::new());
        for count in 1..=4 {
            if count == changed {
                head.hash = Digest::of(b"another record");
            }
            let (line, next) = chain::line(head, &event, Account::default()).unwrap();
            log.extend(line);
            head = next;
        }
        let scratch = Scratch::new();
        fs::write(scratch.path.join(HEAD), serde_json::to_vec(&head).unwrap()).unwrap();
        let broken = scratch.verify(&log).unwrap_err();
        assert_eq!((broken.record, broken.what.as_str()), (changed, "does not follow the record before it"));
    }
}

#[test]
fn a_line_follows_by_its_number_and_by_its_hash() {
    let head = Head { count: 7, hash: Digest::of(b"seven") };
    let (line, _) = chain::line(head, &Event::new(1, Kind::Done), Account::default()).unwrap();
    let link = chain::link(line.strip_suffix(b"\n").unwrap()).unwrap();
    let (less, more) = (Head { count: 6, ..head }, Head { count: 8, ..head });
    assert!(link.follows(head));
    assert!(![less, more, Head { hash: Digest::of(b"other"), ..head }].into_iter().any(|head| link.follows(head)));
}

#[test]
fn reading_goes_on_behind_a_damaged_line() {
    let scratch = Scratch::new();
    fs::write(scratch.path.join(LOG), &WHOLE.0).unwrap();
    let all: Vec<_> = read(&scratch.path).unwrap().collect();
    assert_eq!(all.len(), 7);
    assert_eq!(all[3], Err(UnreadableLine { line: 4, bytes: 10 }));
    assert_eq!(all[4].as_ref().unwrap().event.kind, Kind::Recovered);
}

/// Another program can write a line whose own hash is right.
#[test]
fn a_text_that_is_read_is_harmless_whoever_wrote_it() {
    let (line, _) = chain::line(Head::empty(), &Event::new(1, Kind::Asked).need("NEED"), Account::default()).unwrap();
    let text = String::from_utf8(line).unwrap().replace("NEED", "\\u001b[2J");
    let (body, _) = text.rsplit_once(",\"hash\":\"").unwrap();
    let hash = Digest::of(format!("{body}}}").as_bytes());
    let scratch = Scratch::new();
    fs::write(scratch.path.join(LOG), format!("{body},\"hash\":\"{hash}\"}}\n")).unwrap();
    let record = read(&scratch.path).unwrap().next().unwrap().unwrap();
    assert_eq!(record.event.need.as_deref(), Some("\\u{1b}[2J"));
}

proptest! {
    /// Whatever lines are written, and in whatever order: only the log that was sealed verifies.
    #[test]
    fn only_the_log_itself_verifies(order in proptest::collection::vec(0_usize..7, 0..9)) {
        let log: Vec<u8> = order.iter().flat_map(|at| lines()[*at].0.to_vec()).collect();
        assert_eq!(Scratch::new().verify(&log).is_ok(), log == WHOLE.0);
    }
}
