//! Guests whose policy grants paths through one of the kernel's links. `/proc/self/root` is another name for `/`, and
//! the grant is judged by the file that the path leads to.

use super::{
    case::{Case, case},
    record::{Record, asked},
};
use crate::support::Machine;
use crate::support::script::Argument::{Number, Text};
use std::{
    fs,
    os::unix::fs::{chown, symlink},
};

const KEY: &str = "PRIVATE KEY";
/// The contents of a file that no policy grants.
const SECRET: &str = "this is what nobody granted";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = own();
    cases.extend(keys());
    cases.extend(plain());
    cases.push(
        case("sshd's main file through /proc")
            .granted(&["files.write = [\"/proc/self/root{dir}/ssh/sshd_config\"]"])
            .does(|guest| {
                guest.writes("/proc/self/root{dir}/ssh/sshd_config", "PermitRootLogin yes\n");
            })
            .gives_up("files.write", "/proc/self/root{dir}/ssh/sshd_config", "unmarked-change", "may change"),
    );
    cases
}

/// For a refused path, the audit log states where it leads.
fn leads(case: Case<()>, capability: &str, path: &str, into: &str) -> Case {
    let why = format!(" leads into {into}, which no grant covers");
    let record = Record::of("failed").about(capability, path).saying(&[&why]);
    case.hides(KEY).gives_up(capability, path, "untrusted-path", &why).also(record)
}

/// Warded's own files and the CA's.
fn own() -> Vec<Case> {
    const BINARY: &str = env!("CARGO_BIN_EXE_warded");
    let mut cases = Vec::new();
    for (path, into) in [
        ("/proc/self/root{dir}/state/audit/log.jsonl", "{dir}/state"),
        ("/proc/self/root{dir}/state/enrolment.json", "{dir}/state"),
        ("/proc/self/root{dir}/config.toml", "{dir}/config.toml"),
        ("/proc/self/root{dir}/policies/case.toml", "{dir}/policies"),
        ("/proc/self/root{dir}/ca/host_ca", "{dir}/ca"),
        ("/proc/self/root/proc/self/root{dir}/ca/host_ca", "{dir}/ca"),
        ("/proc/thread-self/root{dir}/ca/user_ca.pub", "{dir}/ca"),
        ("/proc/self/exe", BINARY),
    ] {
        let read = case(format!("read {path}")).granted(&[&format!("files.read = [\"{path}\"]")]).does(move |guest| {
            guest.reads(path);
        });
        let write = case(format!("write {path}")).granted(&[&format!("files.write = [\"{path}\"]")]);
        let write = write.does(move |guest| {
            guest.writes(path, "taken");
        });
        cases.push(leads(read, "files.read", path, into));
        cases.push(leads(write, "files.write", path, into));
    }
    cases.push(leads(
        case("Warded's state through /proc, listed")
            .granted(&["files.read = [\"/proc/self/root{dir}/state/audit/*\"]"])
            .does(|guest| {
                guest.does("files.list", &[Text(b"/proc/self/root{dir}/state/audit")]);
            }),
        "files.list",
        "/proc/self/root{dir}/state/audit",
        "{dir}/state",
    ));
    cases
}

/// Private keys: the CA's and the machine's.
fn keys() -> Vec<Case> {
    const HOST_KEY: &str = "/proc/self/root{dir}/ssh/ssh_host_ed25519_key";
    vec![
        leads(
            case("the CA's key through /proc, as a key pair")
                .granted(&["keys = [\"/proc/self/root{dir}/ca/host_ca\"]"])
                .does(|guest| {
                    guest.does("keys.open", &[Text(b"/proc/self/root{dir}/ca/host_ca")]);
                }),
            "keys.open",
            "/proc/self/root{dir}/ca/host_ca",
            "{dir}/ca",
        ),
        leads(
            case("a new key for the CA through /proc").granted(&["keys = [\"/proc/self/root{dir}/ca/*\"]"]).does(
                |guest| {
                    guest.does("keys.ensure", &[Text(b"/proc/self/root{dir}/ca/more"), Text(b"ssh-ed25519")]);
                },
            ),
            "keys.ensure",
            "/proc/self/root{dir}/ca/more",
            "{dir}/ca",
        ),
        case("a host key through /proc")
            .granted(&[&format!("files.read = [\"{HOST_KEY}\"]")])
            .hides(KEY)
            .does(|guest| {
                guest.reads(HOST_KEY);
            })
            .gives_up("files.read", HOST_KEY, "private-key", "holds a private key"),
        // The guest may stage this file. The check of the candidate fails, since sshd finds the file where its
        // configuration names it.
        case("a host key through /proc that the guest knows")
            .granted(&[&format!("files.write = [\"{HOST_KEY}\"]")])
            .does(|guest| {
                guest.does("files.write", &[Text(HOST_KEY.as_bytes()), Text(b"mine"), Number(0), Number(0)]);
            })
            .ends(
                &[5],
                &["Unable to load host key \"{dir}/ssh/ssh_host_ed25519_key\""],
                asked("files.write", HOST_KEY),
            ),
    ]
}

/// Ordinary files that no grant reaches nevertheless.
fn plain() -> Vec<Case> {
    let given = |machine: &Machine| {
        fs::create_dir(machine.path("theirs")).unwrap();
        fs::create_dir(machine.path("granted")).unwrap();
        fs::write(machine.path("theirs/file"), SECRET).unwrap();
        symlink("../theirs/file", machine.path("granted/link")).unwrap();
        chown(machine.path("theirs"), Some(65534), Some(65534)).unwrap();
    };
    let mut cases = Vec::new();
    for (name, grant, path, why) in [
        (
            "somebody else's file through /proc",
            "/proc/self/root{dir}/theirs/file",
            "/proc/self/root{dir}/theirs/file",
            "{dir}/theirs: this directory belongs to another user",
        ),
        (
            "a link below what is granted through /proc",
            "/proc/self/root{dir}/granted/*",
            "/proc/self/root{dir}/granted/link",
            "{dir}/granted/link: a link",
        ),
        (
            "a file through /proc below a wildcard",
            "/proc/self/ro*{dir}/config.toml",
            "/proc/self/root{dir}/config.toml",
            "/root: a link, where the grant has a wildcard",
        ),
        (
            "a file through /proc of whatever process",
            "/proc/*/root{dir}/config.toml",
            "/proc/1/root{dir}/config.toml",
            "/proc/1/root: a link, where the grant has a wildcard",
        ),
    ] {
        for (capability, list) in [("files.read", "read"), ("files.write", "write")] {
            let record = Record::of("failed").about(capability, path).saying(&[why]);
            cases.push(
                case(format!("{list} {name}"))
                    .granted(&[&format!("{capability} = [\"{grant}\"]")])
                    .given(given)
                    .hides(SECRET)
                    .does(move |guest| match capability {
                        "files.read" => drop(guest.reads(path)),
                        _ => drop(guest.writes(path, "taken")),
                    })
                    .gives_up(capability, path, "untrusted-path", why)
                    .also(record),
            );
        }
    }
    cases
}
