//! Guests that name files: paths that lead elsewhere, and things that are not regular files.

use super::{
    case::{Case, case},
    record::{asked, failed},
};
use crate::support::Machine;
use crate::support::script::Argument::{Expression, Number, Text};
use rustix::fs::{AtFlags, CWD, FileType, Mode, linkat, mknodat};
use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::Path,
};

/// The contents of a file that no policy grants.
const SECRET: &str = "this is what nobody granted";
/// A grant below a directory that is written out.
const READ: &[&str] = &["files.read = [\"{dir}/granted/*\", \"{dir}/granted/*/file\"]"];
/// A granted path at which there is no file, or not an ordinary one.
const THING: &str = "{dir}/granted/thing";
/// A granted path below a directory that is every other moment replaced with a link.
const SWAPPED: &str = "{dir}/granted/way/file";
const WRITE: &[&str] = &["files.write = [\"{dir}/granted/*\", \"{dir}/granted/*/file\"]"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = spelled();
    cases.extend(elsewhere());
    cases.extend(links());
    cases.extend(neighbours());
    cases.extend(kinds());
    cases.extend(swapped());
    cases
}

/// Makes the secret file and the granted directory.
fn ground(machine: &Machine) {
    fs::create_dir_all(machine.path("granted/inside")).unwrap();
    fs::create_dir(machine.path("secret")).unwrap();
    fs::write(machine.path("secret/file"), SECRET).unwrap();
    fs::write(machine.path("granted/inside/file"), "granted").unwrap();
}

/// A read and a write of the same path, which end the same way; each with its capability.
fn both(name: &str, path: &'static str) -> [(Case<()>, &'static str); 2] {
    let read = case(format!("read {name}")).granted(READ).given(ground).hides(SECRET).does(move |guest| {
        guest.reads(path);
    });
    let write = case(format!("write {name}")).granted(WRITE).given(ground).does(move |guest| {
        guest.writes(path, "taken");
    });
    [(read, "files.read"), (write, "files.write")]
}

/// Spellings that are not valid paths.
fn spelled() -> Vec<Case> {
    let long: &'static str = Box::leak(format!("{{dir}}/granted/{}", "x".repeat(256)).into_boxed_str());
    let longer: &'static str = Box::leak(format!("{{dir}}/granted{}", "/xxxxxxx".repeat(512)).into_boxed_str());
    [
        ("a parent", "{dir}/granted/../secret/file"),
        ("a parent at the end", "{dir}/granted/inside/.."),
        ("two slashes", "{dir}/granted//file"),
        ("a slash at the end", "{dir}/granted/inside/"),
        ("a dot", "{dir}/granted/./file"),
        ("a relative path", "granted/file"),
        ("nothing", ""),
        ("the root", "/"),
        ("a NUL", "{dir}/granted/file\0.conf"),
        ("a newline", "{dir}/granted/fi\nle"),
        ("an escape code", "{dir}/granted/\u{1b}[2J\u{1b}]0;owned\u{7}"),
        ("a C1 control", "{dir}/granted/\u{9b}2J"),
        ("text that reads the other way", "{dir}/grante\u{202e}d"),
        ("a name of 256 bytes", long),
        ("a path of 4 KiB", longer),
        ("a policy's placeholder", "{home}/file"),
        ("a policy's placeholder for sshd's directory", "{sshd}/sshd_config"),
        ("a policy's placeholder for sshd's main file", "{sshd-config}"),
    ]
    .into_iter()
    .flat_map(|(name, path)| both(name, path).map(|(case, asks)| case.gives_up(asks, path, "invalid-path", "")))
    .collect()
}

/// Valid paths that are not granted.
fn elsewhere() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, path) in [
        ("the shadow file", "/etc/shadow"),
        ("the shadow file through /proc", "/proc/self/root/etc/shadow"),
        ("the environment", "/proc/self/environ"),
        ("memory", "/proc/self/mem"),
        ("the kernel's log", "/dev/kmsg"),
        ("a directory with the same beginning", "{dir}/granted-not/file"),
        ("a level deeper", "{dir}/granted/inside/deeper/file"),
        ("an unusual slash", "{dir}/granted\u{2215}file"),
        ("a pattern for a name", "{dir}/*/file"),
        ("a placeholder for a name", "/{home}/file"),
        ("two paths in one", "{dir}/a\", \"/etc/shadow"),
    ] {
        cases.extend(both(name, path).map(|(case, asks)| case.ends_denied(asks, path, "no grant")));
    }
    cases.push(
        case("remove what is not granted")
            .given(ground)
            .does(|guest| {
                guest.does("files.remove", &[Text(b"{dir}/secret/file")]);
            })
            .ends_denied("files.remove", "{dir}/secret/file", "no grant"),
    );
    cases.push(
        case("write what may be read")
            .granted(READ)
            .given(ground)
            .does(|guest| {
                guest.writes("{dir}/granted/inside/file", "taken");
            })
            .ends_denied("files.write", "{dir}/granted/inside/file", "no grant"),
    );
    cases.push(
        case("list what is not granted")
            .granted(READ)
            .given(ground)
            .does(|guest| {
                guest.does("files.list", &[Text(b"{dir}/secret")]);
            })
            .ends_denied("files.list", "{dir}/secret", "no grant"),
    );
    cases
}

/// Links below a granted directory.
fn links() -> Vec<Case> {
    let link = |name: &str, at: &'static str, to: &'static str, path: &'static str, why: &'static str| {
        both(name, path).map(|(case, asks)| {
            case.given(move |machine| {
                let to = to.replace("{dir}", machine.path("").to_str().unwrap().trim_end_matches('/'));
                symlink(to, machine.path(at)).unwrap();
            })
            .gives_up(asks, path, "untrusted-path", why)
        })
    };
    let mut cases: Vec<Case> = [
        ("an absolute link", "granted/link", "{dir}/secret/file", "{dir}/granted/link", "a link"),
        ("a relative link", "granted/link", "../secret/file", "{dir}/granted/link", "a link"),
        ("a link to nothing", "granted/link", "{dir}/new", "{dir}/granted/link", "a link"),
        ("an absolute link on the way", "granted/way", "{dir}/secret", "{dir}/granted/way/file", "a link"),
        ("a relative link on the way", "granted/way", "../secret", "{dir}/granted/way/file", "a link"),
        ("a link within on the way", "granted/way", "inside", "{dir}/granted/way/file", "a link"),
        ("a link to the root on the way", "granted/way", "/", "{dir}/granted/way/file", "a link"),
        ("a link through /proc", "granted/way", "/proc/self/cwd", "{dir}/granted/way/file", "a link"),
        ("a link to itself on the way", "granted/way", "way", "{dir}/granted/way/file", "a link"),
    ]
    .into_iter()
    .flat_map(|(name, at, to, path, why)| link(name, at, to, path, why))
    .collect();
    // If a path is written out, Warded follows links in it, provided that only root or the user could have made them.
    let literal = |name: &str, given: fn(&Machine), why: &str| {
        case(name)
            .granted(&["files.read = [\"{dir}/granted/inside/file\"]"])
            .given(ground)
            .given(given)
            .hides(SECRET)
            .does(|guest| {
                guest.reads("{dir}/granted/inside/file");
            })
            .gives_up("files.read", "{dir}/granted/inside/file", "untrusted-path", why)
    };
    let link = |machine: &Machine| {
        let file = machine.path("granted/inside/file");
        fs::remove_file(&file).unwrap();
        symlink(machine.path("secret/file"), &file).unwrap();
        std::os::unix::fs::lchown(&file, Some(65534), Some(65534)).unwrap();
    };
    let owner = |machine: &Machine| chown(machine.path("granted/inside"), Some(65534), Some(65534)).unwrap();
    let mode = |machine: &Machine| {
        fs::set_permissions(machine.path("granted/inside"), fs::Permissions::from_mode(0o777)).unwrap();
    };
    cases.push(literal("somebody else's link", link, "another user"));
    cases.push(literal("somebody else's directory", owner, "another user"));
    cases.push(literal("everybody's directory", mode, "others can write"));
    cases
}

/// Files of several people under one wildcard, and a link from one person's file to another's.
fn neighbours() -> [Case; 2] {
    const SETTINGS: &str = "{dir}/granted/alice/.conf/settings";
    let given = |machine: &Machine| {
        let theirs = |path: &str, user| chown(machine.path(path), Some(user), Some(user)).unwrap();
        for (directory, user) in [("granted/alice", 65533), ("granted/bob", 65534), ("granted/bob/private", 65534)] {
            fs::create_dir_all(machine.path(directory)).unwrap();
            theirs(directory, user);
        }
        fs::write(machine.path("granted/bob/private/settings"), SECRET).unwrap();
        theirs("granted/bob/private/settings", 65534);
        symlink("../bob/private", machine.path("granted/alice/.conf")).unwrap();
        std::os::unix::fs::lchown(machine.path("granted/alice/.conf"), Some(65533), Some(65533)).unwrap();
    };
    [
        case("read a neighbour's file through a link of one's own")
            .granted(&["files.read = [\"{dir}/granted/*/.conf/settings\"]", "log = [\"info\"]"])
            .given(given)
            .hides(SECRET)
            .does(|guest| {
                guest.reads(SETTINGS);
            })
            .gives_up("files.read", SETTINGS, "untrusted-path", "a link"),
        case("write a neighbour's file through a link of one's own")
            .granted(&["files.write = [\"{dir}/granted/*/.conf/settings\"]"])
            .given(given)
            .hides(SECRET)
            .does(|guest| {
                guest.writes(SETTINGS, "taken");
            })
            .gives_up("files.write", SETTINGS, "untrusted-path", "a link"),
    ]
}

/// Sets a file's mode.
fn mode_of(path: &Path, mode: u32) {
    fs::write(path, "old\n").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Things that are no regular files, and files with a second name.
fn kinds() -> Vec<Case> {
    let thing = |name: &str, why: &str, make: fn(&Machine)| {
        both(name, THING).map(|(case, asks)| case.given(make).gives_up(asks, THING, "not-a-file", why))
    };
    let mut cases: Vec<Case> = Vec::new();
    cases.extend(thing("a FIFO", "a FIFO", |machine| {
        mknodat(CWD, machine.path("granted/thing"), FileType::Fifo, Mode::from(0o666), 0).unwrap();
    }));
    cases.extend(thing("a device", "a device", |machine| {
        let zero = rustix::fs::makedev(1, 5);
        mknodat(CWD, machine.path("granted/thing"), FileType::CharacterDevice, Mode::from(0o666), zero).unwrap();
    }));
    cases.extend(thing("a socket", "a socket", |machine| {
        mknodat(CWD, machine.path("granted/thing"), FileType::Socket, Mode::from(0o666), 0).unwrap();
    }));
    cases.extend(thing("a directory", "a directory", |machine| fs::create_dir(machine.path("granted/thing")).unwrap()));
    cases.extend(thing("a hard link", "hard link", |machine| {
        linkat(CWD, machine.path("secret/file"), CWD, machine.path("granted/thing"), AtFlags::empty()).unwrap();
    }));
    cases.extend([
        case("a file of five mebibytes")
            .granted(READ)
            .given(ground)
            .given(|machine| File::create(machine.path("granted/thing")).unwrap().set_len(5 << 20).unwrap())
            .does(|guest| {
                guest.reads("{dir}/granted/thing");
            })
            .gives_up("files.read", THING, "too-large", "more than 4 MiB"),
        case("a file that becomes a program of root's")
            .granted(WRITE)
            .given(ground)
            .does(|guest| {
                let mode = [Number(1), Number(0o4755)];
                guest.does("files.write", &[&[Text(b"{dir}/granted/thing"), Text(b"#!/bin/sh\n")][..], &mode].concat());
            })
            .gives_up("files.write", THING, "io", "permission bits only"),
        case("a file that everybody may write")
            .granted(WRITE)
            .given(ground)
            .does(|guest| {
                let mode = [Number(1), Number(0o666)];
                guest.does("files.write", &[&[Text(b"{dir}/granted/thing"), Text(b"x\n")][..], &mode].concat());
            })
            .gives_up("files.write", THING, "unsafe-mode", "its mode may not let others write it"),
        case("a file that the group may write from now on")
            .granted(WRITE)
            .given(ground)
            .given(|machine| mode_of(&machine.path("granted/thing"), 0o644))
            .does(|guest| {
                let mode = [Number(1), Number(0o664)];
                guest.does("files.write", &[&[Text(b"{dir}/granted/thing"), Text(b"x\n")][..], &mode].concat());
            })
            .gives_up("files.write", THING, "unsafe-mode", "its mode may not let others write it"),
        case("a file that the group could write before")
            .granted(WRITE)
            .given(ground)
            .given(|machine| mode_of(&machine.path("granted/thing"), 0o664))
            .does(|guest| {
                let mode = [Number(1), Number(0o664)];
                guest.does("files.write", &[&[Text(b"{dir}/granted/thing"), Text(b"x\n")][..], &mode].concat());
            })
            .ends(&[0], &[], asked("files.write", THING))
            .may_change(&["granted/thing"]),
        case("a file in a directory that is not there")
            .granted(WRITE)
            .given(ground)
            .does(|guest| {
                guest.writes("{dir}/granted/nowhere/file", "taken");
            })
            .gives_up("files.write", "{dir}/granted/nowhere/file", "io", "does not exist"),
    ]);
    cases
}

/// A directory that is every other moment replaced with a link.
fn swapped() -> Vec<Case> {
    const TIMES: u32 = 3000;
    let swap = |machine: &Machine| {
        let (way, spare) = (machine.path("granted/way"), machine.path("granted/spare"));
        fs::rename(&way, &spare).unwrap();
        symlink("../secret", &way).unwrap();
        fs::remove_file(&way).unwrap();
        symlink("inside", &way).unwrap();
        fs::remove_file(&way).unwrap();
        fs::rename(&spare, &way).unwrap();
    };
    let given = |machine: &Machine| {
        ground(machine);
        fs::create_dir(machine.path("granted/way")).unwrap();
        fs::write(machine.path("granted/way/file"), "granted").unwrap();
    };
    vec![
        case("directory swapped for a link while it is read")
            .granted(READ)
            .granted(&["log = [\"info\"]"])
            .given(given)
            .meanwhile(swap)
            .hides(SECRET)
            .does(|guest| {
                let say = guest.call(
                    "log.info",
                    &[Expression("(i32.load (i32.const 1032))"), Expression("(i32.load (i32.const 1036))")],
                );
                guest.repeats(TIMES, |guest| {
                    guest.tries("files.read", &[Text(b"{dir}/granted/way/file")]);
                    // The guest prints what it read if that is not the granted file, which has seven bytes.
                    guest.raw(&format!(
                        "(if (i32.and (i32.eqz (i32.load8_u (i32.const 1024))) (i32.load8_u (i32.const 1028))) \
                         (then (local.set $h (i32.const 1)) \
                           (if (i32.ne (i32.load (i32.const 1036)) (i32.const 7)) (then {say})))) "
                    ));
                });
                guest.says_if_any();
            })
            .ends(&[0], &["Nothing to do."], asked("files.read", SWAPPED).often())
            // The guest met both: the link and the directory.
            .also(failed("files.read", SWAPPED, "untrusted-path").often())
            .also(asked("log.info", "a message")),
        case("directory swapped for a link while it is written")
            .granted(WRITE)
            .granted(&["log = [\"info\"]"])
            .given(given)
            .meanwhile(swap)
            .does(|guest| {
                guest.repeats(TIMES, |guest| {
                    guest
                        .tries("files.write", &[Text(b"{dir}/granted/way/file"), Text(b"taken"), Number(0), Number(0)])
                        .raw("(if (i32.eqz (i32.load8_u (i32.const 1024))) (then (local.set $h (i32.const 1)))) ");
                });
                guest.says_if_any();
            })
            // Whatever the guest could stage lies below the granted directory. How the run ends is a matter of luck.
            .ends(&[0, 1, 5], &[], asked("files.write", SWAPPED).often())
            .also(failed("files.write", SWAPPED, "untrusted-path").often())
            .also(asked("log.info", "a message"))
            .may_change(&["granted/"]),
    ]
}
