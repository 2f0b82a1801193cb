//! Guests that do what they are granted, to another end: lines for sshd that do more, names that
//! nobody confirmed, services, certificates in the wrong place, changes by halves.

use super::case::{Case, case};
use crate::support::script::Argument::{Expression, Number, Text, Texts};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;

/// A drop-in, of which only host certificates may come.
const DROP_IN: &[&str] =
    &["files.write = [\"{sshd}/sshd_config.d/60-case.conf\"]", "sshd.keywords = [\"HostCertificate\"]"];
const PATH: &str = "{dir}/ssh/sshd_config.d/60-case.conf";
const ISSUE: &[&str] = &["keys = [\"sshd-host-keys\"]", "authority = [\"issue host\"]"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = lines();
    cases.extend(main_file());
    cases.extend(names());
    cases.extend(words());
    cases.extend(halves());
    cases
}

/// Lines that sshd would take, and that the grant does not name.
fn lines() -> Vec<Case> {
    [
        ("root may log in", "PermitRootLogin yes\n"),
        ("a line after a certificate", "HostCertificate {dir}/x\nPermitEmptyPasswords yes\n"),
        ("a line with an equals sign", "permitemptypasswords=yes\n"),
        ("a line in quotes", "PermitEmptyPasswords \"yes\"\n"),
        ("a line with blanks before it", " \t PermitEmptyPasswords\t yes\r\n"),
        ("a line for one user", "Match User root\n  PermitEmptyPasswords yes\n"),
        ("a line for one address", "Match Address 192.0.2.1\n  PasswordAuthentication yes\n"),
        ("a command for one group", "Match Group root\n  ForceCommand /bin/sh\n"),
        ("a command that runs as root", "AuthorizedKeysCommand /bin/sh\nAuthorizedKeysCommandUser root\n"),
        ("keys from elsewhere", "AuthorizedKeysFile {dir}/evil\n"),
        ("another CA for users", "TrustedUserCAKeys {dir}/ca/user_ca.pub\n"),
        ("another port", "Port 2299\n"),
        ("another host key", "HostKey {dir}/client/key\n"),
        ("a subsystem", "Subsystem sftp /bin/sh\n"),
        ("users shut out", "DenyUsers *\n"),
        ("another file included", "Include {dir}/evil.conf\n"),
        ("another file included, for one user", "Match User nobody\n  Include {dir}/evil.conf\n"),
        ("a FIFO included", "Include {dir}/fifo\n"),
        ("a device included", "Include /dev/zero\n"),
        ("itself included", "Include {dir}/ssh/sshd_config.d/*.conf\n"),
        ("a certificate that is a device", "HostCertificate /dev/zero\n"),
        ("a certificate that is a FIFO", "HostCertificate {dir}/fifo\n"),
        ("a certificate that is the shadow file", "HostCertificate /etc/shadow\n"),
        ("a certificate that is not there", "HostCertificate {dir}/nowhere\n"),
        ("revoked keys from a FIFO", "RevokedKeys {dir}/fifo\n"),
        ("a line of a megabyte", "{long}\n"),
        ("a NUL in a line", "HostCertificate /x\0\nPermitRootLogin yes\n"),
        ("a program asked while matching", "Match exec \"touch {dir}/owned\"\n"),
        ("nothing that sshd knows", "Nonsense yes\n"),
    ]
    .into_iter()
    .map(|(name, text)| {
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
            .ends(&[1, 5], &[])
            .on_record("ended", "")
    })
    .collect()
}

/// The main file, outside our block.
fn main_file() -> Vec<Case> {
    let write = |name: &str, text: &'static str| {
        case(format!("main file: {name}"))
            .granted(&["files.write = [\"{sshd-config}\"]"])
            .does(move |guest| {
                guest.writes("{dir}/ssh/sshd_config", text);
            })
            .gives_up("unmarked-change", "only what stands between")
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
            .gives_up("unmarked-change", "only what stands between"),
        case("main file: by its other name")
            .granted(&["files.write = [\"{dir}/ssh/*\"]"])
            .does(|guest| {
                guest.writes("{dir}/ssh/sshd_config", "PermitRootLogin yes\n");
            })
            .gives_up("unmarked-change", "only what stands between"),
    ]
}

/// Names that nobody confirmed, and services that nobody granted.
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
    let reload = |name: &str, service: &'static [u8]| {
        case(format!("reload of {name}"))
            .granted(&["services.ssh = [\"reload\"]"])
            .does(move |guest| {
                guest.does("services.reload", &[Text(service)]);
            })
            .ends_denied("services.reload", "")
    };
    let effective = |name: &str, keyword: &'static [u8]| {
        case(format!("sshd asked for {name}"))
            .granted(&["sshd.effective = true"])
            .does(move |guest| {
                guest.does("sshd.effective", &[Text(keyword), Number(0), Number(0)]);
            })
            .gives_up("invalid-keyword", "letters and digits")
    };
    vec![
        issue("another machine", b"bank.example.org").ends_denied("authority.issue", "not a name that the operator"),
        issue("a name in capitals of another machine", b"BANK").ends_denied("authority.issue", "not a name"),
        issue("every name", b"*").gives_up("invalid-principal", "wildcards"),
        issue("no name", b"").gives_up("invalid-principal", "empty"),
        issue("a name with a newline", b"a\nb").gives_up("invalid-principal", "control"),
        issue("a name with an escape code", b"\x1b[2J").gives_up("invalid-principal", "control"),
        issue("two names in one", b"localhost,bank").gives_up("invalid-principal", "commas"),
        case("certificate for a person")
            .granted(ISSUE)
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                let names = Texts(&[b"localhost"]);
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(1), names]);
            })
            .ends_denied("authority.issue", "no grant covers it"),
        case("certificate beside another key")
            .granted(&[ISSUE, &["certificates = [\"beside-key\"]"]].concat())
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
                guest.takes(4);
                guest.does("authority.write", &[Text(b"{dir}/client/key-cert.pub"), Expression("(local.get $h)")]);
            })
            .ends_denied("authority.write", "no grant covers it"),
        reload("a command", b"ssh; reboot"),
        reload("an option", b"--force"),
        reload("a path", b"../../etc/passwd"),
        reload("another service", b"cron"),
        reload("a name with a newline", b"ssh\ncron"),
        reload("a name with an escape code", b"ssh\x1b]0;owned\x07"),
        effective("an option", b"-f/etc/shadow"),
        effective("two keywords", b"port\nhostkey"),
        effective("nothing", b""),
        case("sshd asked about two users")
            .granted(&["sshd.effective = true"])
            .does(|guest| {
                // One setting: name and value, each an address and a length.
                let (name, value) = (guest.text(b"user"), guest.text(b"root,addr=192.0.2.1"));
                guest.raw(&format!(
                    "(i32.store (i32.const 2048) (i32.const {})) (i32.store (i32.const 2052) (i32.const {})) \
                     (i32.store (i32.const 2056) (i32.const {})) (i32.store (i32.const 2060) (i32.const {})) ",
                    name.0, name.1, value.0, value.1
                ));
                guest.does("sshd.effective", &[Text(b"port"), Number(2048), Number(1)]);
            })
            .gives_up("invalid-keyword", "plain value"),
    ]
}

/// Words that would do something to a terminal, or to a log.
fn words() -> Vec<Case> {
    const ESCAPES: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\nerror: forged\u{9b}31m\u{202e}\u{200b}";
    vec![
        case("log with escape codes")
            .granted(&["log = [\"info\", \"warn\"]"])
            .does(|guest| {
                guest.says("info", ESCAPES).says("warn", ESCAPES);
            })
            .ends(&[0], &["\\u{1b}[2J"])
            .hides("\nerror: forged"),
        case("error with escape codes")
            .does(|guest| {
                guest.fails(ESCAPES.as_bytes(), ESCAPES.as_bytes(), ESCAPES.as_bytes());
            })
            .ends(&[1], &["go gave up (\\u{1b}", "next:  \\u{1b}"])
            .hides("\nerror: forged")
            .on_record("ended", "gave up"),
        case("fact with escape codes")
            .does(|guest| {
                guest.tries("machine.fact", &[Text(ESCAPES.as_bytes())]);
            })
            .ends_denied("machine.fact", "\\u{1b}")
            .hides("\nerror: forged"),
        case("file with escape codes")
            .granted(&["files.write = [\"{dir}/ssh/motd\"]"])
            .does(|guest| {
                guest.writes("{dir}/ssh/motd", ESCAPES);
            })
            .ends(&[0], &["\\u{1b}[2J"])
            .may_change(&["ssh/motd"]),
        case("name with text that reads the other way")
            .granted(&["files.write = [\"{dir}/ssh/*\"]"])
            .does(|guest| {
                guest.writes("{dir}/ssh/\u{202e}fnoc.dhss", "x");
            })
            .gives_up("invalid-path", "\\u{202e}"),
        case("setting with a newline").does(|_| {}).told(&["--set", "principal=a\nb"]).ends(&[2], &["error: "]),
    ]
}

/// Half of what is needed, then something else.
fn halves() -> Vec<Case> {
    let begun = |name: &str| case(name).granted(DROP_IN);
    vec![
        begun("staged, then an error")
            .does(|guest| {
                guest.writes(PATH, "# mine\n").fails(b"half", b"enough", b"nothing");
            })
            .ends(&[1], &["go gave up (half): enough", "nothing was changed"]),
        begun("staged, then a trap")
            .does(|guest| {
                guest.writes(PATH, "# mine\n").raw("(unreachable)");
            })
            .ends_stopped("it panicked"),
        begun("staged, then a denial")
            .does(|guest| {
                guest.writes(PATH, "# mine\n").writes("/etc/passwd", "");
            })
            .ends_denied("files.write", "no grant covers it"),
        begun("lines for a certificate that is never made")
            .does(|guest| {
                guest.writes(PATH, "HostCertificate {dir}/ssh/ssh_host_ed25519_key-cert.pub\n");
            })
            .ends(&[1, 5], &["ssh_host_ed25519_key-cert.pub"]),
        case("certificate asked for, and not written")
            .granted(ISSUE)
            .told(&["--set", "principal=localhost"])
            .does(|guest| {
                guest.does("keys.host-keys", &[]).takes_first();
                guest.does("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
            })
            .ends(&[0], &["Nothing to do."]),
    ]
}
