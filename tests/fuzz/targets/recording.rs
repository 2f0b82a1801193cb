//! Recordings, which an author gets from a stranger's machine. The first byte says whether they are sealed, as they have to be
//! to be read at all, or whether a whole one is damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use warded_fuzz::{
    digest::Digest,
    is_harmless,
    recording::{Call, Head, Outcome, Recording, bytes, differences},
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => read(data),
        1 => {
            let body = [data, b"\n"].concat();
            let end = format!("{{\"digest\":\"{}\"}}\n", Digest::of(&body));
            read(&[body, end.into_bytes()].concat());
        }
        _ => damaged(data),
    }
});

fn read(data: &[u8]) {
    let found = match Recording::parse(data) {
        Err(error) => return is_harmless(&error.to_string()),
        Ok(found) => found,
    };
    assert_eq!(Recording::parse(&found.to_bytes().unwrap()).unwrap(), found);
    found.calls.iter().for_each(|(call, _)| is_harmless(&call.to_string()));
    assert_eq!(differences(&found.calls, &found.calls), []);
    for one in differences(&found.calls, &[]) {
        assert!(one.recorded.is_some() && one.replayed.is_none(), "{one:?}");
    }
}

/// No other recording comes of a changed byte.
fn damaged(changes: &[u8]) {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    let whole = WHOLE.get_or_init(whole);
    let mut bytes = whole.clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    if let Some(cut) = changes.chunks_exact(3).remainder().first() {
        bytes.truncate(bytes.len().saturating_sub(usize::from(*cut)));
    }
    match Recording::parse(&bytes) {
        Err(error) => is_harmless(&error.to_string()),
        // The digest can be written in other ways.
        Ok(found) => assert_eq!(found, Recording::parse(whole).unwrap()),
    }
}

fn whole() -> Vec<u8> {
    let of = ("mine".parse().unwrap(), "1.0.0".to_owned(), Digest::of(b"component"));
    let head = Head::new(of, "go".parse().unwrap(), Vec::new(), None);
    let call = |function: &str, contents: &[u8]| Call {
        function: function.to_owned(),
        about: "/etc/motd".to_owned(),
        arguments: serde_json::json!({ "contents": bytes(contents), "mode": null }),
    };
    let calls = vec![
        (call("files.read", b""), Outcome::Answer(bytes(b"old\n"))),
        (call("files.write", b"new\xff\n"), Outcome::Answer(true.into())),
        (call("log.info", b""), Outcome::Stopped("denied".to_owned())),
    ];
    Recording { head, calls }.to_bytes().unwrap()
}
