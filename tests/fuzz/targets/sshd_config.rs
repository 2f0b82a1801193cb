//! sshd's configuration: each line means to us what it means to sshd, a line that was rewritten
//! means what it should, and no line comes or goes without being seen. The input is two
//! configurations, with a line `=====` between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use warded_fuzz::{
    guard::{
        MayChange, connections,
        directive::{Directive, with_arguments},
        includes::{ConfigFile, Tree, directives},
        keywords,
    },
    guest,
    machine::sshd::Effective,
    reference,
};

const BETWEEN: &[u8] = b"\n=====\n";

fuzz_target!(|data: &[u8]| {
    let middle = data.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    let (old, new) = middle.map_or((data, &b""[..]), |at| (&data[..at], &data[at + BETWEEN.len()..]));
    for line in old.split(|byte| *byte == b'\n') {
        as_sshd(line);
        rewritten(line);
    }
    compared(old, new);
    let file =
        |contents: &[u8]| ConfigFile { path: "/c".into(), contents: contents.to_vec(), includes: BTreeMap::new() };
    let tree = Tree { files: vec![file(old), file(new)] };
    for connection in connections::connections(&tree, &["root".to_owned()]) {
        // Each value stands between commas in one argument of sshd's.
        assert!(connection.iter().all(|(_, value)| !value.contains(',') && !value.starts_with('-')), "{connection:?}");
    }
    if let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) {
        let (old, new) = (Effective::parse(old), Effective::parse(new));
        assert_eq!(old.differences(&new).is_empty(), new.differences(&old).is_empty());
        assert!(old.differences(&old).is_empty());
    }
});

/// A line without a NUL byte, where sshd would stop reading: what it says is what sshd reads.
fn as_sshd(line: &[u8]) {
    if line.contains(&0) {
        return;
    }
    let ours = Directive::parse(line);
    // What sshd refuses nobody has to understand.
    let Ok(theirs) = reference::sshd_line(line) else { return };
    let theirs = theirs.map(|(keyword, arguments)| {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        (text(&keyword).to_ascii_lowercase(), arguments.iter().map(text).collect::<Vec<_>>())
    });
    let words = |one: &Directive| (one.keyword.clone(), one.arguments.iter().map(|one| one.text.clone()).collect());
    assert_eq!(ours.as_ref().map(words), theirs, "{:?}", String::from_utf8_lossy(line));
    // The guests' reader knows where sshd stops for a `Match`; it takes an empty word in quotes for
    // the end of the line, and more bytes for blanks.
    let odd = |byte: &u8| [b'\r', 0x0c, b'"'].contains(byte);
    if !line.iter().any(odd) {
        assert_eq!(guest::keyword(line), theirs.map(|(keyword, _)| keyword), "{:?}", String::from_utf8_lossy(line));
    }
}

/// With one argument exchanged, the line says the same but for that.
fn rewritten(line: &[u8]) {
    let Some(before) = Directive::parse(line) else { return };
    if reference::sshd_line(line).is_err() || line.contains(&0) {
        return;
    }
    for index in 0..before.arguments.len() {
        let path = "/run/user 0/\"x\\y\"/0001-file";
        let span = before.arguments[index].span.clone();
        let changed = with_arguments(line, &[(span, vec![path.to_owned()])]);
        let after = Directive::parse(&changed).unwrap();
        let texts = |one: &Directive| one.arguments.iter().map(|one| one.text.clone()).collect::<Vec<_>>();
        let mut expected = texts(&before);
        path.clone_into(&mut expected[index]);
        assert_eq!((after.keyword.as_str(), texts(&after)), (before.keyword.as_str(), expected));
    }
}

/// Where nothing is granted, only lines without a meaning and `Match all` may differ.
fn compared(old: &[u8], new: &[u8]) {
    let lines = |text: &[u8]| -> Vec<String> {
        directives(text).filter(|(_, one)| !one.is_match_all()).map(|(_, one)| one.normal()).collect()
    };
    let found = keywords::not_granted(old, new, MayChange::Only(&[]));
    let differ = new.contains(&0) || lines(old) != lines(new);
    assert!(found.is_empty() != differ, "{found:?}");
}
