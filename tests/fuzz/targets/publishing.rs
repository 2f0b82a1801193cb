//! What comes with a policy that somebody publishes: a manifest, and `allowed_signers`, which an administrator wrote. The
//! first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use warded_fuzz::{is_harmless, manifest::Manifest, policy::file::Policy, signers::refuse_everybody};

const REQUEST: &str = "name = 'x'\nversion = '1.2.0'\n[procedure.p]\nsummary = 's'\n";

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 2 == 0 { manifest(data) } else { signers(data) }
});

fn manifest(data: &[u8]) {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    let policy = POLICY.get_or_init(|| Policy::parse(REQUEST, "p.toml").unwrap());
    let read = |bytes: &[u8], component: &[u8]| Manifest::read(bytes, component, REQUEST, policy);
    match read(data, b"component") {
        Err(error) => is_harmless(&error.to_string()),
        Ok(found) => {
            assert_eq!((found.name.as_str(), found.version.as_str()), ("x", "1.2.0"));
            is_harmless(&found.publisher);
            assert_eq!(read(found.to_text().unwrap().as_bytes(), b"component").unwrap(), found);
            read(data, b"another").unwrap_err();
        }
    }
}

fn signers(data: &[u8]) {
    match refuse_everybody(data) {
        Err(error) => is_harmless(&error.to_string()),
        Ok(()) => {
            for line in data.split(|byte| *byte == b'\n') {
                assert!(!is_open(line), "{:?}", String::from_utf8_lossy(line));
            }
        }
    }
}

/// OpenSSH's `parse_principals_key_and_options` (sshsig.c), written down again: whether a certificate authority stands
/// there for all principals.
fn is_open(line: &[u8]) -> bool {
    let at = |i: usize| line.get(i).copied().unwrap_or(0);
    let is_space = |byte: u8| b" \t\r\n".contains(&byte);
    let mut i = 0;
    while is_space(at(i)) {
        i += 1;
    }
    if at(i) == b'#' || at(i) == 0 {
        return false;
    }
    // strdelimw
    let quoted = at(i) == b'"';
    i += usize::from(quoted);
    let begun = i;
    while at(i) != 0 && if quoted { at(i) != b'"' } else { !is_space(at(i)) } {
        i += 1;
    }
    if at(i) == 0 {
        return false;
    }
    let principals = line[begun..i].to_vec();
    i += 1;
    while is_space(at(i)) {
        i += 1;
    }
    // sshkey_advance_past_options
    let begun = i;
    let mut quoted = false;
    while at(i) != 0 && (quoted || (at(i) != b' ' && at(i) != b'\t')) {
        if at(i) == b'\\' && at(i + 1) == b'"' {
            i += 1;
        } else if at(i) == b'"' {
            quoted = !quoted;
        }
        i += 1;
    }
    if at(i) == 0 || quoted {
        return false;
    }
    is_everybody(&principals) && has_authority(&line[begun..i])
}

/// sshsigopt_parse: one option after another, none that it does not know.
fn has_authority(options: &[u8]) -> bool {
    let mut rest = options.to_ascii_lowercase();
    let mut found = false;
    while !rest.is_empty() {
        let value = |name: &str| rest.strip_prefix(format!("{name}=\"").as_bytes()).map(<[u8]>::to_vec);
        if let Some(after) = rest.strip_prefix(b"cert-authority") {
            found = true;
            rest = after.to_vec();
        } else if let Some(text) = ["namespaces", "valid-after", "valid-before"].iter().find_map(|name| value(name)) {
            let mut end = 0;
            while end < text.len() && text[end] != b'"' {
                end += if text[end] == b'\\' && text.get(end + 1) == Some(&b'"') { 2 } else { 1 };
            }
            if end >= text.len() {
                return false;
            }
            rest = text[end + 1..].to_vec();
        } else {
            return false;
        }
        match rest.split_first() {
            None => {}
            Some((b',', after)) if !after.is_empty() => rest = after.to_vec(),
            Some(_) => return false,
        }
    }
    found
}

/// Whether one pattern matches any name that has at least some characters.
fn is_everybody(principals: &[u8]) -> bool {
    let mut patterns = principals.split(|byte| *byte == b',');
    patterns.any(|pattern| !pattern.is_empty() && pattern.iter().all(|byte| b"*?".contains(byte)))
}
