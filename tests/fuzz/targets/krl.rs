//! Lists of revoked keys, as the host judges what a run brings in, and as a guest adds to what it
//! finds. The first eight bytes are the serial number that is added; the rest is the list.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use warded_fuzz::{
    guard::{MayChange, includes::Staged, revocation::refuse_lists},
    guest::krl::{Krl, wire_form},
    is_harmless,
    machine::sshd::Effective,
};

const HEAD: usize = 8 + 4 + 3 * 8;

fuzz_target!(|data: &[u8]| {
    let Some((serial, list)) = data.split_first_chunk::<8>() else { return };
    let serial = u64::from_be_bytes(*serial);
    line(list);
    let is_let_through = is_let_through(list);
    assert!(!is_let_through || only_certificates(list) == Some(true), "a list with plain keys is let through");
    let Ok(found) = Krl::parse(list) else { return };
    assert_eq!(Krl::parse(&found.to_bytes()).as_ref(), Ok(&found), "read as it was written");
    let mut longer = found.clone();
    let (ours, others) = (b"our CA".as_slice(), b"another".as_slice());
    let was_in = found.revokes(ours, serial);
    assert_eq!(longer.revoke(ours, &[serial]), serial != 0 && !was_in);
    assert_eq!(longer.revokes(ours, serial), serial != 0 || was_in);
    // What was refused stays refused, and nobody else is.
    for authority in [ours, others, b""] {
        for near in [serial.wrapping_sub(1), serial.wrapping_add(1), 0, 1, 7, 255, u64::MAX] {
            if near != serial || authority != ours {
                assert_eq!(longer.revokes(authority, near), found.revokes(authority, near), "{near}");
            }
        }
    }
    let written = longer.to_bytes();
    assert_eq!(Krl::parse(&written).as_ref(), Ok(&longer));
    // A signed list is none that is added to; any other the host takes as it took the first.
    assert_eq!(self::is_let_through(&written), is_let_through);
});

/// Whether a procedure may put it in place, as far as the host can see.
fn is_let_through(list: &[u8]) -> bool {
    let effective = Effective::parse("revokedkeys /fuzz/list\n");
    let staged = Staged::from([("/fuzz/list".into(), Some(list.to_vec()))]);
    match refuse_lists(&staged, &effective, MayChange::Only(&[])) {
        Ok(()) => true,
        Err(error) => {
            is_harmless(&error.to_string());
            false
        }
    }
}

/// The same, by walking from section to section.
fn only_certificates(list: &[u8]) -> Option<bool> {
    if !list.starts_with(b"SSHKRL\n\0\x00\x00\x00\x01") {
        return None;
    }
    let skip = |at: usize| {
        let length = u32::from_be_bytes(list.get(at..at + 4)?.try_into().ok()?);
        Some(at + 4 + usize::try_from(length).ok()?)
    };
    let mut at = skip(skip(HEAD)?)?;
    let mut only = true;
    while at < list.len() {
        only &= list[at] == 1;
        at = skip(at + 1)?;
    }
    (at == list.len()).then_some(only)
}

/// As the line of a CA's public key: another reader of base64 that takes it reads the same.
fn line(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let ours = wire_form(text);
    if let Some(Ok(theirs)) = text.split_whitespace().nth(1).map(|word| STANDARD.decode(word)) {
        assert_eq!(ours, Some(theirs));
    }
}
