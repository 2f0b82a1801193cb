use super::{
    super::{
        CHECKPOINT, Event, HEAD, Kind, LOG, Log, checkpoint::Checkpoint, files, lock::PATIENCE, log::tests::private,
    },
    ChainBreak, Check, VerifiedLog, verify,
};
use std::{fs, path::Path};

/// Continues from the last checkpoint, and writes one after each verification.
fn verify_on(directory: &Path) -> Result<VerifiedLog, ChainBreak> {
    Check { patience: PATIENCE, from_beginning: false, step: 1 }.run(directory).unwrap()
}

fn from_the_beginning(directory: &Path) -> Result<VerifiedLog, ChainBreak> {
    Check { patience: PATIENCE, from_beginning: true, step: 1 }.run(directory).unwrap()
}

/// A log of several files with 40 sealed records and a checkpoint, followed by six more records.
fn checked() -> tempfile::TempDir {
    let scratch = private();
    let log = Log::open(scratch.path()).unwrap().rotating_at(4096);
    (0..40).for_each(|_| log.append(&Event::new(1, Kind::Asked).need("/etc/motd")).unwrap());
    log.seal().unwrap();
    assert_eq!(verify_on(scratch.path()).unwrap().from, 1);
    (0..6).for_each(|_| log.append(&Event::new(2, Kind::Asked).need("/etc/motd")).unwrap());
    log.seal().unwrap();
    scratch
}

fn records(directory: &Path) -> u64 {
    verify(directory).unwrap().unwrap().records
}

/// Changes the contents of a record.
fn alter(directory: &Path, number: u64) {
    let names = files::closed(directory).unwrap().into_iter().map(files::closed_name).chain([LOG.to_owned()]);
    for path in names.map(|name| directory.join(name)) {
        let text = fs::read_to_string(&path).unwrap();
        let altered: String = text
            .split_inclusive('\n')
            .map(|line| {
                let is_it = line.starts_with(&format!("{{\"n\":{number},"));
                if is_it { line.replacen("\"time\":\"2", "\"time\":\"3", 1) } else { line.to_owned() }
            })
            .collect();
        fs::write(path, altered).unwrap();
    }
}

#[test]
fn a_verification_goes_on_from_the_last_one() {
    let scratch = checked();
    let checkpoint = Checkpoint::read(scratch.path()).unwrap();
    let verified = verify_on(scratch.path()).unwrap();
    assert_eq!(verified.from, checkpoint.n + 1);
    let expected = format!("{} records, chain intact; those before record {}", verified.records, verified.from);
    assert!(verified.to_string().starts_with(&expected), "{verified}");
    assert_eq!(from_the_beginning(scratch.path()), Ok(VerifiedLog { from: 1, ..verified }));
    assert_eq!(verify_on(scratch.path()).unwrap().from, verified.records + 1, "nothing was added");

    // Also if the file with the checkpoint is closed in the meantime.
    let log = Log::open(scratch.path()).unwrap().rotating_at(4096);
    (0..40).for_each(|_| log.append(&Event::new(3, Kind::Asked).need("/etc/motd")).unwrap());
    assert_eq!(verify_on(scratch.path()).unwrap().from, verified.records + 1);
    let unsealed = verify_on(scratch.path()).unwrap().unsealed;
    assert!(unsealed > 0 && Checkpoint::read(scratch.path()).unwrap().n == records(scratch.path()) - unsealed);
}

/// A short log is always verified as a whole.
#[test]
fn a_checkpoint_is_made_where_it_saves_time() {
    let scratch = private();
    Log::open(scratch.path()).unwrap().append_synced(&Event::new(1, Kind::Asked)).unwrap();
    assert_eq!(records(scratch.path()), 1);
    assert!(!scratch.path().join(CHECKPOINT).exists());
}

#[test]
fn what_was_changed_is_found_from_the_beginning_or_behind_the_checkpoint() {
    let (newest, at) = {
        let scratch = checked();
        (records(scratch.path()), Checkpoint::read(scratch.path()).unwrap().n)
    };
    for number in [1, 2, at - 1, at, at + 1, newest] {
        let scratch = checked();
        alter(scratch.path(), number);
        assert_eq!(from_the_beginning(scratch.path()).unwrap_err().record, number);
        match verify_on(scratch.path()) {
            // The earlier verification checked the records before the checkpoint.
            Ok(verified) => assert!(number < at && verified.from == at + 1, "{number}"),
            Err(broken) => assert_eq!((broken.record, number >= at), (number, true), "{broken}"),
        }
    }
}

/// Someone who rewrites log and head, or cuts both back, would have to rewrite the checkpoint, too.
#[test]
fn a_checkpoint_knows_another_log() {
    let head = |directory: &Path| fs::read(directory.join(HEAD)).unwrap();
    for (count, what) in [(60, "is not the one that the last verification saw"), (3, "the last verification saw")] {
        let (scratch, other) = (checked(), private());
        let log = Log::open(other.path()).unwrap().rotating_at(4096);
        (0..count).for_each(|_| log.append(&Event::new(9, Kind::Asked).need("/etc/shadow")).unwrap());
        log.seal().unwrap();
        files::closed(scratch.path()).unwrap().into_iter().for_each(|number| {
            fs::remove_file(scratch.path().join(files::closed_name(number))).unwrap();
        });
        for number in files::closed(other.path()).unwrap() {
            let name = files::closed_name(number);
            fs::copy(other.path().join(&name), scratch.path().join(&name)).unwrap();
        }
        fs::copy(other.path().join(LOG), scratch.path().join(LOG)).unwrap();
        fs::write(scratch.path().join(HEAD), head(other.path())).unwrap();
        for broken in [verify_on(scratch.path()), from_the_beginning(scratch.path())].map(Result::unwrap_err) {
            assert!(broken.what.contains(what), "{broken}");
        }
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_none() {
    type Change = fn(Checkpoint) -> Checkpoint;
    let changes: [Change; 4] = [
        |point| Checkpoint { offset: point.offset - 1, ..point },
        |point| Checkpoint { offset: u64::MAX, ..point },
        |point| Checkpoint { file: point.file + 7, ..point },
        |point| Checkpoint { file: 1, ..point },
    ];
    for change in changes {
        let scratch = checked();
        change(Checkpoint::read(scratch.path()).unwrap()).write(scratch.path()).unwrap();
        assert_eq!(verify_on(scratch.path()).unwrap().from, 1);
    }
    for text in ["", "{}", "null", "{\"file\":1}"] {
        let scratch = checked();
        fs::write(scratch.path().join(CHECKPOINT), text).unwrap();
        assert_eq!(verify_on(scratch.path()).unwrap().from, 1, "{text}");
    }
}
