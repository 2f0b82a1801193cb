//! Lists of revoked keys, as the host judges what a run brings in, and as a guest adds to what it
//! finds. The first eight bytes are the serial number that is added; the rest is the list.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use sshd_config::krl::{Krl, wire_form};
use warded_fuzz::{
    guard::{MayChange, revocation::refuse_lists},
    is_harmless,
    machine::sshd::tree::StagedFiles,
};

/// CAs, whose keys have to be keys: sshd takes no list with another.
const OURS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const OTHERS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";
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
    let [ours, others] = [OURS, OTHERS].map(|ca| wire_form(ca).unwrap());
    let (ours, others) = (ours.as_slice(), others.as_slice());
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
    let staged = StagedFiles::from([("/fuzz/list".into(), Some(list.to_vec()))]);
    match refuse_lists(&staged, &["/fuzz/list".to_owned()], MayChange::Only(&[])) {
        Ok(()) => true,
        Err(error) => {
            is_harmless(&error.to_string());
            false
        }
    }
}

/// The same, by walking from section to section, and within each from part to part.
fn only_certificates(list: &[u8]) -> Option<bool> {
    if !list.starts_with(b"SSHKRL\n\0\x00\x00\x00\x01") {
        return None;
    }
    let comment = skip(list, HEAD)?;
    let mut at = skip(list, comment)?;
    let mut only = true;
    while at < list.len() {
        let end = skip(list, at + 1)?;
        only &= list[at] == 1 && only_serials_and_ids(&list[at + 5..end])?;
        at = end;
    }
    Some(only)
}

/// Whether a section lists nothing but serial numbers from one on, and ids, to its last byte.
fn only_serials_and_ids(section: &[u8]) -> Option<bool> {
    let reserved = skip(section, 0)?;
    let mut at = skip(section, reserved)?;
    while at < section.len() {
        let end = skip(section, at + 1)?;
        let part = &section[at + 5..end];
        let number = |index: usize| Some(u64::from_be_bytes(part.get(index * 8..index * 8 + 8)?.try_into().ok()?));
        let is_read = match section[at] {
            0x20 => part.len() % 8 == 0 && (0..part.len() / 8).all(|index| number(index) != Some(0)),
            0x21 => part.len() == 16 && number(0)? != 0 && number(0)? <= number(1)?,
            0x22 => {
                let bits = part.get(12..)?;
                let zero = number(0)? == 0 && bits.last().is_some_and(|byte| byte & 1 == 1);
                skip(part, 8)? == part.len() && !zero && bits.first().is_none_or(|byte| *byte < 0x80)
            }
            0x23 => {
                let mut id = 0;
                while id < part.len() {
                    id = skip(part, id)?;
                }
                true
            }
            _ => false,
        };
        if !is_read {
            return Some(false);
        }
        at = end;
    }
    Some(true)
}

/// Where a string that begins there ends.
fn skip(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?);
    let end = at.checked_add(4)?.checked_add(usize::try_from(length).ok()?)?;
    (end <= bytes.len()).then_some(end)
}

/// As the line of a CA's public key: another reader of base64 that takes it reads the same.
fn line(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let ours = wire_form(text);
    if let Some(Ok(theirs)) = text.split_whitespace().nth(1).map(|word| STANDARD.decode(word)) {
        assert_eq!(ours, Some(theirs));
    }
}
