//! `audit log` and `audit verify`.

use crate::support::Machine;
use std::fs;

#[test]
fn the_record_says_what_was_asked_and_done() {
    let machine = Machine::start();
    machine.certify();
    let records = machine.audit();
    let kinds: Vec<&str> = records.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"started"), Some(&"ended")));
    let at = |kind: &str, capability: &str| {
        records.iter().position(|record| record["kind"] == kind && record["capability"] == capability)
    };
    for (kind, capability) in [("asked", "authority.issue"), ("asked", "files.write"), ("intent", "authority.issue")] {
        assert!(at(kind, capability).is_some(), "{kind} {capability}: {kinds:?}");
    }
    // The intent is recorded before the effect.
    assert!(at("intent", "services.reload").unwrap() < at("result", "services.reload").unwrap());
    let last = machine.warded(["audit", "log", "-n", "2", "--json"]).ends(0).object("warded.audit-log/1");
    assert_eq!(last["records"].as_array().unwrap()[..], records[records.len() - 2..]);
    let other = machine.warded(["audit", "log", "--run", "99", "--json"]).ends(0).object("warded.audit-log/1");
    assert!(other["records"].as_array().unwrap().is_empty());
    let words = machine.warded(["audit", "log"]).ends(0);
    assert_eq!(words.stdout.lines().count(), records.len());
}

#[test]
fn whatever_is_changed_is_named() {
    let machine = Machine::stopped();
    machine.certify();
    let records = machine.audit().len();
    let directory = machine.path("state/audit");
    let log = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let log = log
        .filter(|path| path.file_stem().is_some_and(|name| name != "head"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let good = fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    assert_eq!(lines.len(), records);
    let with = |text: String| {
        fs::write(&log, text).unwrap();
        machine.warded(["audit", "verify", "--json"]).ends(1).object("warded.audit-verify/1")
    };
    let one = lines[3].replacen("\"capability\":\"", "\"capability\":\"x", 1);
    assert_ne!(one, lines[3], "there was nothing to change");
    let changed = with([lines[..3].concat(), one, lines[4..].concat()].concat());
    assert_eq!((&changed["intact"], &changed["record"]), (&false.into(), &4.into()), "{changed}");
    let removed = with([lines[..3].concat(), lines[4..].concat()].concat());
    assert_eq!(removed["record"], 4, "{removed}");
    let swapped = with([lines[..2].concat(), lines[3].to_owned(), lines[2].to_owned(), lines[4..].concat()].concat());
    assert_eq!(swapped["record"], 3, "{swapped}");
    let cut = with(lines[..records - 1].concat());
    assert_eq!(cut["intact"], false, "{cut}");
    machine.warded(["audit", "verify"]).ends(1).says(&["not intact", "evidence"]);
    fs::write(&log, &good).unwrap();
    let intact = machine.warded(["audit", "verify", "--json"]).ends(0).object("warded.audit-verify/1");
    assert_eq!((&intact["intact"], &intact["records"]), (&true.into(), &records.into()));
}
