//! Guests that may write the list of the CA's user keys, or configure which file that is, and try to add another key.

use super::{
    case::{Case, case},
    record::asked,
};
use crate::support::script::Argument::Text;
use std::{fs, os::unix::fs::symlink};

const FILE: &str = "{dir}/ssh/warded-user-ca.pub";
const GRANT: &str = "files.write = [\"{dir}/ssh/warded-user-ca.pub\"]";
const FOREIGN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";
const CONFIGURES: [&str; 4] = [
    "authority = [\"roots user\"]",
    "sshd.keywords = [\"TrustedUserCAKeys\"]",
    "services.ssh = [\"reload\"]",
    "files.write = [\"{dir}/ssh/sshd_config.d/60-own.conf\", \"{dir}/ssh/own.pub\"]",
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, contents) in [
        ("a key of its own in the list of the CA's", format!("{FOREIGN}\n")),
        ("no key in the list of the CA's", String::new()),
        ("a key with options in the list of the CA's", format!("cert-authority {FOREIGN}\n")),
    ] {
        cases.push(
            case(name)
                .granted(&[GRANT, "authority = [\"roots user\"]"])
                .does(move |guest| {
                    guest.writes(FILE, &contents);
                })
                .gives_up("files.write", FILE, "foreign-key", "the CA's user keys, all of them, and nothing else"),
        );
    }
    // Both count: the name in the path, and the name that it leads to.
    for (name, path, (link, target)) in [
        ("a key of its own in the list by a link's name", "{dir}/ssh/own.pub", ("own.pub", "warded-user-ca.pub")),
        ("a key of its own in a file that the list's name leads to", FILE, ("warded-user-ca.pub", "own.pub")),
    ] {
        cases.push(
            case(name)
                .granted(&[
                    "files.write = [\"{dir}/ssh/own.pub\", \"{dir}/ssh/warded-user-ca.pub\"]",
                    "authority = [\"roots user\"]",
                ])
                .given(move |machine| {
                    fs::write(machine.path("ssh").join(target), "").unwrap();
                    symlink(target, machine.path("ssh").join(link)).unwrap();
                })
                .does(move |guest| {
                    guest.writes(path, &format!("{FOREIGN}\n"));
                })
                .gives_up("files.write", path, "foreign-key", "the CA's user keys, all of them, and nothing else"),
        );
    }
    for (name, list) in [
        ("a key of its own in a list by another name", "{dir}/ssh/own.pub"),
        ("a list that is there and has another key", "{dir}/client/key.pub"),
    ] {
        cases.push(
            case(name)
                .granted(&CONFIGURES)
                .does(move |guest| {
                    guest.writes("{dir}/ssh/own.pub", &format!("{FOREIGN}\n"));
                    guest.writes("{dir}/ssh/sshd_config.d/60-own.conf", &format!("TrustedUserCAKeys {list}\n"));
                    guest.does("services.reload", &[Text(b"ssh")]);
                })
                .ends(
                    &[5],
                    &[
                        "sshd would trust a user CA that this run did not get from the configured CA",
                        "nothing was changed",
                    ],
                    asked("files.write", "{dir}/ssh/own.pub"),
                ),
        );
    }
    cases.push(
        case("a list that has no key yet")
            .granted(&CONFIGURES)
            .does(move |guest| {
                guest.writes("{dir}/ssh/own.pub", "# later\n");
                guest.writes("{dir}/ssh/sshd_config.d/60-own.conf", "TrustedUserCAKeys {dir}/ssh/own.pub\n");
                guest.does("services.reload", &[Text(b"ssh")]);
            })
            .ends(
                &[5],
                &["sshd would take the keys of user CAs from ", "which has none", "nothing was changed"],
                asked("files.write", "{dir}/ssh/own.pub"),
            ),
    );
    cases
}
