//! Against what ssh-keygen makes of the same lists.

use super::*;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("warded-krl-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir(&directory).unwrap();
        let keys = Self(directory);
        for key in ["ca", "other", "user"] {
            assert!(keys.keygen(&["-q", "-t", "ed25519", "-N", "", "-f", key]));
        }
        keys
    }

    fn keygen(&self, arguments: &[&str]) -> bool {
        Command::new("ssh-keygen").args(arguments).current_dir(&self.0).output().unwrap().status.success()
    }

    fn authority(&self, ca: &str) -> Vec<u8> {
        wire_form(&fs::read_to_string(self.0.join(format!("{ca}.pub"))).unwrap()).unwrap()
    }

    /// Whether ssh-keygen says that this list refuses the certificate with that number.
    fn refuses(&self, list: &[u8], ca: &str, serial: u64) -> bool {
        fs::write(self.0.join("list"), list).unwrap();
        assert!(self.keygen(&["-q", "-s", ca, "-I", "x", "-n", "x", "-z", &serial.to_string(), "user.pub"]));
        // Not refused, and read to its end.
        assert!(self.keygen(&["-Q", "-f", "list", "ca.pub"]), "ssh-keygen does not take the list");
        !self.keygen(&["-Q", "-f", "list", "user-cert.pub"])
    }

    fn made_by_ssh_keygen(&self, lines: &str) -> Vec<u8> {
        fs::write(self.0.join("spec"), lines).unwrap();
        assert!(self.keygen(&["-q", "-k", "-f", "made", "-s", "ca.pub", "-z", "7", "spec"]));
        fs::read(self.0.join("made")).unwrap()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(Path::new(&self.0)));
    }
}

#[test]
fn ssh_keygen_reads_what_is_written() {
    let keys = Keys::new("write");
    let mut list = Krl::default();
    assert!(list.revoke(&keys.authority("ca"), &[5, u64::MAX, 5, 0]));
    assert!(!list.revoke(&keys.authority("ca"), &[u64::MAX, 0]), "nothing new");
    assert!(list.revoke(&keys.authority("other"), &[6]));
    let bytes = list.to_bytes();
    assert_eq!(Krl::parse(&bytes).unwrap(), list);
    for (ca, serial, refused) in
        [("ca", 5, true), ("ca", u64::MAX, true), ("ca", 6, false), ("other", 6, true), ("other", 5, false)]
    {
        assert_eq!(keys.refuses(&bytes, ca, serial), refused, "{ca} {serial}");
        assert_eq!(list.revokes(&keys.authority(ca), serial), refused, "{ca} {serial}");
    }
}

#[test]
fn what_was_in_a_list_stays_in_it() {
    let keys = Keys::new("merge");
    // Lists, ranges and bitmaps: ssh-keygen chooses what is shortest.
    for (lines, in_it) in [
        ("serial: 4\n", vec![4]),
        ("serial: 1000-100000\n", vec![1000, 5000, 100_000]),
        ("serial: 10\nserial: 12\nserial: 13\nserial: 17\nserial: 21\n", vec![10, 12, 13, 17, 21]),
        ("serial: 4\nid: somebody\n", vec![4]),
    ] {
        let mut list = Krl::parse(&keys.made_by_ssh_keygen(lines)).unwrap();
        let ca = keys.authority("ca");
        assert!(in_it.iter().all(|serial| list.revokes(&ca, *serial)), "{lines}");
        assert!([3, 11, 22, 999, 100_001].iter().all(|serial| !list.revokes(&ca, *serial)), "{lines}");
        assert!(!list.revoke(&ca, &in_it), "{lines}");
        assert!(list.revoke(&ca, &[2]));
        assert_eq!(list.version, 8);
        let bytes = list.to_bytes();
        for serial in in_it.iter().chain(&[2]) {
            assert!(keys.refuses(&bytes, "ca", *serial), "{lines} {serial}");
        }
        assert!(!keys.refuses(&bytes, "ca", 3), "{lines}");
    }
}

#[test]
fn what_is_no_list_is_not_added_to() {
    let mut list = Krl::default();
    list.revoke(b"key", &[1, 2]);
    let bytes = list.to_bytes();
    // With no section after it, the beginning is a list too.
    let header = Krl::default().to_bytes().len();
    for length in (0..bytes.len()).filter(|length| *length != header) {
        assert!(Krl::parse(&bytes[..length]).is_err(), "{length}");
    }
    let signed = [&bytes[..], &[SIGNATURE], &string(b"x")].concat();
    assert!(Krl::parse(&signed).unwrap_err().0.contains("signed"));
    assert!(Krl::parse(b"ssh-ed25519 AAAA\n").is_err());
}

#[test]
fn the_wire_form_is_what_the_line_says() {
    assert_eq!(wire_form("x aGVsbG8= comment").unwrap(), b"hello");
    assert_eq!(wire_form("x //79").unwrap(), [255, 254, 253]);
    assert_eq!(wire_form("x a-b"), None);
    assert_eq!(wire_form("x"), None);
}
