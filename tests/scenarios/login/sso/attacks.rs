//! Others on the same machine, while a person signs in.

use super::Member;
use crate::support::issuer::{browse, visit};
use std::{fs, net::TcpStream};

/// Nothing that lets somebody log in, or take part in a login, is where others can read it.
#[test]
fn no_secret_is_on_a_command_line_in_an_environment_or_on_a_screen() {
    let Some(member) = Member::new() else { return };
    let mut seen = String::new();
    let mut visits = Vec::new();
    let run = member.with_browser(&["root", "--verbose"], |member, address| {
        // While the login waits.
        let entries = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        for pid in entries.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            let read = |name: &str| {
                String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default()).into_owned()
            };
            if read("comm").trim() == "warded" {
                seen.push_str(&read("cmdline"));
                seen.push_str(&read("environ"));
            }
        }
        visits = browse(&member.network(), address);
    });
    let run = run.ends(0);
    assert!(seen.contains("login"), "no login was seen");
    let provider = &visits[1].url;
    let of = |name: &str| {
        provider.split(['?', '&']).find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap().to_owned()
    };
    let mut secrets = member.issuer.issued();
    secrets.extend([of("state"), of("nonce"), of("code_challenge")]);
    assert!(secrets.len() >= 6, "{secrets:?}");
    // What the browser was started with, what was printed, and what lies in the home directory.
    seen.push_str(&fs::read_to_string(member.opened()).unwrap());
    seen.push_str(&[run.stdout.as_str(), &run.stderr, &visits.last().unwrap().url].concat());
    for directory in [".ssh", ".ssh/warded-login"] {
        for entry in fs::read_dir(member.person.home(directory)).unwrap() {
            seen.push_str(&String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap_or_default()));
        }
    }
    for secret in secrets {
        assert!(!seen.contains(&secret), "{secret} is seen");
    }
}

/// Another user guesses, floods, and injects an answer of their own; the person gets in as themselves.
#[test]
fn others_on_the_machine_get_nothing_and_stop_nothing() {
    let Some(member) = Member::new() else { return };
    let run = member.with_browser(&["root", "--json"], |member, address| {
        let network = member.network();
        let (origin, _) = address.split_once("/go/").unwrap();
        let port: u16 = origin.rsplit(':').next().unwrap().parse().unwrap();
        let idle: Vec<TcpStream> =
            network.on(|| (0..200).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect());
        for target in
            ["/?code=mine&state=guessed", "/?code=mine", "/?error=access_denied&state=", "/go/guessed", "/done/guessed"]
        {
            let got = visit(&network, &format!("{origin}{target}"));
            assert!(got.status >= 400 && !got.head.contains("Location"), "{target}: {got:?}");
        }
        // A code that was used, from a login of the same person's before.
        let visits = browse(&network, address);
        let back = &visits[2].url;
        assert!(back.contains("code="), "{back}");
        drop(idle);
    });
    assert_eq!(run.ends(0).object("warded.login/1")["principals"][0], "root");
}

/// Who opens the login's address first gets the person's `state`: the person sees it, and nothing is certified.
#[test]
fn an_address_that_another_program_opened_first_is_told() {
    let Some(member) = Member::new() else { return };
    let run = member.with_browser(&["root"], |member, address| {
        let network = member.network();
        let stolen = visit(&network, address);
        assert_eq!(stolen.status, 303);
        let own = visit(&network, address);
        assert!(own.status == 410 && own.body.contains("another program did"), "{own:?}");
        // As the page says: Ctrl-C.
        let is_login = |pid: &String| {
            // Its name first: to read the rest of another test's process can take as long as that is stopped.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let line = || fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name.trim() == "warded" && String::from_utf8_lossy(&line()).contains("login") && of_this_test(pid, member)
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // A child that has not become another program yet looks like the login, too.
        let logins: Vec<String> = all.filter(is_login).collect();
        assert!(!logins.is_empty());
        for pid in logins {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap_or_default();
        }
    });
    assert_ne!(run.code, Some(0));
    assert_eq!(member.person.asked(), 0);
}

/// Other tests run at the same time.
fn of_this_test(pid: &str, member: &Member) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&environment).contains(member.agent.socket.to_str().unwrap())
}
