use super::{
    super::{
        super::{HEAD, newest, read, verify_all},
        Log,
        tests::private,
    },
    *,
};
use std::{fs, os::unix::fs::PermissionsExt as _};

const LIMIT: u64 = 4096;

fn event(run: u64) -> Event {
    Event::new(run, Kind::Asked).capability("files.write").need("/etc/ssh/sshd_config.d/50-warded.conf")
}

fn open(directory: &Path) -> Log {
    Log::open(directory).unwrap().rotating_at(LIMIT)
}

/// A sealed log of several files.
fn rotated() -> tempfile::TempDir {
    let scratch = private();
    let log = open(scratch.path());
    (0..60).for_each(|run| log.append(&event(run)).unwrap());
    log.seal().unwrap();
    scratch
}

/// The names of the files, oldest first.
fn names(directory: &Path) -> Vec<String> {
    files::closed(directory).unwrap().into_iter().map(files::closed_name).chain([LOG.to_owned()]).collect()
}

fn text(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap()
}

fn head(line: &str) -> Head {
    chain::link(line.as_bytes()).unwrap().head
}

/// The records of an intact log; their numbers count from 1 without a gap.
fn records(directory: &Path) -> Vec<super::super::super::Record> {
    let verified = verify_all(directory).unwrap().unwrap();
    // `flatten` drops unfinished lines; `verify` has found them accounted for.
    let records: Vec<_> = read(directory).unwrap().flatten().collect();
    assert!(records.iter().zip(1..).all(|(record, number)| record.n == number));
    assert_eq!(u64::try_from(records.len()).unwrap(), verified.records);
    records
}

#[test]
fn a_large_file_is_closed_and_the_chain_goes_on() {
    let scratch = rotated();
    let names = names(scratch.path());
    assert!(names.len() > 3, "{names:?}");
    let kind = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].clone();
    for (index, name) in names.iter().enumerate() {
        let text = text(scratch.path(), name);
        let (first, last) = (text.lines().next().unwrap(), text.lines().last().unwrap());
        assert_eq!((kind(first) == "continued", kind(last) == "rotated"), (index > 0, name != LOG), "{name}");
        assert!(text.len() < usize::try_from(LIMIT).unwrap() + 1024, "{name}: {} bytes", text.len());
        assert_eq!(scratch.path().join(name).metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let all = records(scratch.path());
    assert_eq!(all.iter().filter(|record| record.event.kind == Kind::Asked).count(), 60);

    // Whichever record `newest` starts at, it returns the same as reading from the beginning.
    for record in &all {
        let from = newest(scratch.path(), |found| found.is_some_and(|found| found.n == record.n)).unwrap();
        let expected = all.iter().skip_while(|other| other.n < record.n);
        assert!(from.map(Result::unwrap).eq(expected.cloned()), "from {}", record.n);
    }
}

/// A line that is not a record is numbered through all files.
#[test]
fn a_line_that_is_no_record_has_its_number() {
    let scratch = rotated();
    let before: usize = names(scratch.path()).iter().map(|name| text(scratch.path(), name).lines().count()).sum();
    let log = scratch.path().join(LOG);
    fs::write(&log, text(scratch.path(), LOG) + "no record\n").unwrap();
    for last in [1, 3, before + 1] {
        let mut count = 0;
        let found = newest(scratch.path(), |_| {
            count += 1;
            count == last
        });
        let unreadable: Vec<_> = found.unwrap().filter_map(Result::err).collect();
        assert_eq!(unreadable.len(), 1);
        assert_eq!((unreadable[0].line, unreadable[0].bytes), (u64::try_from(before).unwrap() + 1, 9), "last {last}");
    }
}

/// Wherever a rotation was interrupted, the next append finishes it, and nothing is reported as lost.
#[test]
fn a_rotation_that_was_interrupted_is_brought_to_its_end() {
    let whole = private();
    let log = open(whole.path());
    let mut count = 0;
    while !whole.path().join("log.1.jsonl").exists() {
        count += 1;
        log.append(&event(count)).unwrap();
    }
    drop(log);
    let closed = text(whole.path(), "log.1.jsonl");
    let continued = format!("{}\n", text(whole.path(), LOG).lines().next().unwrap());
    let at_rotated = serde_json::to_string(&head(closed.lines().last().unwrap())).unwrap();
    let half = &continued[..continued.len() / 2];
    let unended = continued.trim_end();
    let cases: [(&str, Option<&str>, Option<&str>, bool); 6] = [
        ("before the renaming", None, Some(&closed), true),
        ("before there is a new file", Some(&closed), None, true),
        ("before anything is written", Some(&closed), Some(""), true),
        ("while it is written", Some(&closed), Some(half), false),
        ("but for a newline", Some(&closed), Some(unended), false),
        ("before it is sealed", Some(&closed), Some(&continued), true),
    ];
    for (when, first, current, is_whole) in cases {
        let scratch = private();
        fs::write(scratch.path().join(HEAD), &at_rotated).unwrap();
        for (name, text) in [("log.1.jsonl", first), (LOG, current)] {
            if let Some(text) = text {
                fs::write(scratch.path().join(name), text).unwrap();
                fs::set_permissions(scratch.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }
        assert_eq!(verify_all(scratch.path()).unwrap().is_ok(), is_whole, "{when}");
        open(scratch.path()).append_synced(&event(9)).unwrap();
        let records = records(scratch.path());
        let kinds = |kind| records.iter().filter(|record| record.event.kind == kind).count();
        assert_eq!((kinds(Kind::Rotated), kinds(Kind::Continued)), (1, 1), "{when}");
        assert_eq!(kinds(Kind::Missing), 0, "{when}");
        assert_eq!(names(scratch.path()).len(), 2, "{when}");
    }
}

/// If someone has moved files away, the message names the files that are missing.
#[test]
fn a_file_that_is_not_there_is_named() {
    for (name, words) in [
        ("log.1.jsonl", ", and continues log.1.jsonl, which is not there"),
        ("log.2.jsonl", ", and continues log.2.jsonl, which is not there"),
        ("last", ", which is not there"),
        (LOG, "; there is no log.jsonl"),
    ] {
        let scratch = rotated();
        let last = files::closed(scratch.path()).unwrap().pop().map(files::closed_name).unwrap();
        let file = if name == "last" { &last } else { name };
        fs::remove_file(scratch.path().join(file)).unwrap();
        let broken = verify_all(scratch.path()).unwrap().unwrap_err().to_string();
        assert!(broken.ends_with(words) && broken.contains(file), "{name}: {broken}");
    }
    // All closed files are gone: the current file says which one came before it.
    let scratch = rotated();
    let closed: Vec<_> = files::closed(scratch.path()).unwrap().into_iter().map(files::closed_name).collect();
    closed.iter().for_each(|name| fs::remove_file(scratch.path().join(name)).unwrap());
    let broken = verify_all(scratch.path()).unwrap().unwrap_err();
    assert!(broken.record == 1 && broken.to_string().contains(closed.last().unwrap()), "{broken}");
}

/// If an unrelated file already has the name, it is left alone.
#[test]
fn a_closed_file_takes_no_other_files_name() {
    let scratch = private();
    let [from, to] = [LOG, "log.1.jsonl"].map(|name| scratch.path().join(name));
    fs::write(&from, "log").unwrap();
    fs::write(&to, "other").unwrap();
    assert_eq!(close(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    assert_eq!((fs::read(&from).unwrap(), fs::read(&to).unwrap()), (b"log".to_vec(), b"other".to_vec()));
    fs::remove_file(&to).unwrap();
    close(&from, &to).unwrap();
    assert!(!from.exists() && to.exists());
}

/// A change to one of the log's files.
type Forgery = fn(&Path, &str);
/// Chooses, from the numbers of a file's first and last record, the one that `verify` has to report.
type Named = fn(u64, u64) -> u64;

/// Whatever is changed in a file or removed with it, `verify` reports the first record that is affected.
#[test]
fn what_is_forged_in_any_file_is_found() {
    let cases: [(&str, Forgery, Named); 6] = [
        (
            "the first record is changed",
            |file, text| write(file, &text.replacen("\"run\":", "\"run\":7", 1)),
            |first, _| first,
        ),
        ("the last record is changed", |file, text| write(file, &last_changed(text)), |_, last| last),
        ("the last record is cut off", |file, text| write(file, &without_last(text)), |_, last| last),
        (NEWLINE, |file, text| write(file, text.trim_end()), |_, last| last),
        ("the file is empty", |file, _| write(file, ""), |first, _| first),
        ("the file is gone", |file, _| fs::remove_file(file).unwrap(), |first, _| first),
    ];
    for (what, forge, expected) in cases {
        for name in names(rotated().path()) {
            let scratch = rotated();
            let text = text(scratch.path(), &name);
            let (first, last) = (head(text.lines().next().unwrap()), head(text.lines().last().unwrap()));
            forge(&scratch.path().join(&name), &text);
            let broken = verify_all(scratch.path()).unwrap().unwrap_err();
            // `verify` attributes bytes without a newline to the record that follows them.
            let expected = expected(first.count, last.count);
            assert_eq!(broken.record, expected, "{what}: {name}: {broken}");
            if name == LOG && what == NEWLINE {
                // That is what a crash may leave, so it is no forgery: the last record counts although its newline is
                // missing.
                continue;
            }
            // Appending more records does not repair the log.
            open(scratch.path()).append_synced(&event(9)).unwrap();
            assert_eq!(verify_all(scratch.path()).unwrap().unwrap_err().record, expected, "{what}: {name}, later");
        }
    }
    let scratch = rotated();
    let [one, other, aside] = ["log.1.jsonl", "log.2.jsonl", "aside"].map(|name| scratch.path().join(name));
    [(&one, &aside), (&other, &one), (&aside, &other)].iter().for_each(|(from, to)| fs::rename(from, to).unwrap());
    assert_eq!(verify_all(scratch.path()).unwrap().unwrap_err().record, 1, "two files are exchanged");
}

const NEWLINE: &str = "its newline is cut off";

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
}

fn without_last(text: &str) -> String {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    lines[..lines.len() - 1].concat()
}

fn last_changed(text: &str) -> String {
    let kept = without_last(text);
    let last = &text[kept.len()..];
    kept.clone() + &last.replacen("\"run\":", "\"run\":7", 1)
}

/// A process that saw a record which no head covers yet notices when the record's file is removed.
#[test]
fn a_record_that_was_seen_is_looked_for_in_closed_files() {
    for (remove, expected) in [(false, true), (true, false)] {
        let scratch = private();
        let (log, other) = (open(scratch.path()), open(scratch.path()));
        log.append(&event(1)).unwrap();
        (0..30).for_each(|run| other.append(&event(run)).unwrap());
        assert!(names(scratch.path()).len() > 2);
        if remove {
            fs::remove_file(scratch.path().join("log.1.jsonl")).unwrap();
        }
        log.append(&event(2)).unwrap();
        let is_missing = read(scratch.path()).unwrap().flatten().any(|record| record.event.kind == Kind::Missing);
        assert_eq!((verify_all(scratch.path()).unwrap().is_ok(), is_missing), (expected, remove));
    }
}

#[test]
fn many_at_once_rotate_one_log() {
    let scratch = private();
    std::thread::scope(|scope| {
        for run in 0..4 {
            let log = open(scratch.path());
            scope.spawn(move || {
                let append = |n| if n % 20 == 0 { log.append_synced(&event(run)) } else { log.append(&event(run)) };
                (0..50).for_each(|n| append(n).unwrap());
            });
        }
        // Meanwhile another thread verifies the log again and again.
        scope.spawn(|| (0..40).for_each(|_| assert!(verify_all(scratch.path()).unwrap().is_ok())));
    });
    let asked = records(scratch.path()).into_iter().filter(|record| record.event.kind == Kind::Asked).count();
    assert_eq!(asked, 200);
    assert!(names(scratch.path()).len() > 8);
}
