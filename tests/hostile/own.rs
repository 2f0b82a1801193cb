//! Guests that try to get what no grant gives: Warded's own files, a CA's, another policy's, and private keys.

use super::{
    case::{Case, case},
    record::{asked, failed},
};
use crate::support::script::Argument::{Number, Text};
use crate::support::{Grants, Machine, machine::keygen};
use rustix::fs::{AtFlags, CWD, linkat};
use std::{fs, os::unix::fs::symlink, process::Command};

const KEY: &str = "PRIVATE KEY";
const BINARY: &str = env!("CARGO_BIN_EXE_warded");

pub(super) fn cases() -> Vec<Case> {
    let mut cases = protected();
    cases.extend(around());
    cases.extend(keys());
    cases
}

/// Files that a policy grants by name although no policy may grant them.
fn protected() -> Vec<Case> {
    let mut cases = Vec::new();
    for path in [
        "{dir}/state/audit/log.jsonl",
        "{dir}/state/audit/head.json",
        "{dir}/state/enrolment.json",
        "{dir}/state/runs/1/journal.json",
        "{dir}/config.toml",
        "{dir}/policies/case.toml",
        "{dir}/policies/case.wasm",
        "{dir}/policies/other.toml",
        "{dir}/ca/host_ca",
        "{dir}/ca/user_ca.pub",
        "/etc/warded/config.toml",
        "/var/lib/warded/audit/log.jsonl",
        BINARY,
    ] {
        let why = "Warded's own or a CA's: no grant covers it";
        let name = if path == BINARY { "Warded's program" } else { path };
        let read: &'static str = Box::leak(format!("files.read = [\"{path}\"]").into_boxed_str());
        let write: &'static str = Box::leak(format!("files.write = [\"{path}\"]").into_boxed_str());
        cases.push(
            case(format!("read {name}"))
                .granted(&[read])
                .hides(KEY)
                .does(move |guest| {
                    guest.reads(path);
                })
                .ends_denied("files.read", path, why),
        );
        cases.push(
            case(format!("write {name}"))
                .granted(&[write])
                .does(move |guest| {
                    guest.writes(path, "taken");
                })
                .ends_denied("files.write", path, why),
        );
    }
    cases
}

/// Ways to get around that.
fn around() -> Vec<Case> {
    let link_to = |to: &'static str| {
        move |machine: &Machine| {
            fs::create_dir(machine.path("way")).unwrap();
            symlink(machine.path(to), machine.path("way/link")).unwrap();
        }
    };
    vec![
        case("the CA's key through a link that is written out")
            .granted(&["files.read = [\"{dir}/way/link/host_ca\"]"])
            .given(link_to("ca"))
            .hides(KEY)
            .does(|guest| {
                guest.reads("{dir}/way/link/host_ca");
            })
            .gives_up("files.read", "{dir}/way/link/host_ca", "untrusted-path", "which no grant covers"),
        case("the CA's directory through a link below a wildcard")
            .granted(&["files.read = [\"{dir}/*/host_ca\"]"])
            .given(|machine| symlink("ca", machine.path("way")).unwrap())
            .hides(KEY)
            .does(|guest| {
                guest.reads("{dir}/way/host_ca");
            })
            .gives_up("files.read", "{dir}/way/host_ca", "untrusted-path", "a link"),
        case("a policy through a link below a wildcard")
            .granted(&["files.write = [\"{dir}/*/case.toml\"]"])
            .given(|machine| symlink("policies", machine.path("way")).unwrap())
            .does(|guest| {
                guest.writes("{dir}/way/case.toml", "name = \"mine\"");
            })
            .gives_up("files.write", "{dir}/way/case.toml", "untrusted-path", "a link"),
        case("the CA's key through a hard link")
            .granted(&["files.read = [\"{dir}/way/*\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("way")).unwrap();
                linkat(CWD, machine.path("ca/host_ca"), CWD, machine.path("way/key"), AtFlags::empty()).unwrap();
            })
            .hides(KEY)
            .does(|guest| {
                guest.reads("{dir}/way/key");
            })
            .gives_up("files.read", "{dir}/way/key", "not-a-file", "hard link"),
        case("the CA's key as a key pair")
            .granted(&["keys = [\"{dir}/ca/host_ca\"]"])
            .does(|guest| {
                guest.does("keys.open", &[Text(b"{dir}/ca/host_ca")]);
            })
            .ends_denied("keys.open", "{dir}/ca/host_ca", "no grant covers it"),
        case("a new key for the CA")
            .granted(&["keys = [\"{dir}/ca/*\"]"])
            .does(|guest| {
                guest.does("keys.ensure", &[Text(b"{dir}/ca/more"), Text(b"ssh-ed25519")]);
            })
            .ends_denied("keys.ensure", "{dir}/ca/more", "no grant covers it"),
        case("the CA's directory, listed")
            .granted(&["files.read = [\"{dir}/ca/*\"]"])
            .does(|guest| {
                guest.does("files.list", &[Text(b"{dir}/ca")]);
            })
            .ends_denied("files.list", "{dir}/ca", "no grant covers it"),
        case("directory swapped for the CA's while it is read")
            .granted(&["files.read = [\"{dir}/*/host_ca\"]", "keys = [\"{dir}/*/host_ca\"]", "log = [\"info\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("way")).unwrap();
                fs::write(machine.path("way/host_ca"), "granted").unwrap();
            })
            .meanwhile(|machine| {
                let (way, spare) = (machine.path("way"), machine.path("spare"));
                fs::rename(&way, &spare).unwrap();
                symlink("ca", &way).unwrap();
                fs::remove_file(&way).unwrap();
                fs::rename(&spare, &way).unwrap();
            })
            .does(|guest| {
                // If Warded read the path as a key pair, it would give the guest a handle. This file is no key, so
                // there is none to get.
                guest.repeats(3000, |guest| {
                    guest.tries("keys.open", &[Text(b"{dir}/way/host_ca")]);
                    guest.raw("(if (i32.eqz (i32.load8_u (i32.const 1024))) (then (if (i32.load8_u (i32.const 1028)) (then (unreachable))) (local.set $h (i32.const 1)))) ");
                });
                guest.says_if_any();
            })
            .ends(&[0], &["Nothing to do."], asked("keys.open", "{dir}/way/host_ca").often())
            // The guest met both: the directory, whose file is no key, and the link.
            .also(failed("keys.open", "{dir}/way/host_ca", "untrusted-path").often())
            .also(asked("log.info", "a message")),
        case("what another policy is granted")
            .given(|machine| {
                let grant = format!("files.write = [\"{}\"]", machine.path("ssh/other").display());
                Grants::of(&[&grant]).write(&machine.path("policies"), "other", "go", b"another component");
            })
            .does(|guest| {
                guest.writes("{dir}/ssh/other", "taken");
            })
            .ends_denied("files.write", "{dir}/ssh/other", "no grant covers it"),
    ]
}

/// Private keys, in every format and in any place.
fn keys() -> Vec<Case> {
    let read = |name: &str, make: fn(&Machine)| {
        case(name)
            .granted(&["files.read = [\"{dir}/ssh/*\"]", "log = [\"info\"]"])
            .given(make)
            .hides(KEY)
            .does(|guest| {
                guest.reads("{dir}/ssh/key");
            })
            .gives_up("files.read", "{dir}/ssh/key", "private-key", "holds a private key")
    };
    vec![
        read("a host key", |machine| {
            fs::copy(machine.path("ssh/ssh_host_ed25519_key"), machine.path("ssh/key")).map(drop).unwrap();
        }),
        read("a key in PEM", |machine| {
            keygen(&["-q", "-N", "", "-m", "PEM", "-t", "ecdsa", "-f"], &machine.path("ssh/key"));
        }),
        read("a key in PKCS8", |machine| {
            keygen(&["-q", "-N", "", "-m", "PKCS8", "-t", "ecdsa", "-f"], &machine.path("ssh/key"));
        }),
        read("a key with a passphrase", |machine| {
            keygen(&["-q", "-N", "passphrase", "-t", "ed25519", "-f"], &machine.path("ssh/key"));
        }),
        read("a key in the middle of a file", |machine| {
            let key = fs::read(machine.path("ssh/ssh_host_ecdsa_key")).unwrap();
            fs::write(machine.path("ssh/key"), [b"\xef\xbb\xbf# mine\r\n  ", key.as_slice(), b"# end\n"].concat())
                .unwrap();
        }),
        read("a key in DER", |machine| {
            keygen(&["-q", "-N", "", "-m", "PKCS8", "-t", "ecdsa", "-f"], &machine.path("ssh/pem"));
            let text = fs::read_to_string(machine.path("ssh/pem")).unwrap();
            let body: String = text.lines().filter(|line| !line.starts_with("---")).collect();
            fs::write(machine.path("ssh/body"), body).unwrap();
            let decoded = Command::new("base64").arg("-d").arg(machine.path("ssh/body")).output().unwrap().stdout;
            assert_eq!(decoded[0], 0x30, "a sequence");
            fs::write(machine.path("ssh/key"), decoded).unwrap();
        }),
        case("a host key as a certificate")
            .granted(&["files.read = [\"{dir}/ssh/*\"]"])
            .hides(KEY)
            .does(|guest| {
                guest.does("authority.read", &[Text(b"{dir}/ssh/ssh_host_ed25519_key")]);
            })
            .gives_up("authority.read", "{dir}/ssh/ssh_host_ed25519_key", "not-a-certificate", ""),
        case("a key that was just made")
            .granted(&["keys = [\"{dir}/ssh/new\"]", "files.read = [\"{dir}/ssh/new\"]"])
            .hides(KEY)
            .does(|guest| {
                guest.does("keys.ensure", &[Text(b"{dir}/ssh/new"), Text(b"ssh-ed25519")]);
                guest.reads("{dir}/ssh/new");
            })
            .gives_up("files.read", "{dir}/ssh/new", "pending", "not known before the review"),
        case("a host key that the guest knows")
            .granted(&["files.write = [\"{dir}/ssh/*\"]"])
            .does(|guest| {
                guest.does(
                    "files.write",
                    &[Text(b"{dir}/ssh/ssh_host_ed25519_key"), Text(b"mine"), Number(0), Number(0)],
                );
            })
            .ends(
                &[5],
                &["Unable to load host key \"{dir}/ssh/ssh_host_ed25519_key\""],
                asked("files.write", "{dir}/ssh/ssh_host_ed25519_key"),
            ),
        case("no host key any more")
            .granted(&["files.write = [\"{dir}/ssh/*\"]"])
            .does(|guest| {
                guest.does("files.remove", &[Text(b"{dir}/ssh/ssh_host_ed25519_key")]);
            })
            .ends(
                &[5],
                &["Unable to load host key: {dir}/ssh/ssh_host_ed25519_key"],
                asked("files.remove", "{dir}/ssh/ssh_host_ed25519_key"),
            ),
    ]
}
