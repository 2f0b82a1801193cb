//! Guests that may write which principals can log in as a user, and try to write more than the operator named.

use super::{
    case::{Case, case},
    record::asked,
};
use crate::support::{
    Machine, Run,
    script::{Argument::Text, Script},
};
use std::{
    fs,
    os::unix::fs::{chown, symlink},
};

const FILE: &str = "{dir}/ssh/warded-principals/root";
const GRANT: &str = "files.write = [{ path = \"{dir}/ssh/warded-principals/*\", parents = true }]";
const SETTING: &str = "settings.principals = { type = \"principals\", many = true, help = \"who\" }";
/// The grants of `trust-user-ca`, without the CA's keys.
const CONFIGURES: [&str; 3] = [
    "sshd.keywords = [\"TrustedUserCAKeys\", \"AuthorizedPrincipalsFile\"]",
    "services.ssh = [\"reload\"]",
    "files.write = [\"{dir}/ssh/sshd_config.d/*.conf\"]",
];
const DROP_IN: &str = "{dir}/ssh/sshd_config.d/50-warded-trust-user-ca.conf";
const NEW: &str = "{dir}/ssh/sshd_config.d/60-own.conf";
const LINE: &str = "AuthorizedPrincipalsFile {dir}/ssh/warded-principals/%u\n";
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
    let other = "it may hold only the principals that the operator named for this user";
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
    cases.extend(lines());
    cases
}

/// Makes sshd trust the CA.
fn trusts<const N: usize>(machine: &Machine, more: [&str; N]) {
    let mut command = machine.warded_command(["apply", "trust-user-ca", "--yes"]);
    Run::of(command.args(more)).ends(0);
}

/// Lines of sshd's configuration, and their effect.
fn lines() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.push(
        case("a line that takes principals from files of its own")
            .granted(&CONFIGURES)
            .does(|guest| configures(guest, NEW, "AuthorizedPrincipalsFile {dir}/ssh/own/%u\n"))
            .ends(
                &[5],
                &["sshd would take principals from ", "a procedure may name only Warded's own", "nothing was changed"],
                asked("files.write", NEW),
            ),
    );
    let mallorys = "AuthorizedPrincipalsFile {dir}/mallory/warded-principals/%u\n";
    for (name, there) in [
        ("a line that takes principals from another directory by the name of ours", true),
        ("a line that takes principals from another directory by the name of ours, still to be made", false),
    ] {
        cases.push(
            case(name)
                .granted(&CONFIGURES)
                .granted(&[SETTING])
                .told(&["--set", "principals=root=admins"])
                .given(move |machine| {
                    let home = machine.path("mallory");
                    fs::create_dir(&home).unwrap();
                    if there {
                        fs::create_dir(home.join("warded-principals")).unwrap();
                        chown(home.join("warded-principals"), Some(1500), None).unwrap();
                    }
                    chown(home, Some(1500), None).unwrap();
                })
                .does(move |guest| configures(guest, NEW, mallorys))
                .ends(
                    &[5],
                    &["mallory/warded-principals/%u", "a procedure may name only Warded's own", "nothing was changed"],
                    asked("files.write", NEW),
                ),
        );
    }
    for (name, foreign, says) in [
        (
            "a line that takes principals from a file that is there, and that others can change",
            "ssh/warded-principals/root",
            "warded-principals/root names principals, and others can change it",
        ),
        (
            "a line that takes principals from our directory, which belongs to another user",
            "ssh/warded-principals",
            "warded-principals is for principals, and others can change it",
        ),
    ] {
        cases.push(
            case(name)
                .granted(&CONFIGURES)
                .granted(&[SETTING])
                .told(&["--set", "principals=root=admins"])
                .given(move |machine| {
                    fs::create_dir(machine.path("ssh/warded-principals")).unwrap();
                    fs::write(machine.path("ssh/warded-principals/root"), "eve\n").unwrap();
                    chown(machine.path(foreign), Some(1500), None).unwrap();
                })
                .does(|guest| configures(guest, NEW, LINE))
                .ends(&[5], &[says, "nothing was changed"], asked("files.write", NEW)),
        );
    }
    cases.extend(unasked());
    cases
}

fn configures(guest: &mut Script, path: &str, lines: &str) {
    guest.writes(path, lines);
    guest.does("services.reload", &[Text(b"ssh")]);
}

/// Changes of a mapping that the operator did not ask for, by guests that do not ask for the CA's keys.
fn unasked() -> Vec<Case> {
    let keys = "TrustedUserCAKeys {dir}/ssh/warded-user-ca.pub\n";
    let mapped: fn(&Machine) = |machine| trusts(machine, ["--set", "principals=root=admins"]);
    let unmapped: fn(&Machine) = |machine| trusts(machine, ["--accept-risk=root-by-certificate"]);
    let (given, admit, lose) =
        (["--set", "principals=root=admins"], "--accept-risk=admit-logins", "--accept-risk=lose-ssh");
    let opens = "sshd would no longer take principals from ";
    let names = "the operator named no principals, so AuthorizedPrincipalsFile stays as it is";
    let by_root = "a certificate with the principal root would log in as root";
    [
        ("the line of principals taken out, roots not asked for", mapped, &[][..], DROP_IN, keys, [opens, names]),
        (
            "the line of principals taken out, whoever may be admitted",
            mapped,
            &[admit, lose],
            DROP_IN,
            keys,
            [by_root; 2],
        ),
        (
            "the line of principals taken out, where the operator named some",
            mapped,
            &given,
            DROP_IN,
            keys,
            [opens, "the operator named principals"],
        ),
        (
            "a line before that of principals, which undoes it",
            mapped,
            &[],
            "{dir}/ssh/sshd_config.d/10-own.conf",
            "AuthorizedPrincipalsFile none\n",
            [opens, names],
        ),
        ("principals that nobody asked for", unmapped, &[], NEW, LINE, ["sshd would take principals from ", names]),
        (
            "principals that nobody asked for, whoever may be admitted",
            unmapped,
            &[admit],
            NEW,
            LINE,
            ["a way to log in would be gone", lose],
        ),
    ]
    .map(|(name, prepare, told, path, lines, says)| {
        case(name)
            .granted(&CONFIGURES)
            .granted(&[SETTING])
            .told(told)
            .given(prepare)
            .does(move |guest| configures(guest, path, lines))
            .ends(&[5], &[says[0], says[1], "nothing was changed"], asked("files.write", path).often())
    })
    .into()
}
