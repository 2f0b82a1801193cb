//! Guests that may write ssh's known_hosts, and try to write more than the operator named.

use super::case::{Case, case};
use crate::support::Machine;
use std::fs;

const FILE: &str = "{dir}/client/known_hosts";
const GRANT: &str = "files.write = [\"{dir}/client/known_hosts\"]";
const PIN: &str = "web9.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L\n";
const FOREIGN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";

fn known(machine: &Machine) {
    fs::write(machine.path("client/known_hosts"), PIN).unwrap();
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, contents) in [
        ("a host key of its own in known_hosts", format!("{PIN}web1.lab.test {FOREIGN}\n")),
        ("no more lines in known_hosts", String::new()),
        ("another pin in known_hosts", PIN.replace("web9", "web8")),
        (
            "a CA of its own in known_hosts",
            format!("{PIN}@cert-authority *.lab.test {FOREIGN} warded trust-host-ca {{dir}}/ca\n"),
        ),
        ("a revoked key in known_hosts", format!("{PIN}@revoked * {FOREIGN}\n")),
        ("a comment in known_hosts", format!("# hello\n{PIN}")),
        ("a pin twice in known_hosts", format!("{PIN}{PIN}")),
    ] {
        cases.push(
            case(name)
                .granted(&[GRANT, "authority = [\"roots host\"]"])
                .given(known)
                .does(move |guest| {
                    guest.writes(FILE, &contents);
                })
                .gives_up("files.write", FILE, "foreign-line", "known_hosts"),
        );
    }
    // Both count: the name in the path, and the name that it leads to.
    for (name, path, (link, target)) in [
        ("a host key of its own in known_hosts by a link's name", "{dir}/client/pins", ("pins", "known_hosts")),
        ("a host key of its own in a file that known_hosts leads to", FILE, ("known_hosts", "pins")),
    ] {
        cases.push(
            case(name)
                .granted(&[
                    "files.write = [\"{dir}/client/pins\", \"{dir}/client/known_hosts\"]",
                    "authority = [\"roots host\"]",
                ])
                .given(move |machine| {
                    let at = |name: &str| machine.path("client").join(name);
                    let _absent = fs::remove_file(at("known_hosts"));
                    fs::write(at(target), PIN).unwrap();
                    std::os::unix::fs::symlink(target, at(link)).unwrap();
                })
                .does(move |guest| {
                    guest.writes(path, &format!("{PIN}web1.lab.test {FOREIGN}\n"));
                })
                .gives_up("files.write", path, "foreign-line", "line 2"),
        );
    }
    cases.push(
        case("the CA's own key in known_hosts, for names that nobody gave")
            .granted(&[GRANT, "authority = [\"roots host\"]"])
            .given(known)
            .made_as(|machine| {
                let key = machine.authority();
                let key: Vec<&str> = key.split(' ').take(2).collect();
                let mut script =
                    crate::support::script::Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
                script.writes(
                    FILE,
                    &format!("{PIN}@cert-authority * {} warded trust-host-ca {{dir}}/ca\n", key.join(" ")),
                );
                script.component()
            })
            .gives_up("files.write", FILE, "foreign-line", "line 2"),
    );
    cases.push(
        case("no known_hosts any more")
            .granted(&[GRANT])
            .given(known)
            .does(|guest| {
                guest.does("files.remove", &[crate::support::script::Argument::Text(FILE.as_bytes())]);
            })
            .gives_up("files.remove", FILE, "foreign-line", "it is not removed"),
    );
    cases.push(
        case("ssh's configuration for an option as a host")
            .granted(&["ssh.effective = true"])
            .does(|guest| {
                use crate::support::script::Argument::Text;
                guest.does("ssh.effective", &[Text(b"user"), Text(b"-oProxyCommand=touch {dir}/taken")]);
            })
            .gives_up("ssh.effective", "user", "invalid-host", "is no name of a host"),
    );
    cases
}
