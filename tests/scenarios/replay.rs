//! `--record` and `warded policy replay`: another build of a component runs against the answers that a machine gave
//! once.

use crate::support::{Grants, Machine, Run, machine::NAME, script::Script};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};
use warded_lib::{digest::Digest, text::is_neutral};

/// Replays as on another machine: without this machine's files, configuration and state.
fn replay(recording: &Path, component: &Path, more: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warded"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("TMPDIR", "/tmp");
    Run::of(command.args(["policy", "replay"]).args([recording, component]).args(more))
}

fn bundled() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/unix.wasm")
}

#[test]
fn the_same_build_does_the_same_and_the_recording_holds_no_key() {
    let machine = Machine::start();
    let [first, second] = ["first.rec", "second.rec"].map(|name| machine.path(name));
    let record = |words: &[&str], file: &Path| {
        let mut command = machine.warded_command([]);
        Run::of(command.args(words).arg("--record").arg(file))
    };
    let principal = format!("principal={NAME}");
    let certify = ["apply", "certify-host", "--yes", "--set", &principal];
    record(&certify, &first).ends(0).prints(&["Recorded in ", "it holds what the procedure read"]);
    record(&["plan", "certify-host"], &second).ends(2);
    assert!(!second.exists(), "nothing was run");
    record(&["plan", "certify-host", "--set", &principal], &second).ends(0);
    for file in [&first, &second] {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.contains("PRIVATE"), "{text}");
        for name in machine.keys() {
            let private = fs::read_to_string(machine.path(&format!("ssh/ssh_host_{name}_key"))).unwrap();
            let public = machine.host_key(name);
            // A private key's file contains the public half, too.
            let is_secret = |line: &&str| line.len() == 70 && !public.contains(line);
            let inner: Vec<&str> = private.lines().rev().filter(is_secret).take(8).collect();
            assert!(!inner.is_empty() && inner.iter().all(|line| !text.contains(line)), "{name}: {text}");
        }
        let run = replay(file, &bundled(), &["--json"]).ends(0).object("warded.policy-replay/1");
        assert!(run["same"] == true && run["calls"].as_u64().unwrap() > 5, "{run}");
    }
    let before = fs::read(&first).unwrap();
    record(&["plan", "certify-host"], &first).ends(5).says(&["is there already", "nothing was run"]);
    assert_eq!(fs::read(&first).unwrap(), before);
}

/// A policy in its own place that reads one file and writes another.
fn build(machine: &Machine, place: &str, text: &str, more: Option<&str>) -> std::path::PathBuf {
    let directory = machine.path(place);
    fs::create_dir_all(&directory).unwrap();
    let root = machine.path("");
    let mut script = Script::new(root.to_str().unwrap());
    script.reads(&format!("{}in", root.display()));
    if let Some(more) = more {
        script.reads(&format!("{}{more}", root.display()));
    }
    script.writes(&format!("{}out", root.display()), text);
    let read = format!("files.read = [\"{}*\"]", root.display());
    let write = format!("files.write = [\"{}out\"]", root.display());
    Grants::of(&[&read, &write]).write(&directory, "case", "go", &script.component());
    directory.join("case.wasm")
}

#[test]
fn a_changed_build_shows_where_it_differs_and_what_it_would_leave() {
    let machine = Machine::stopped();
    fs::write(machine.path("in"), "as it is here\n").unwrap();
    let old = build(&machine, "policies", "one\n", None);
    let file = machine.path("recording");
    let recorded = Run::of(machine.warded_command(["plan", "go", "--record"]).arg(&file));
    recorded.ends(3);
    fs::remove_file(machine.path("in")).unwrap();
    replay(&file, &old, &[]).ends(0).prints(&["2 calls, all as recorded."]);
    let new = build(&machine, "new", "two\n", None);
    replay(&file, &new, &[]).ends(3).prints(&[
        "Call 2 is the first one that differs:",
        "It would leave otherwise: file ",
        "    -one",
        "    +two",
    ]);
    let object = replay(&file, &new, &["--json"]).ends(3).object("warded.policy-replay/1");
    assert_eq!((&object["divergence"]["number"], &object["same"]), (&2.into(), &false.into()), "{object}");
    assert_eq!(object["changes"][0]["replayed"], "two\n", "{object}");
    // The new build makes a call that was not recorded.
    let new = build(&machine, "newer", "one\n", Some("other"));
    replay(&file, &new, &[])
        .ends(3)
        .prints(&["The recorded run: it came to its end", "the recording has no answer to"]);

    for (what, bytes, why) in [
        ("torn", fs::read(&file).unwrap()[..300].to_vec(), "its end is missing"),
        ("too large", vec![b' '; (40 << 20) + 1], "larger than such a file may be"),
    ] {
        let other = machine.path("other-recording");
        fs::write(&other, bytes).unwrap();
        let run = replay(&other, &old, &[]).ends(5);
        assert!(run.stderr.contains(why), "{what}: {}", run.stderr);
    }
}

/// Whoever can write a recording can also write its digest. Even so, no control characters of a recording reach a
/// terminal.
#[test]
fn a_recording_moves_no_cursor() {
    let machine = Machine::stopped();
    fs::write(machine.path("in"), "as it is here\n").unwrap();
    let old = build(&machine, "policies", "one\n", None);
    let file = machine.path("recording");
    Run::of(machine.warded_command(["plan", "go", "--record"]).arg(&file)).ends(3);
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    drop(lines.pop());
    // Fields that may contain any text.
    let hidden = json!("\u{1b}[2J\u{9b}2J\u{202e}\n");
    (lines[0]["version"], lines[0]["ended"]) = (hidden.clone(), hidden.clone());
    let call = &mut lines[2][0];
    (call["about"], call["arguments"]["contents"]) = (hidden.clone(), hidden);
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let end = json!({ "digest": Digest::of(body.as_bytes()) });
    fs::write(&file, format!("{body}{end}\n")).unwrap();
    let shown = replay(&file, &old, &[]).ends(3).prints(&["\\u{1b}[2J\\u{9b}2J\\u{202e}\\n"]);
    for text in [&shown.stdout, &shown.stderr] {
        assert!(text.lines().all(is_neutral), "{text:?}");
    }
}
