//! Guests that use what they are granted for something else: lines for sshd that do more, names that nobody confirmed,
//! services, certificates in the wrong place, incomplete changes.

use super::{
    case::{Case, case},
    record::{Record, asked, ended},
};
use crate::support::script::Argument::{Expression, Number, Text, Texts};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;

/// A drop-in in which only `HostCertificate` lines are granted.
const DROP_IN: &[&str] =
    &["files.write = [\"{sshd}/sshd_config.d/60-case.conf\"]", "sshd.keywords = [\"HostCertificate\"]"];
const PATH: &str = "{dir}/ssh/sshd_config.d/60-case.conf";
const ISSUE: &[&str] = &["keys = [\"sshd-host-keys\"]", "authority = [\"issue host\"]"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(main_file());
    cases.extend(names());
    cases.extend(services());
    cases.extend(words());
    cases.extend(halves());
    cases
}

/// Lines that sshd would accept, and that the grant does not name.
fn lines() -> Vec<Case> {
    [
        ("root may log in", "PermitRootLogin yes\n", r#"line 1 has `permitrootlogin "yes"`, which is not granted"#),
        (
            "a line after a certificate",
            "HostCertificate {dir}/x\nPermitEmptyPasswords yes\n",
            r#"line 2 has `permitemptypasswords "yes"`, which is not granted"#,
        ),
        (
            "a line with an equals sign",
            "permitemptypasswords=yes\n",
            r#"line 1 has `permitemptypasswords "yes"`, which is not granted"#,
        ),
        (
            "a line in quotes",
            "PermitEmptyPasswords \"yes\"\n",
            r#"line 1 has `permitemptypasswords "yes"`, which is not granted"#,
        ),
        (
            "a line with blanks before it",
            " \t PermitEmptyPasswords\t yes\r\n",
            r#"line 1 has `permitemptypasswords "yes"`, which is not granted"#,
        ),
        (
            "a line for one user",
            "Match User root\n  PermitEmptyPasswords yes\n",
            r#"line 1 has `match "User" "root"`, which is not granted"#,
        ),
        (
            "a line for one address",
            "Match Address 192.0.2.1\n  PasswordAuthentication yes\n",
            r#"line 1 has `match "Address" "192.0.2.1"`, which is not granted"#,
        ),
        (
            "a command for one group",
            "Match Group root\n  ForceCommand /bin/sh\n",
            r#"line 1 has `match "Group" "root"`, which is not granted"#,
        ),
        (
            "a command that runs as root",
            "AuthorizedKeysCommand /bin/sh\nAuthorizedKeysCommandUser root\n",
            r#"line 1 has `authorizedkeyscommand "/bin/sh"`, which is not granted"#,
        ),
        (
            "keys from elsewhere",
            "AuthorizedKeysFile {dir}/evil\n",
            r#"line 1 has `authorizedkeysfile "{dir}/evil"`, which is not granted"#,
        ),
        (
            "another CA for users",
            "TrustedUserCAKeys {dir}/ca/user_ca.pub\n",
            r#"line 1 has `trustedusercakeys "{dir}/ca/user_ca.pub"`, which is not granted"#,
        ),
        ("another port", "Port 2299\n", r#"line 1 has `port "2299"`, which is not granted"#),
        (
            "another host key",
            "HostKey {dir}/client/key\n",
            r#"line 1 has `hostkey "{dir}/client/key"`, which is not granted"#,
        ),
        ("a subsystem", "Subsystem sftp /bin/sh\n", r#"line 1 has `subsystem "sftp" "/bin/sh"`, which is not granted"#),
        ("users shut out", "DenyUsers *\n", r#"line 1 has `denyusers "*"`, which is not granted"#),
        (
            "another file included",
            "Include {dir}/evil.conf\n",
            r#"line 1 has `include "{dir}/evil.conf"`, which is not granted"#,
        ),
        (
            "another file included, for one user",
            "Match User nobody\n  Include {dir}/evil.conf\n",
            r#"line 1 has `match "User" "nobody"`, which is not granted"#,
        ),
        ("a FIFO included", "Include {dir}/fifo\n", "Include names {dir}/fifo, which sshd cannot read to its end"),
        ("a device included", "Include /dev/zero\n", "Include names /dev/zero, which sshd cannot read to its end"),
        ("itself included", "Include {dir}/ssh/sshd_config.d/*.conf\n", "includes more than can be compared"),
        (
            "a certificate that is a device",
            "HostCertificate /dev/zero\n",
            "hostcertificate names /dev/zero, which sshd cannot read to its end",
        ),
        (
            "a certificate that is a FIFO",
            "HostCertificate {dir}/fifo\n",
            "hostcertificate names {dir}/fifo, which sshd cannot read to its end",
        ),
        (
            "a certificate that is the shadow file",
            "HostCertificate /etc/shadow\n",
            r#"Could not load host certificate "/etc/shadow""#,
        ),
        (
            "a certificate that is not there",
            "HostCertificate {dir}/nowhere\n",
            r#"Could not load host certificate "{dir}/nowhere""#,
        ),
        (
            "revoked keys from a FIFO",
            "RevokedKeys {dir}/fifo\n",
            r#"line 1 has `revokedkeys "{dir}/fifo"`, which is not granted"#,
        ),
        ("a line of a megabyte", "{long}\n", "sshd's configuration would grow by "),
        ("a NUL in a line", "HostCertificate /x\0\nPermitRootLogin yes\n", "line 1 has a NUL byte"),
        (
            "a program asked while matching",
            "Match exec \"touch {dir}/owned\"\n",
            r#"line 1 has `match "exec" "touch {dir}/owned"`, which is not granted"#,
        ),
        ("nothing that sshd knows", "Nonsense yes\n", r#"line 1 has `nonsense "yes"`, which is not granted"#),
    ]
    .into_iter()
    .map(|(name, text, words)| {
        case(format!("sshd: {name}"))
            .granted(DROP_IN)
            .given(|machine| {
                fs::write(machine.path("evil.conf"), "PermitEmptyPasswords yes\n").unwrap();
                fs::write(machine.path("evil"), "ssh-ed25519 AAAA\n").unwrap();
                mknodat(CWD, machine.path("fifo"), FileType::Fifo, Mode::from(0o600), 0).unwrap();
            })
            .does(move |guest| {
                let text = text.replace("{long}", &format!("Banner {}", "x".repeat(40_000)));
                guest.writes(PATH, &text);
            })
            .ends(&[5], &[words, "nothing was changed"], asked("files.write", PATH))
    })
    .collect()
}

/// Changes of the main file outside of Warded's block.
fn main_file() -> Vec<Case> {
    const MAIN: &str = "{dir}/ssh/sshd_config";
    let write = |name: &str, text: &'static str| {
        case(format!("main file: {name}"))
            .granted(&["files.write = [\"{sshd-config}\"]"])
            .does(move |guest| {
                guest.writes("{dir}/ssh/sshd_config", text);
            })
            .gives_up("files.write", MAIN, "unmarked-change", "only what stands between")
    };
    vec![
        write("overwritten", "PermitRootLogin yes\n"),
        write("emptied", ""),
        write("two blocks", "# BEGIN warded\n# END warded\n# BEGIN warded\n# END warded\n"),
        write("a block that does not end", "# BEGIN warded\nPermitRootLogin yes\n"),
        case("main file: removed")
            .granted(&["files.write = [\"{sshd-config}\"]"])
            .does(|guest| {
                guest.does("files.remove", &[Text(b"{dir}/ssh/sshd_config")]);
            })
            .gives_up("files.remove", MAIN, "unmarked-change", "only what stands between"),
        case("main file: by its other name")
            .granted(&["files.write = [\"{dir}/ssh/*\"]"])
            .does(|guest| {
                guest.writes("{dir}/ssh/sshd_config", "PermitRootLogin yes\n");
            })
            .gives_up("files.write", MAIN, "unmarked-change", "only what stands between"),
    ]
}

/// Services that are not granted, and names that are no service.
fn services() -> Vec<Case> {
    let tells = |function: &'static str, name: &str, grant: &str, service: &'static str| {
        case(format!("{} of {name}", function.trim_start_matches("services.")))
            .granted(&[grant])
            .does(move |guest| {
                guest.does(function, &[Text(service.as_bytes())]);
            })
            .ends_denied(function, service, "no grant covers it")
    };
    let reload = |name, service| tells("services.reload", name, "services.ssh = [\"reload\"]", service);
    let restart = |name, grant, service| tells("services.restart", name, grant, service);
    vec![
        restart("sshd, where its reload is granted", "services.ssh = [\"reload\"]", "ssh"),
        restart("a service that may be reloaded", "services.app = [\"reload\"]", "app"),
        restart("another service than the granted one", "services.app = [\"restart\"]", "cron"),
        reload("a command", "ssh; reboot"),
        reload("an option", "--force"),
        reload("a path", "../../etc/passwd"),
        reload("another service", "cron"),
        reload("a name with a newline", "ssh\ncron"),
        reload("a name with a newline at its end", "ssh\n"),
        reload("an instance of a template", "ssh@x.service"),
        reload("a template", "ssh@.service"),
        reload("a unit", "ssh.service"),
        reload("a unit and an option", "ssh.service -t"),
        reload("another grant", "ssh = [\"reload\"]\nservices.cron"),
        reload("a name with an escape code", "ssh\x1b]0;owned\x07"),
    ]
}

/// Names that nobody confirmed.
fn names() -> Vec<Case> {
    let issue = |name: &str, principal: &'static [u8]| {
        case(format!("certificate for {name}")).granted(ISSUE).told(&["--set", "principal=localhost"]).does(
            move |guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                let names = Texts(&[b"localhost", principal]);
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), names]);
            },
        )
    };
    let effective = |name: &str, keyword: &'static [u8]| {
        case(format!("sshd asked for {name}"))
            .granted(&["sshd.effective = true"])
            .does(move |guest| {
                guest.does("sshd.effective", &[Text(keyword), Number(0), Number(0)]);
            })
            .gives_up("sshd.effective", std::str::from_utf8(keyword).unwrap(), "invalid-keyword", "letters and digits")
    };
    vec![
        issue("another machine", b"bank.example.org").ends_denied(
            "authority.issue",
            "host certificate for localhost, bank.example.org",
            "not a name that the operator",
        ),
        issue("a name in capitals of another machine", b"BANK").ends_denied(
            "authority.issue",
            "host certificate for localhost, bank",
            "not a name",
        ),
        issue("every name", b"*").gives_up("authority.issue", "localhost *", "invalid-principal", "wildcards"),
        issue("no name", b"").gives_up("authority.issue", "localhost ", "invalid-principal", "empty"),
        issue("a name with a newline", b"a\nb").gives_up(
            "authority.issue",
            "localhost a\nb",
            "invalid-principal",
            "control",
        ),
        issue("a name with an escape code", b"\x1b[2J").gives_up(
            "authority.issue",
            "localhost \x1b[2J",
            "invalid-principal",
            "control",
        ),
        issue("two names in one", b"localhost,bank").gives_up(
            "authority.issue",
            "localhost localhost,bank",
            "invalid-principal",
            "commas",
        ),
        case("certificate for a person")
            .granted(ISSUE)
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                let names = Texts(&[b"localhost"]);
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(1), names]);
            })
            .ends_denied("authority.issue", "user certificate for localhost", "no grant covers it"),
        case("certificate beside another key")
            .granted(&[ISSUE, &["certificates = [\"beside-key\"]"]].concat())
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
                guest.takes(4);
                guest.does("authority.write", &[Text(b"{dir}/client/key-cert.pub"), Expression("(local.get $h)")]);
            })
            .ends_denied("authority.write", "{dir}/client/key-cert.pub", "no grant covers it"),
        effective("an option", b"-f/etc/shadow"),
        effective("two keywords", b"port\nhostkey"),
        effective("nothing", b""),
        case("sshd asked about two users")
            .granted(&["sshd.effective = true"])
            .does(|guest| {
                // One setting: its name and its value, each as an address and a length.
                let (name, value) = (guest.text(b"user"), guest.text(b"root,addr=192.0.2.1"));
                guest.raw(&format!(
                    "(i32.store (i32.const 2048) (i32.const {})) (i32.store (i32.const 2052) (i32.const {})) \
                     (i32.store (i32.const 2056) (i32.const {})) (i32.store (i32.const 2060) (i32.const {})) ",
                    name.0, name.1, value.0, value.1
                ));
                guest.does("sshd.effective", &[Text(b"port"), Number(2048), Number(1)]);
            })
            .gives_up("sshd.effective", "port", "invalid-keyword", "plain value"),
    ]
}

/// Words that would have an effect on a terminal or in a log.
fn words() -> Vec<Case> {
    const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nerror: forged\u{9b}31m\u{202e}\u{200b}";
    vec![
        case("log with escape codes")
            .granted(&["log = [\"info\", \"warn\"]"])
            .does(|guest| {
                guest.says("info", ESCAPES).says("warn", ESCAPES);
            })
            .ends(&[0], &["\\u{1b}[2J"], asked("log.info", "a message"))
            .also(asked("log.warn", "a message"))
            .hides("\nerror: forged"),
        case("error with escape codes")
            .does(|guest| {
                guest.fails(ESCAPES.as_bytes(), ESCAPES.as_bytes(), ESCAPES.as_bytes());
            })
            .ends(&[1], &["go gave up (\\u{1b}", "next:  \\u{1b}"], ended("go gave up (\\u{1b}"))
            .hides("\nerror: forged"),
        case("fact with escape codes")
            .does(|guest| {
                guest.tries("machine.fact", &[Text(ESCAPES.as_bytes())]);
            })
            .ends_denied("machine.fact", ESCAPES, "\\u{1b}")
            .hides("\nerror: forged"),
        case("file with escape codes")
            .granted(&["files.write = [\"{dir}/ssh/motd\"]"])
            .does(|guest| {
                guest.writes("{dir}/ssh/motd", ESCAPES);
            })
            .ends(&[0], &["\\u{1b}[2J"], asked("files.write", "{dir}/ssh/motd"))
            .may_change(&["ssh/motd"]),
        case("name with text that reads the other way")
            .granted(&["files.write = [\"{dir}/ssh/*\"]"])
            .does(|guest| {
                guest.writes("{dir}/ssh/\u{202e}fnoc.dhss", "x");
            })
            .gives_up("files.write", "{dir}/ssh/\u{202e}fnoc.dhss", "invalid-path", "\\u{202e}"),
        case("setting with a newline").does(|_| {}).told(&["--set", "principal=a\nb"]).ends(
            &[2],
            &["error: "],
            Record::of("started").never(),
        ),
        case("a fact that is another line of a policy")
            .does(|guest| {
                guest.tries("machine.fact", &[Text(b"init\"]\nfiles.write = [\"/etc/shadow")]);
            })
            .ends_denied("machine.fact", "init\"]\nfiles.write = [\"/etc/shadow", "grant it by hand"),
    ]
}

/// Guests that do half of what is needed, and then something else.
fn halves() -> Vec<Case> {
    let begun = |name: &str| case(name).granted(DROP_IN);
    vec![
        begun("staged, then an error")
            .does(|guest| {
                guest.writes(PATH, "# mine\n").fails(b"half", b"enough", b"nothing");
            })
            .ends(&[1], &["go gave up (half): enough", "nothing was changed"], ended("go gave up (half): enough"))
            .also(asked("files.write", PATH)),
        begun("staged, then a trap")
            .does(|guest| {
                guest.writes(PATH, "# mine\n").raw("(unreachable)");
            })
            .ends_stopped("it panicked")
            .also(asked("files.write", PATH)),
        begun("staged, then a denial")
            .does(|guest| {
                guest.writes(PATH, "# mine\n").writes("/etc/passwd", "");
            })
            .ends_denied("files.write", "/etc/passwd", "no grant covers it")
            .also(asked("files.write", PATH)),
        begun("lines for a certificate that is never made")
            .does(|guest| {
                guest.writes(PATH, "HostCertificate {dir}/ssh/ssh_host_ed25519_key-cert.pub\n");
            })
            .ends(
                &[1, 5],
                &["Could not load host certificate", "ssh_host_ed25519_key-cert.pub"],
                asked("files.write", PATH),
            ),
        case("certificate asked for, and not written")
            .granted(ISSUE)
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
            })
            .ends(&[0], &["Nothing to do."], asked("authority.issue", "host certificate for localhost")),
    ]
}
