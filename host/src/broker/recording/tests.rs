use super::*;
use crate::broker::operation::key::KeyPair;
use serde_json::{Value, json};
use warded_artifact::recording::{Difference, bytes, differences};
use warded_lib::{change_set::RequestId, digest::Digest};

const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

fn call(function: &str, about: &str, arguments: Value) -> Call {
    Call { function: function.to_owned(), about: about.to_owned(), arguments }
}

fn read(path: &str) -> Call {
    call("files.read", path, Value::Null)
}

fn write(path: &str, text: &str) -> Call {
    call("files.write", path, json!({ "contents": bytes(text.as_bytes()), "mode": null }))
}

fn answer(value: Value) -> Outcome {
    Outcome::Answer(value)
}

fn recording() -> Recording {
    let head = Head::new(
        ("mine".parse().unwrap(), "1.0.0".to_owned(), Digest::of(b"component")),
        "go".parse().unwrap(),
        Vec::new(),
        None,
    );
    let failure =
        Outcome::Failure { code: "io".to_owned(), message: "no".to_owned(), details: vec![("a".into(), "b".into())] };
    let calls = vec![
        (read("/a"), answer(json!({ "text": "one\n" }))),
        (read("/b"), failure),
        (write("/c", "one\n"), answer(Value::from(true))),
    ];
    Recording { head, calls }
}

#[test]
fn every_answer_reads_back() {
    fn same<T: Answer + PartialEq + std::fmt::Debug>(value: &T) {
        assert_eq!(T::read(&value.written()).as_ref(), Some(value));
    }
    same(&());
    same(&true);
    same(&Some(b"text\n".to_vec()));
    same(&Some(vec![0xff, 0]));
    same(&None::<Vec<u8>>);
    same(&Some(vec!["a".to_owned(), String::new()]));
    let key: ssh_key::PublicKey = PUBLIC.parse().unwrap();
    same(&vec![key.clone()]);
    let pair = KeyPair { path: "/k".parse().unwrap(), agent: None, public: key, replaces: None };
    let again = KeyPair::read(&pair.written()).unwrap();
    assert_eq!((again.path, again.public), (pair.path, pair.public));
    assert_eq!(RequestId::read(&json!(7)).map(|id| id.written()), Some(json!(7)));
    assert_eq!(bool::read(&json!("true")), None);
    assert_eq!(Vec::<u8>::read(&json!(["text"])), None);
}

#[test]
fn a_recording_is_whole_and_of_these_interfaces_or_refused() {
    let whole = recording().to_bytes().unwrap();
    assert_eq!(Recording::parse(&whole).unwrap(), recording_at(&whole));
    let text = String::from_utf8(whole.clone()).unwrap();
    for (what, bytes, why) in [
        ("empty", Vec::new(), "it has no whole line"),
        ("torn within a line", whole[..whole.len() / 2].to_vec(), "its end is missing"),
        ("its last byte missing", whole[..whole.len() - 1].to_vec(), "its end is missing"),
        ("edited", text.replace("/a", "/z").into_bytes(), "it was changed after it was written"),
        ("a line less", without_line(&text, 2), "it was changed after it was written"),
        ("of other interfaces", text.replace("host@0.1.0", "host@0.2.0").into_bytes(), "another version of Warded"),
        ("of another schema", text.replace("recording/1", "recording/2").into_bytes(), "another version of Warded"),
        ("not text", vec![0xff, b'\n'], "it is not text"),
        ("something else", b"#!/bin/sh\nreboot\n".to_vec(), "its first line is another one"),
    ] {
        let error = Recording::parse(&bytes).unwrap_err();
        assert!(error.message().contains(why), "{what}: {error}");
    }
}

/// The expected recording, with the time that `bytes` contains.
fn recording_at(bytes: &[u8]) -> Recording {
    let recorded = Recording::parse(bytes).unwrap().head.recorded;
    let mut same = recording();
    same.head.recorded = recorded;
    same
}

fn without_line(text: &str, number: usize) -> Vec<u8> {
    let lines = text.lines().enumerate().filter(|(at, _)| *at != number);
    lines.map(|(_, line)| format!("{line}\n")).collect::<String>().into_bytes()
}

#[test]
fn a_replay_answers_as_recorded_until_something_else_is_asked() {
    let replay = Replay::of(recording().calls);
    let bytes = |call| replay.answer::<Option<Vec<u8>>>(call).unwrap();
    assert_eq!(bytes(read("/a")).unwrap().unwrap(), b"one\n");
    assert_eq!(bytes(read("/b")).unwrap_err().code, "io");
    // This write differs from the recorded one; later reads return its text.
    assert!(replay.answer::<bool>(write("/c", "two\n")).unwrap().unwrap());
    assert_eq!(bytes(read("/c")).unwrap().unwrap(), b"two\n");
    assert_eq!(bytes(read("/a")).unwrap().unwrap(), b"one\n");
    let error = replay.answer::<Option<Vec<u8>>>(read("/d")).unwrap_err();
    assert_eq!(error.message(), "the recording has no answer to files.read /d");
    let (calls, divergence) = replay.ended();
    assert_eq!(divergence.unwrap().number, 3);
    let differences = differences(&recording().calls, &calls);
    let expected = Difference {
        what: "file /c".to_owned(),
        recorded: Some("one\n".to_owned()),
        replayed: Some("two\n".to_owned()),
    };
    assert_eq!(differences, [expected]);
}

#[test]
fn a_run_that_ends_early_differs() {
    let replay = Replay::of(recording().calls);
    assert!(replay.answer::<Option<Vec<u8>>>(read("/a")).unwrap().is_ok());
    let (_, divergence) = replay.ended();
    let expected = Divergence { number: 2, asked: None, recorded: Some(read("/b")) };
    assert_eq!(divergence, Some(expected));
}

#[test]
fn no_private_key_and_no_more_than_there_is_room_for_is_recorded() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    let recorder = Recorder::default();
    let note = |call: Call, came: Vec<u8>| recorder.note(call, &Ok(Ok(came)), |_| true);
    note(read("/a"), b"fine".to_vec()).unwrap();
    for (call, came) in [(read("/a"), key.as_bytes().to_vec()), (write("/a", key), Vec::new())] {
        let error = note(call, came).unwrap_err();
        assert!(error.message().contains("passes a private key"), "{error}");
    }
    let input = call("actions.change", "set", json!({ "input": [["pem", key]] }));
    note(input, Vec::new()).unwrap_err();
    let full = note(read("/a"), vec![b'x'; CALL_BYTES]).unwrap_err();
    assert!(full.message().contains("larger than 32 MiB"), "{full}");
}
