//! sshd's configuration: each line means to us what it means to sshd, a line that was rewritten
//! means what it should, and no line comes or goes without being seen. The input is two
//! configurations, with a line `=====` between them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sshd_config::line::{Directive, Splitting, directives, path_line, with_arguments};
use std::collections::BTreeMap;
use warded_fuzz::{
    guard::{MayChange, config::structure},
    machine::sshd::{
        Effective,
        tree::{ConfigFile, Tree},
    },
    reference,
};

const BETWEEN: &[u8] = b"\n=====\n";

fuzz_target!(|data: &[u8]| {
    let middle = data.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    let (old, new) = middle.map_or((data, &b""[..]), |at| (&data[..at], &data[at + BETWEEN.len()..]));
    for line in old.split(|byte| *byte == b'\n') {
        as_sshd(line);
        rewritten(line);
        named(line);
    }
    compared(old, new);
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
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let theirs = |(keyword, arguments): (Vec<u8>, Vec<Vec<u8>>)| {
        (text(&keyword).to_ascii_lowercase(), arguments.iter().map(text).collect::<Vec<_>>())
    };
    let ours = |splitting| {
        let directive = Directive::split(line, splitting)?;
        Some((directive.keyword, directive.arguments.into_iter().map(|one| one.text).collect::<Vec<_>>()))
    };
    // What sshd refuses nobody has to understand.
    if let Ok(said) = reference::sshd_line(line) {
        assert_eq!(ours(Splitting::ArgvSplit), said.map(theirs), "{:?}", String::from_utf8_lossy(line));
    }
    let said = reference::sshd_line_before_8_7(line).map(theirs);
    assert_eq!(ours(Splitting::Strdelim), said, "{:?}", String::from_utf8_lossy(line));
}

/// A line that names a path, which sshd of every release has to read back.
fn named(path: &[u8]) {
    let Some(line) = std::str::from_utf8(path).ok().and_then(|path| path_line("HostKey", path)) else { return };
    let expected = Some((b"HostKey".to_vec(), vec![path.to_vec()]));
    assert_eq!(reference::sshd_line(line.as_bytes()), Ok(expected.clone()), "{line:?}");
    assert_eq!(reference::sshd_line_before_8_7(line.as_bytes()), expected, "{line:?}");
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

/// Where nothing is granted, only lines without a meaning may differ; and each line is seen once, in its order.
fn compared(old: &[u8], new: &[u8]) {
    let tree = |contents: &[u8]| Tree {
        files: vec![ConfigFile { path: "/c".into(), contents: contents.to_vec(), includes: BTreeMap::new() }],
    };
    let (before, after) = (tree(old), tree(new));
    // By their bytes, as the guard compares them: in a text, bytes that are no UTF-8 look alike.
    let lines = |tree: &Tree| -> Vec<(Vec<u8>, Vec<String>)> {
        tree.lines().unwrap().into_iter().map(|one| (one.text.to_vec(), one.within)).collect()
    };
    let granted = MayChange::Only(&[]);
    let found = structure::difference(&before, &after, granted, None).unwrap();
    assert_eq!(found.refuse(granted).is_err(), lines(&before) != lines(&after));
    assert_eq!(lines(&after).len(), directives(new).count());
    assert!((1..=u16::MAX).contains(&after.spare_port()));
}
