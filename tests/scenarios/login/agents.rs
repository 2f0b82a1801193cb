//! Agents that fail: each fault has its own message, and the key is not lost.

use super::Person;
use crate::support::{
    Run,
    agent::{Agent, Manner, StandIn, string},
    missing,
};
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, fs::symlink, net::UnixListener},
    path::Path,
};

#[test]
fn an_agent_that_does_not_take_the_certificate_costs_no_key() {
    let Some(person) = Person::new() else { return };
    let other = [string(b"ssh-of-tomorrow")];
    for (manner, held, words) in [
        (Manner::ReadOnly, &other[..], &["refused the certificate", "takes no identity from other programs"][..]),
        (Manner::Closes, &[], &["closed the connection", "given a certificate"]),
        (Manner::SilentAtAdd, &[], &["did not answer within 5 s"]),
        (Manner::Forgets, &[], &["said that it took the certificate", "neither the certificate nor its key"]),
        (Manner::KeepsBareKey, &other, &["said that it took the certificate", "that key was removed"]),
    ] {
        let agent = StandIn::start(&person.machine().path(&format!("{manner:?}")), manner, held);
        let run = person.login(Some(&agent.socket), &["--force"]).ends(1).says(words);
        let command = format!("ssh -i {} HOST", person.home(".ssh/warded-root").display());
        run.says(&["in files, without a passphrase", &command, "warded login --out"]);
        assert_eq!(*agent.held.lock().unwrap(), held, "{manner:?}");
        assert_eq!(fs::metadata(person.home(".ssh/warded-root")).unwrap().permissions().mode() & 0o777, 0o600);
        person.ssh(None, &["-i", person.home(".ssh/warded-root").to_str().unwrap()]).ends(0).prints(&["in"]);
        person.warded(None, &["logout"]).ends(0);
        assert_eq!(fs::read_dir(person.home(".ssh")).unwrap().count(), 0);
    }
}

#[test]
fn an_agent_that_does_not_serve_costs_no_certificate() {
    let Some(person) = Person::new() else { return };
    let path = |name: &str| person.machine().path(name);
    let stand_in = |manner| StandIn::start(&path(&format!("{manner:?}")), manner, &[]).socket;
    drop(UnixListener::bind(path("dead")).unwrap());
    let full = UnixListener::bind(path("full")).unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let _waits = std::os::unix::net::UnixStream::connect(path("full")).unwrap();
    for (socket, words) in [
        (Some(path("gone")), &["there is no socket of that name", "eval \"$(ssh-agent)\""][..]),
        (Some(path("dead")), &["nothing listens", "eval \"$(ssh-agent)\""]),
        (Some(path("full")), &["did not answer within 5 s"]),
        (Some(stand_in(Manner::Silent)), &["did not answer within 5 s"]),
        (Some(stand_in(Manner::Deaf)), &["did not answer within 5 s"]),
        (Some(stand_in(Manner::Half)), &["did not answer within 5 s"]),
        (Some(stand_in(Manner::Dribbles)), &["did not answer within 5 s"]),
        (Some(stand_in(Manner::Unlisted)), &["refuses to list its keys"]),
        (Some(stand_in(Manner::Huge)), &["4294967295 bytes"]),
        (None, &["SSH_AUTH_SOCK is not set"]),
    ] {
        person.login(socket.as_deref(), &[]).ends(1).says(words).says(&["no certificate was asked for", "--out"]);
    }
    assert_eq!(person.asked(), 0);
    assert!(!person.home(".ssh").exists());
}

/// Keys of unknown types and entries that are no keys, up to the size that an agent may list.
#[test]
fn what_else_an_agent_holds_hides_nothing() {
    let Some(person) = Person::new() else { return };
    let large = |size: usize| [string(b"ssh-of-tomorrow"), string(&vec![b'x'; size])].concat();
    let odd = [string(b"ssh-of-tomorrow-cert-v01@openssh.com"), Vec::new(), vec![0, 0, 0, 255]];
    let held = [&odd[..], &vec![large(25_000); 10]].concat();
    let agent = StandIn::start(&person.machine().path("odd"), Manner::Honest, &held);
    person.login(Some(&agent.socket), &[]).ends(0).says(&["the agent has 14 identities"]);
    let again = person.warded(Some(&agent.socket), &["login", "root", "--json"]).ends(0).object("warded.login/1");
    assert_eq!(again["status"], "unchanged");
    person.warded(Some(&agent.socket), &["logout"]).ends(0).prints(&["1 certificate from the agent"]);
    assert_eq!(*agent.held.lock().unwrap(), held);

    let agent = StandIn::start(&person.machine().path("full"), Manner::Honest, &vec![large(26_500); 10]);
    person.login(Some(&agent.socket), &[]).ends(1).says(&["at most 262144 are read", "no certificate was asked for"]);
}

/// An agent's answer proves nothing. If an agent does not do what it was asked to, no private key is left in a file.
#[test]
fn an_agent_that_does_not_do_as_it_is_asked_keeps_no_file_at_logout() {
    let Some(person) = Person::new() else { return };
    let path = |name: &str| person.machine().path(name);
    let left = || fs::read_dir(person.home(".ssh")).unwrap().count();
    for (manner, code, words) in [
        (Manner::KeepsTwice, 0, &[][..]),
        (Manner::KeepsForGood, 1, &["still has the certificate of root", "it refused to remove it", "ssh-add -D"]),
    ] {
        let agent = StandIn::start(&path(&format!("{manner:?}")), manner, &[]);
        person.login(Some(&agent.socket), &[]).ends(0);
        person.warded(Some(&agent.socket), &["logout"]).ends(code).says(words);
        assert_eq!((agent.held.lock().unwrap().len(), left()), (usize::from(code == 1), 0), "{manner:?}");
    }
    drop(UnixListener::bind(path("dead")).unwrap());
    let unlisted = StandIn::start(&path("unlisted"), Manner::Unlisted, &[]);
    let refuses = StandIn::start(&path("refuses"), Manner::ReadOnly, &[]);
    for (socket, code, words) in [
        // The agent has ended, so the keys that it held are gone.
        (path("dead"), 0, &[][..]),
        (unlisted.socket, 1, &["refuses to list its keys", "removed: ", "ssh-add -D"]),
    ] {
        // If an agent does not take the key, the login writes it to files.
        person.login(Some(&refuses.socket), &[]).ends(1);
        assert!(person.home(".ssh/warded-root").is_file());
        person.warded(Some(&socket), &["logout"]).ends(code).says(words);
        assert_eq!(left(), 0, "{socket:?}");
    }
}

#[test]
fn an_agent_of_another_user_gets_no_key() {
    let Some(person) = Person::new() else { return };
    let socket = Path::new("/run/theirs");
    let mut command = person.machine().command("setpriv");
    // The agent belongs to the user nobody. Warded as root trusts only root's agents.
    command.args(["--reuid=65534", "--clear-groups", "ssh-agent", "-D", "-a"]).arg("/run/of-nobody/agent");
    Run::of(person.machine().command("install").args(["-d", "-o", "nobody", "/run/of-nobody"])).ends(0);
    let mut agent = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    crate::support::wait::wait("it listens", crate::support::wait::LONG, || {
        Run::of(person.machine().command("test").args(["-S", "/run/of-nobody/agent"])).code == Some(0)
    });
    Run::of(person.machine().command("ln").arg("-s").arg("/run/of-nobody/agent").arg(socket)).ends(0);
    person.login(Some(socket), &[]).ends(1).says(&["another user (uid 65534)", "no certificate was asked for"]);
    // That agent replaces one of root's, after Warded has asked the latter for its list.
    let (own, link) = (person.machine().path("own"), person.machine().path("link"));
    let listener = UnixListener::bind(&own).unwrap();
    symlink(&own, &link).unwrap();
    let swapped = link.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // Reads the request for the list, which is five bytes, and answers with an empty list.
            if stream.read_exact(&mut [0; 5]).is_ok() {
                let other = swapped.with_extension("other");
                symlink("/run/of-nobody/agent", &other).and_then(|()| fs::rename(&other, &swapped)).unwrap();
                stream.write_all(&[0, 0, 0, 5, 12, 0, 0, 0, 0]).unwrap();
            }
        }
    });
    person.login(Some(&link), &[]).ends(1).says(&["another user (uid 65534)"]);
    let mut list = person.machine().command("setpriv");
    list.args(["--reuid=65534", "--clear-groups", "ssh-add", "-l"]).env("SSH_AUTH_SOCK", "/run/of-nobody/agent");
    Run::of(&mut list).ends(1).prints(&["The agent has no identities"]);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn gpg_agent_is_refused_before_it_keeps_a_bare_key() {
    if missing::program("gpg-agent", "gpg-agent") {
        return;
    }
    let Some(person) = Person::new() else { return };
    let agent = Agent::gnupg(person.machine());
    let link = person.machine().path("link");
    symlink(&agent.socket, &link).unwrap();
    for socket in [&agent.socket, &link] {
        person.login(Some(socket), &[]).ends(5).says(&["gpg-agent does not keep certificates", "--out"]);
    }
    assert_eq!(person.asked(), 0);
    assert!(person.listed(&agent.socket).is_empty());
}

#[test]
fn a_locked_agent_is_told_from_one_that_takes_nothing() {
    let Some(person) = Person::new() else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let answer = person.machine().path("answer");
    fs::write(&answer, "#!/bin/sh\necho secret\n").unwrap();
    fs::set_permissions(&answer, fs::Permissions::from_mode(0o755)).unwrap();
    let lock = |option: &str| {
        let mut command = person.machine().command("ssh-add");
        command.env("SSH_AUTH_SOCK", &agent.socket).env("SSH_ASKPASS", &answer).env("SSH_ASKPASS_REQUIRE", "force");
        Run::of(command.arg(option)).ends(0);
    };
    lock("-x");
    person.login(Some(&agent.socket), &[]).ends(1).says(&["it is locked", "ssh-add -X", "are in files"]);
    lock("-X");
    person.login(Some(&agent.socket), &[]).ends(0);
    // A locked agent lists nothing, which does not show what it holds.
    lock("-x");
    for _again in 0..2 {
        person.warded(Some(&agent.socket), &["logout"]).ends(1).says(&["it does not list its keys", "ssh-add -X"]);
    }
    lock("-X");
    assert_eq!(person.listed(&agent.socket).len(), 1);
    // The file that named the certificate's owner is gone, so Warded asks the CA for its keys.
    person.warded(Some(&agent.socket), &["logout"]).ends(0).prints(&["1 certificate from the agent"]);
    person.warded(Some(&agent.socket), &["logout"]).ends(0).prints(&["There is no login"]);
    assert!(person.listed(&agent.socket).is_empty());
    person.login(Some(&agent.socket), &[]).ends(0);
    assert!(!person.home(".ssh/warded-root").exists(), "the key in a file is not needed any more");
}

#[test]
fn an_agent_without_lifetimes_keeps_it_and_that_is_told() {
    let Some(person) = Person::new() else { return };
    let agent = StandIn::start(&person.machine().path("mux"), Manner::NoConstraints, &[]);
    let run = person.login(Some(&agent.socket), &[]).ends(0).says(&["does not support lifetimes", "warded logout"]);
    assert!(!run.stdout.contains("forgets it then"), "{}", run.stdout);
    assert_eq!(agent.held.lock().unwrap().len(), 1);

    let agent = StandIn::start(&person.machine().path("silent"), Manner::NoConfirmation, &[]);
    person.login(Some(&agent.socket), &["--confirm"]).ends(1).says(&["to confirm each use", "without --confirm"]);
    assert!(agent.held.lock().unwrap().is_empty(), "not without the confirmation that was asked for");
    person.login(Some(&agent.socket), &[]).ends(0);
}

#[test]
fn the_agent_is_the_one_that_ssh_uses() {
    let Some(person) = Person::new() else { return };
    let (own, other) = (Agent::openssh(person.machine(), "own"), Agent::openssh(person.machine(), "a b"));
    let (own, other) = (own.socket.as_path(), other.socket.as_path());
    let any = format!("Host 127.0.0.1\n  IdentityAgent none\nHost *\n  IdentityAgent \"{}\"\n", other.display());
    person.write(".ssh/config", &any);
    person.login(Some(own), &[]).ends(0);
    assert_eq!((person.listed(own).len(), person.listed(other).len()), (0, 1));
    person.login(Some(own), &["--host", "127.0.0.1"]).ends(1).says(&["IdentityAgent none", "--out"]);

    person.write(".ssh/config", "Host web1\n  IdentityAgent $MINE\nHost *\n  IdentityAgent SSH_AUTH_SOCK\n");
    person.login(Some(own), &[]).ends(0);
    person.ssh(Some(own), &[]).ends(0);
    person.login(Some(own), &["--host", "web1"]).ends(1).says(&["MINE is not set"]);
    person.write(".ssh/config", "Nonsense yes\n");
    person.login(Some(own), &[]).ends(5).says(&["ssh cannot use its configuration", "Bad configuration option"]);
}
