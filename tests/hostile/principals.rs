//! Guests that may write which principals log in as a user, and want more than the operator named.

use super::{
    case::{Case, case},
    record::asked,
};
use crate::support::script::Argument::Text;
use std::{
    fs,
    os::unix::fs::{chown, symlink},
};

const FILE: &str = "{dir}/ssh/warded-principals/root";
const GRANT: &str = "files.write = [{ path = \"{dir}/ssh/warded-principals/*\", parents = true }]";
const SETTING: &str = "settings.principals = { type = \"principals\", many = true, help = \"who\" }";
const OWN: &str = "# Managed by Warded: certificates for these principals log in as root.\nadmins\n";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let unnamed = "the operator named no principals, so it stays as it is";
    cases.push(
        case("a principal of its own for root, where the operator named none")
            .granted(&[GRANT])
            .does(|guest| {
                guest.writes(FILE, "eve\n");
            })
            .gives_up("files.write", FILE, "foreign-principal", unnamed),
    );
    cases.push(
        case("no principals for root any more")
            .granted(&[GRANT])
            .given(|machine| {
                fs::create_dir(machine.path("ssh/warded-principals")).unwrap();
                fs::write(machine.path("ssh/warded-principals/root"), OWN).unwrap();
            })
            .does(|guest| {
                guest.does("files.remove", &[Text(FILE.as_bytes())]);
            })
            .gives_up("files.remove", FILE, "foreign-principal", unnamed),
    );
    let other = "it holds the principals that the operator named for this user, and nothing else";
    for (name, contents) in [
        ("one principal more than the operator named", OWN.to_owned() + "eve\n"),
        ("principals with an option that the operator did not name", OWN.replace("admins", "no-pty admins")),
        ("none of the principals that the operator named", String::new()),
    ] {
        cases.push(
            case(name)
                .granted(&[GRANT, SETTING])
                .told(&["--set", "principals=root=admins"])
                .does(move |guest| {
                    guest.writes(FILE, &contents);
                })
                .gives_up("files.write", FILE, "foreign-principal", other),
        );
    }
    cases.push(
        case("principals for a user whom the operator did not name")
            .granted(&[GRANT, SETTING])
            .told(&["--set", "principals=ann=admins"])
            .does(|guest| {
                guest.writes(FILE, "admins\n");
            })
            .gives_up("files.write", FILE, "foreign-principal", other),
    );
    cases.push(
        case("no file for a user whom the operator named")
            .granted(&[GRANT, SETTING])
            .told(&["--set", "principals=root=admins"])
            .given(|machine| {
                fs::create_dir(machine.path("ssh/warded-principals")).unwrap();
                fs::write(machine.path("ssh/warded-principals/root"), OWN).unwrap();
            })
            .does(|guest| {
                guest.does("files.remove", &[Text(FILE.as_bytes())]);
            })
            .gives_up("files.remove", FILE, "foreign-principal", "the operator named principals for this user"),
    );
    cases.push(
        case("a principal of its own by the name of another directory")
            .granted(&["files.write = [\"{dir}/ssh/people/root\"]"])
            .given(|machine| {
                fs::create_dir(machine.path("ssh/warded-principals")).unwrap();
                symlink("warded-principals", machine.path("ssh/people")).unwrap();
            })
            .does(|guest| {
                guest.writes("{dir}/ssh/people/root", "eve\n");
            })
            .gives_up("files.write", "{dir}/ssh/people/root", "foreign-principal", unnamed),
    );
    cases.push(
        case("a line that takes principals from files of its own")
            .granted(&[
                "sshd.keywords = [\"AuthorizedPrincipalsFile\"]",
                "services.ssh = [\"reload\"]",
                "files.write = [\"{dir}/ssh/sshd_config.d/60-own.conf\", \"{dir}/ssh/own/*\"]",
            ])
            .does(|guest| {
                guest.writes("{dir}/ssh/sshd_config.d/60-own.conf", "AuthorizedPrincipalsFile {dir}/ssh/own/%u\n");
                guest.does("services.reload", &[Text(b"ssh")]);
            })
            .ends(
                &[5],
                &["sshd would take principals from ", "a procedure may name only Warded's own", "nothing was changed"],
                asked("files.write", "{dir}/ssh/sshd_config.d/60-own.conf"),
            ),
    );
    cases.push(
        case("a line that takes principals from a file that is there, and that others can change")
            .granted(&[
                "sshd.keywords = [\"AuthorizedPrincipalsFile\"]",
                "services.ssh = [\"reload\"]",
                "files.write = [\"{dir}/ssh/sshd_config.d/60-own.conf\"]",
            ])
            .given(|machine| {
                fs::create_dir(machine.path("ssh/warded-principals")).unwrap();
                fs::write(machine.path("ssh/warded-principals/root"), "eve\n").unwrap();
                chown(machine.path("ssh/warded-principals/root"), Some(1500), None).unwrap();
            })
            .does(|guest| {
                guest.writes(
                    "{dir}/ssh/sshd_config.d/60-own.conf",
                    "AuthorizedPrincipalsFile {dir}/ssh/warded-principals/%u\n",
                );
                guest.does("services.reload", &[Text(b"ssh")]);
            })
            .ends(
                &[5],
                &["warded-principals/root names principals, and others can change it", "nothing was changed"],
                asked("files.write", "{dir}/ssh/sshd_config.d/60-own.conf"),
            ),
    );
    cases
}
