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

    /// Whether ssh-keygen loads this list.
    fn loads(&self, list: &[u8]) -> bool {
        fs::write(self.0.join("list"), list).unwrap();
        self.keygen(&["-Q", "-l", "-f", "list"])
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
    assert_eq!(Krl::parse(b"ssh-ed25519 AAAA\n"), Err(Fault::NoList));
    assert!(is_list(&bytes) && is_list(MAGIC) && !is_list(b"ssh-ed25519 AAAA\n") && !is_list(&MAGIC[1..]));
}

fn list(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let head = [MAGIC, &[0, 0, 0, 1], &[0; 24], &string(b""), &string(b"a comment")].concat();
    sections.iter().fold(head, |list, (kind, data)| [list, vec![*kind], string(data)].concat())
}

fn of(authority: &[u8], parts: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let head = [string(authority), string(b"")].concat();
    list(&[(CERTIFICATES, parts.iter().fold(head, |all, (kind, data)| [all, vec![*kind], string(data)].concat()))])
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn bits(offset: u64, bits: &[u8]) -> (u8, Vec<u8>) {
    (BITMAP, [numbers(&[offset]), string(bits)].concat())
}

/// Each list, and whether sshd of every release loads it.
fn lists(ca: &[u8]) -> Vec<(&'static str, Vec<u8>, bool)> {
    let serials = |ca: &[u8]| of(ca, &[(LIST, numbers(&[7, u64::MAX]))]);
    let [mut cut, mut longer] = [serials(ca), serials(ca)];
    cut.pop();
    longer.push(1);
    let (mut long, mut longest) = (vec![1; LONGEST_NUMBER + 1], vec![1; LONGEST_NUMBER + 1]);
    (long[0], longest[0]) = (0, 1);
    vec![
        ("nothing", list(&[]), true),
        ("serials", serials(ca), true),
        ("of every CA", serials(b""), true),
        ("cut off", cut, false),
        ("one byte more", longer, false),
        ("a section of garbage", list(&[(CERTIFICATES, b"garbage".to_vec())]), false),
        ("an empty section", list(&[(CERTIFICATES, vec![])]), false),
        ("a section of one CA alone", of(ca, &[]), true),
        ("half a serial", of(ca, &[(LIST, vec![0; 4])]), false),
        ("serial 0", of(ca, &[(LIST, numbers(&[7, 0]))]), false),
        ("no serials", of(ca, &[(LIST, vec![])]), true),
        ("a range", of(ca, &[(RANGE, numbers(&[9, 12]))]), true),
        ("all of them", of(ca, &[(RANGE, numbers(&[1, u64::MAX]))]), true),
        ("a range backwards", of(ca, &[(RANGE, numbers(&[12, 9]))]), false),
        ("a range from 0", of(ca, &[(RANGE, numbers(&[0, 9]))]), false),
        ("half a range", of(ca, &[(RANGE, numbers(&[9]))]), false),
        ("a range and more", of(ca, &[(RANGE, numbers(&[9, 12, 13]))]), false),
        ("bits", of(ca, &[bits(7, &[0x41, 0x07])]), true),
        ("no bits", of(ca, &[bits(0, &[])]), true),
        ("bits from 0", of(ca, &[bits(0, &[0x06])]), true),
        ("serial 0 by a bit", of(ca, &[bits(0, &[0x07])]), false),
        ("the last serial", of(ca, &[bits(u64::MAX, &[0x01])]), true),
        ("bits over the end", of(ca, &[bits(u64::MAX, &[0x02])]), false),
        ("the last serial by a bit of a later byte", of(ca, &[bits(u64::MAX - 8, &[0x01, 0x00])]), true),
        ("bits of a later byte over the end", of(ca, &[bits(u64::MAX - 7, &[0x01, 0x00])]), false),
        ("the last serial after a byte of zeros", of(ca, &[bits(u64::MAX, &[0x00, 0x01])]), true),
        ("negative bits", of(ca, &[bits(7, &[0x80])]), false),
        ("many bits", of(ca, &[bits(7, &long)]), true),
        ("too many bits", of(ca, &[bits(7, &longest)]), false),
        ("bits and more", of(ca, &[(BITMAP, [bits(7, &[1]).1, vec![0]].concat())]), false),
        ("ids", of(ca, &[(IDS, [string(b"a"), string(b"b")].concat())]), true),
        ("an id with a NUL", of(ca, &[(IDS, string(b"a\0b"))]), false),
        ("an id that ends with a NUL", of(ca, &[(IDS, string(b"a\0"))]), true),
        ("half an id", of(ca, &[(IDS, vec![0, 0, 0, 2, b'a'])]), false),
        ("an unknown part", of(ca, &[(0x24, vec![])]), false),
        ("an unknown section", list(&[(6, vec![])]), false),
        ("a key", list(&[(KEYS, string(ca))]), true),
        ("fingerprints", list(&[(SHA1, string(&[1; 20])), (SHA256, string(&[1; 32]))]), true),
        ("a short fingerprint", list(&[(SHA1, string(&[1; 19]))]), false),
        ("a short fingerprint of the other kind", list(&[(SHA256, string(&[1; 31]))]), false),
        ("half a key", list(&[(KEYS, vec![0, 0, 0, 2, b'a'])]), false),
        ("the beginning alone", MAGIC.to_vec(), false),
        ("another version", [MAGIC, &[0, 0, 0, 2], &[0; 32]].concat(), false),
    ]
}

#[test]
fn a_list_is_taken_as_ssh_keygen_takes_it() {
    let keys = Keys::new("take");
    for (what, list, is_fine) in lists(&keys.authority("ca")) {
        let ours = Krl::parse(&list);
        assert_eq!(ours.is_ok(), is_fine, "{what}: {ours:?}");
        assert_eq!(keys.loads(&list), is_fine, "{what}");
    }
}

#[test]
fn a_list_that_only_some_releases_load_is_refused() {
    let extension = [string(b"x@example.org"), vec![0], string(b"")].concat();
    let signed = [list(&[(SIGNATURE, b"key".to_vec())]), string(b"a signature")].concat();
    for (list, fault) in [
        (of(b"ca", &[(0x39, extension.clone())]), Fault::Part(0x39)),
        (list(&[(255, extension)]), Fault::Section(255)),
        (signed, Fault::Signed),
    ] {
        assert_eq!(Krl::parse(&list), Err(fault));
        assert!(fault.to_string().contains("not every sshd reads"));
    }
}

#[test]
fn a_list_says_what_it_is_about() {
    let about = |list: &[u8]| {
        let list = Krl::parse(list).unwrap();
        (list.authorities().map(<[u8]>::to_vec).collect::<Vec<_>>(), list.revokes_keys())
    };
    assert_eq!(about(&list(&[])), (vec![], false));
    assert_eq!(about(&of(b"ca", &[])), (vec![b"ca".to_vec()], false));
    assert_eq!(about(&of(b"", &[])), (vec![], false));
    assert_eq!(about(&list(&[(KEYS, vec![])])), (vec![], true));
    assert_eq!(about(&list(&[(SHA256, string(&[1; 32]))])), (vec![], true));
}

#[test]
fn the_wire_form_is_what_the_line_says() {
    assert_eq!(wire_form("x aGVsbG8= comment").unwrap(), b"hello");
    assert_eq!(wire_form("x //79").unwrap(), [255, 254, 253]);
    assert_eq!(wire_form("x a-b"), None);
    assert_eq!(wire_form("x"), None);
}
