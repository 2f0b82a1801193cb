//! The audit log: any bytes are read; and of a log that was really written, no change goes unseen.
//! The input is a log and its head; or, after a first byte of 255, what to write and what to spoil.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{fs, path::Path};
use warded_fuzz::{
    audit::{self, Event, Kind, Log},
    is_harmless, scratch,
};

fuzz_target!(|data: &[u8]| {
    let directory = scratch().join("audit");
    if directory.exists() {
        fs::remove_dir_all(&directory).unwrap();
    }
    drop(Log::open(&directory).unwrap());
    match data {
        [255, rest @ ..] => spoiled(&directory, rest),
        any => as_it_is(&directory, any),
    }
});

/// Whatever lies there is read, and a log that is not whole does not become so by going on with it.
fn as_it_is(directory: &Path, data: &[u8]) {
    let middle = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    fs::write(directory.join("log.jsonl"), &data[..middle]).unwrap();
    if let Some(head) = data.get(middle + 1..) {
        fs::write(directory.join("head.json"), head).unwrap();
    }
    let lines = data[..middle].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let records: Vec<_> = audit::read(directory).unwrap().collect();
    assert!(records.len() >= lines.min(1));
    let before = audit::verify(directory).unwrap();
    match &before {
        Ok(whole) => assert_eq!(records.iter().flatten().count() as u64, whole.records),
        Err(broken) => is_harmless(&broken.to_string()),
    }
    let torn = records.last().is_some_and(Result::is_err);
    let Ok(log) = Log::open(directory) else { return };
    if log.append(&Event::new(1, Kind::Started)).is_err() {
        return;
    }
    let after = audit::verify(directory).unwrap();
    match before {
        Ok(whole) => assert!(after.is_ok_and(|after| after.records > whole.records)),
        // Only what a crash leaves at the end can be accounted for.
        Err(_) => assert!(after.is_err() || torn, "it became whole"),
    }
}

/// A log is written, and one byte of it is changed.
fn spoiled(directory: &Path, data: &[u8]) {
    let [at, with, texts @ ..] = data else { return };
    let log = Log::open(directory).unwrap();
    for text in texts.chunks(40).take(8) {
        let text = String::from_utf8_lossy(text);
        log.append(&Event::new(u64::from(*at), Kind::Asked).need(&text).detail(&text)).unwrap();
    }
    log.seal().unwrap();
    let written = audit::verify(directory).unwrap().unwrap().records;
    assert_eq!(written, texts.chunks(40).take(8).count() as u64);
    for record in audit::read(directory).unwrap() {
        serde_json::to_string(&record.unwrap()).unwrap();
    }
    let file = directory.join("log.jsonl");
    let mut bytes = fs::read(&file).unwrap();
    let length = bytes.len();
    if let Some(byte) = bytes.get_mut(usize::from(*at) * length / 256).filter(|byte| **byte != *with) {
        *byte = *with;
        fs::write(&file, &bytes).unwrap();
        let broken = audit::verify(directory).unwrap().unwrap_err();
        assert!((1..=written).contains(&broken.record), "{broken}");
    }
}
