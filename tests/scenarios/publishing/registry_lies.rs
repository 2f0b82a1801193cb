//! What Warded must not send to a registry, and what it must not accept from one.

use super::{
    Desk,
    registry::{ADDS, COMPONENT, Liar, answer, lies, manifest, moved, pull},
};
use serde_json::{Value, json};
use std::fs;

/// A push sends its data only to the named registry, and to no other server.
#[test]
fn a_blob_is_sent_to_the_registry_and_nowhere_else() {
    let desk = Desk::new();
    let network = desk.machine.network();
    let file = desk.signed("1.0.0", &ADDS);
    fs::write(desk.path("auth.json"), "{}").unwrap();
    let elsewhere = Liar::start(&network, |_, _, stream| answer(stream, "201 Created", b""));
    let places = [
        (format!("http://127.0.0.1:{}/upload", elsewhere.port), false),
        (format!("//127.0.0.1:{}/upload", elsewhere.port), false),
        ("https://192.0.2.1/upload".to_owned(), false),
        ("file:///etc/passwd".to_owned(), false),
        (String::new(), false),
        ("/upload?state=x".to_owned(), true),
    ];
    for (place, is_here) in places {
        let location = if place.is_empty() { String::new() } else { format!("\r\nLocation: {place}") };
        let front = Liar::start(&network, move |_, path, stream| match path {
            _ if path.contains("/uploads/") => answer(stream, &format!("202 Accepted{location}"), b""),
            _ if path.starts_with("/upload") => answer(stream, "500 Internal Server Error", b"full"),
            _ => answer(stream, "404 Not Found", b""),
        });
        let push =
            || moved(&desk, &["push", file.to_str().unwrap(), &format!("oci://127.0.0.1:{}/mine:1", front.port)]);
        if is_here {
            push().ends(1).says(&["does not take a blob", "HTTP status 500: full"]);
        } else {
            push().ends(5).says(&["wants a blob sent to another server"]);
        }
        let asked = front.asked.lock().unwrap().join("");
        assert_eq!(asked.contains("PUT /upload?state=x&digest=sha256%3A"), is_here, "{place}: {asked}");
    }
    assert!(elsewhere.asked.lock().unwrap().is_empty());
}

/// Warded reads at most 64 KiB of a signature, from a file as well as from a registry.
#[test]
fn a_signature_in_a_registry_has_a_limit() {
    let desk = Desk::new();
    let network = desk.machine.network();
    fs::write(desk.path("auth.json"), "{}").unwrap();
    const LIMIT: usize = 64 << 10;
    for (manifest_bytes, signature_bytes, is_fine) in
        [(LIMIT, LIMIT, true), (LIMIT + 1, 1, false), (1, LIMIT + 1, false)]
    {
        let mut whole: Value = serde_json::from_slice(&manifest(COMPONENT, 9)).unwrap();
        whole["annotations"] = json!({
            "warded.policy.manifest": "m".repeat(manifest_bytes), "warded.policy.signature": "s".repeat(signature_bytes),
        });
        let liar = lies(&network, whole.to_string().into_bytes(), |_, _, stream| answer(stream, "200 OK", COMPONENT));
        let run = pull(&desk, &format!("oci://127.0.0.1:{}/mine:1", liar.port));
        if is_fine {
            run.ends(0);
            ["", ".manifest", ".manifest.sig"]
                .iter()
                .for_each(|ending| fs::remove_file(desk.path(&format!("pulled.wasm{ending}"))).unwrap());
        } else {
            run.ends(5).says(&["the signature in the registry is larger than one may be", "64 KiB"]);
            assert!(!desk.path("pulled.wasm").exists());
        }
    }
}
