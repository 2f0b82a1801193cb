//! The audit log, when somebody alters it.

use crate::support::{
    Grants, Machine, Run,
    machine::NAME,
    missing,
    script::Script,
    wait::{LONG, wait},
};
use serde_json::Value;
use std::{fs, path::Path, process::Command, sync::mpsc::Receiver, time::Duration};

/// Forges a log at one of its lines. Returns the number of the first wrong record, counted from 1; none, if this cannot
/// be done at that line.
type Forgery = fn(&mut Vec<String>, usize) -> Option<usize>;

const FORGERIES: [(&str, Forgery); 6] = [
    ("a byte changed", |lines, at| {
        let byte = lines[at].len() / 2;
        let changed = if lines[at].is_char_boundary(byte) && &lines[at][byte..=byte] == "0" { "1" } else { "0" };
        lines[at].replace_range(byte..=byte, changed);
        Some(at + 1)
    }),
    ("the hash changed too", |lines, at| {
        // The best that a forger can do without rewriting all records that follow.
        lines[at] = lines[at].replacen("\"kind\":\"", "\"kind\":\"x", 1);
        Some(at + 1)
    }),
    ("removed", |lines, at| {
        lines.remove(at);
        Some(at + 1)
    }),
    ("exchanged with the next", |lines, at| {
        (at + 1 < lines.len()).then(|| lines.swap(at, at + 1))?;
        Some(at + 1)
    }),
    ("written twice", |lines, at| {
        lines.insert(at, lines[at].clone());
        Some(at + 2)
    }),
    ("cut off with all that follow", |lines, at| {
        lines.truncate(at);
        Some(at + 1)
    }),
];

#[test]
fn whatever_is_done_to_a_record_shows() {
    let machine = Machine::stopped();
    machine.certify();
    machine.warded(["renew", "--force"]).ends(0);
    let mut denied = Script::new("");
    denied.reads("/etc/shadow");
    Grants::of(&[]).write(&machine.path("policies"), "case", "go", &denied.component());
    machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(5);
    machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]);
    // A plan writes no seal; a run with effects ends with one.
    assert_ne!(verified(&machine)["unsealed"], 0);
    machine.warded(["undo", "--yes"]).ends(0);
    assert_eq!(verified(&machine)["unsealed"], 0);

    let log = machine.path("state/audit/log.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    let lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    assert!(lines.len() > 30, "only {} records", lines.len());
    assert_eq!(verified(&machine)["records"], lines.len());
    for (what, forge) in FORGERIES {
        for at in 0..lines.len() {
            let mut forged = lines.clone();
            let Some(first) = forge(&mut forged, at) else { continue };
            let text: String = forged.iter().map(|line| format!("{line}\n")).collect();
            fs::write(&log, text).unwrap();
            let said = verified(&machine);
            assert_eq!(said["intact"], false, "record {} {what}: {said}", at + 1);
            assert_eq!(said["record"], first, "record {} {what}: {said}", at + 1);
        }
    }
    fs::write(&log, &whole).unwrap();
    heads(&machine, lines.len());
    assert_eq!(verified(&machine)["intact"], true);
}

/// Forges the head alone: removed, with another count, or invalid.
fn heads(machine: &Machine, count: usize) {
    let head = machine.path("state/audit/head.json");
    let whole = fs::read_to_string(&head).unwrap();
    fs::remove_file(&head).unwrap();
    assert_eq!(verified(machine)["record"], count, "without a head");
    fs::write(&head, whole.replace(&format!("\"count\":{count}"), &format!("\"count\":{}", count + 1))).unwrap();
    assert_eq!(verified(machine)["record"], count + 1, "a head that knows one more");
    fs::write(&head, "{}").unwrap();
    assert_eq!(verified(machine)["intact"], false, "a head that is none");
    fs::write(&head, whole).unwrap();
}

/// An alteration at the end of the log is not taken for a crash, not even by the next run.
#[test]
fn what_was_altered_last_stays_altered() {
    let machine = Machine::stopped();
    machine.certify();
    let log = machine.path("state/audit/log.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    let count = whole.lines().count();
    let at = whole.trim_end().rfind("kept").unwrap();
    fs::write(&log, [&whole[..at], "lost", &whole[at + 4..]].concat()).unwrap();
    assert_eq!(verified(&machine)["record"], count);
    machine.warded(["renew", "--force"]).ends(0);
    let said = verified(&machine);
    assert_eq!((&said["intact"], &said["record"]), (&false.into(), &count.into()), "{said}");
}

/// Once records were cut off, the log is known to lack them, however much is recorded later.
#[test]
fn what_was_cut_off_stays_missing() {
    let machine = Machine::stopped();
    machine.certify();
    let log = machine.path("state/audit/log.jsonl");
    cut(&log, 3);
    let first = verified(&machine)["record"].clone();
    machine.warded(["renew"]).ends(0);
    machine.warded(["renew", "--force"]).ends(0);
    assert_eq!(verified(&machine)["record"], first);
}

fn cut(log: &Path, count: usize) {
    let text = fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let kept: String = lines[..lines.len() - count].iter().map(|line| format!("{line}\n")).collect();
    fs::write(log, kept).unwrap();
}

fn verified(machine: &Machine) -> Value {
    machine.warded(["audit", "verify", "--json"]).object("warded.audit-verify/1")
}

/// The system log gets one line for each run that changed something or failed, with the head of the audit log.
#[test]
fn each_run_is_one_line_in_the_system_log() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    let system_log = machine.system_log();
    let mut denied = Script::new("");
    denied.reads("/etc/shadow");
    Grants::of(&[]).write(&machine.path("policies"), "case", "go", &denied.component());
    machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(5);
    is_told(&machine, &system_log, "<84>", &["run 1 go: refused: ", "/etc/shadow"]);
    machine.certify();
    is_told(&machine, &system_log, "<85>", &["run 2 certify-host: 3 certificates until 20", ", ssh reloaded [audit "]);
    machine.warded(["renew"]).ends(0);
    machine.warded(["plan", "certify-host", "--set", &format!("principal={NAME}")]).ends(0);
    assert!(system_log.try_recv().is_err(), "where nothing was due, nothing is told");
    machine.warded(["undo", "--yes", "--confirm-within", "10m"]).ends(0);
    is_told(&machine, &system_log, "<85>", &[": 4 files changed, ssh reloaded, waits to be confirmed until "]);
    machine.warded(["confirm", "--same-login"]).ends(0);
    is_told(&machine, &system_log, "<85>", &[": confirmed, 4 files stay as changed [audit "]);
    let certify = ["apply", "certify-host", "--set", &format!("principal={NAME}"), "--yes", "--confirm-within", "5s"];
    machine.warded(certify).ends(0);
    is_told(&machine, &system_log, "<85>", &["certify-host: 3 certificates", "waits to be confirmed until "]);
    let last = || machine.audit().last().unwrap()["detail"].as_str().unwrap_or_default().to_owned();
    wait("it is rolled back", LONG, || last().contains("nobody confirmed it in time"));
    let rolled_back =
        "certify-host: rolled back, nobody confirmed it in time: 4 files restored; ssh reloaded, checked [audit ";
    is_told(&machine, &system_log, "<84>", &[rolled_back]);
    assert!(system_log.try_recv().is_err());
}

/// The next line has these words, and ends with the head that is on disk.
#[track_caller]
pub(super) fn is_told(machine: &Machine, system_log: &Receiver<String>, priority: &str, words: &[&str]) {
    let line = system_log.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| panic!("not told: {words:?}"));
    let text = line.strip_prefix(&format!("{priority}warded[")).and_then(|line| line.split_once("]: "));
    let (_, text) = text.unwrap_or_else(|| panic!("{line}"));
    assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    let head: Value = serde_json::from_slice(&fs::read(machine.path("state/audit/head.json")).unwrap()).unwrap();
    let head = format!(" [audit {} {}]", head["count"], head["hash"].as_str().unwrap());
    assert!(text.ends_with(&head), "{text}: {head}");
}

/// journald gets the line with fields, and the other socket gets nothing.
#[test]
fn journald_gets_the_run_in_fields() {
    if missing::root() {
        return;
    }
    let machine = Machine::start();
    let (system_log, journal) = (machine.system_log(), machine.journal());
    machine.certify();
    let entry = journal.recv_timeout(Duration::from_secs(30)).unwrap();
    let head: Value = serde_json::from_slice(&fs::read(machine.path("state/audit/head.json")).unwrap()).unwrap();
    let hash = format!("AUDIT_HASH={}", head["hash"].as_str().unwrap());
    let fields = ["RUN=1", "PROCEDURE=certify-host", "POLICY=unix", "RESULT=kept", "PRIORITY=5", hash.as_str()];
    for field in fields {
        assert!(entry.lines().any(|line| line == field), "{field}: {entry}");
    }
    assert!(entry.starts_with("MESSAGE=run 1 certify-host: 3 certificates until 20"), "{entry}");
    assert!(entry.lines().any(|line| line.starts_with("MESSAGE_ID=")), "{entry}");
    assert!(journal.try_recv().is_err() && system_log.try_recv().is_err(), "it is told once");
}

/// Somebody can cut log and head back together on the machine. A head that was signed before and is kept elsewhere
/// shows that.
#[test]
fn a_signed_head_shows_that_log_and_head_were_cut_back_together() {
    let machine = Machine::start();
    machine.certify();
    let (directory, earlier) = (machine.path("state/audit"), machine.path("earlier"));
    let copy = |from: &Path, to: &Path| {
        Run::of(Command::new("cp").arg("-a").arg(from).arg(to)).ends(0);
    };
    copy(&directory, &earlier);
    machine.warded(["renew", "--force"]).ends(0);
    let head = machine.path("head.json");
    let verify = |option: &str, file: &Path, more: &[&str]| {
        let mut command = machine.warded_command(["audit", "verify", option]);
        Run::of(command.arg(file).args(more))
    };
    verify("--sign", &head, &[]).ends(0).prints(&["chain intact", "Signed by the host key SHA256:"]);
    verify("--sign", &head, &[]).ends(5).says(&["is there already", "nothing was signed"]);
    let certified = format!("certified as {NAME}");
    verify("--signed", &head, &[]).ends(0).prints(&[
        "are those that were signed on ",
        " UTC by the host key ",
        &certified,
    ]);
    // The log can be continued.
    machine.warded(["renew", "--force"]).ends(0);
    let object = verify("--signed", &head, &["--json"]).ends(0).object("warded.audit-verify/1");
    assert_eq!(object["signed"]["host"], NAME, "{object}");

    // A signature by another key does not count.
    let [other, ca] = ["other", "ca"].map(|name| machine.path(&format!("{name}-key")));
    for key in [&other, &ca] {
        Run::of(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key)).ends(0);
    }
    let theirs = machine.path("theirs.json");
    verify("--sign", &theirs, &["--key", other.to_str().unwrap()]).ends(0);
    verify("--signed", &theirs, &[]).ends(5).says(&["the host CA does not vouch for the key", "it has no certificate"]);
    let public = ca.with_extension("pub");
    verify("--signed", &head, &["--host-ca", public.to_str().unwrap()]).ends(5).says(&["does not vouch for the key"]);
    let text = fs::read_to_string(&head).unwrap();
    let signed: Value = serde_json::from_str(&text).unwrap();
    let foreign: Value = serde_json::from_str(&fs::read_to_string(&theirs).unwrap()).unwrap();
    for (field, value, why) in [
        ("statement", foreign["statement"].clone(), "did not sign it"),
        ("signature", foreign["signature"].clone(), "did not sign it"),
        ("key", foreign["key"].clone(), "did not sign it"),
        ("certificate", Value::Null, "it has no certificate"),
        ("certificate", Value::from("ssh-ed25519"), "does not vouch for the key"),
        ("more", Value::Null, "unknown field"),
    ] {
        let mut changed = signed.clone();
        changed[field] = value;
        let file = machine.path("changed.json");
        fs::write(&file, changed.to_string()).unwrap();
        verify("--signed", &file, &[]).ends(5).says(&[why]);
    }

    fs::remove_dir_all(&directory).unwrap();
    copy(&earlier, &directory);
    machine.warded(["audit", "verify"]).ends(0);
    verify("--signed", &head, &[]).ends(1).says(&["is not the one whose head was signed"]);
}
