//! Attacks by other users of the same machine while a person signs in.

use super::Member;
use crate::support::{
    Run,
    issuer::{browse, visit},
    missing,
    network::Network,
};
use serde_json::json;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

/// No secret with which somebody could log in, or take part in a login, is where others can read it.
#[test]
fn no_secret_is_on_a_command_line_in_an_environment_or_on_a_screen() {
    let Some(member) = Member::new() else { return };
    let mut seen = String::new();
    let mut visits = Vec::new();
    let run = member.with_browser(&["root", "--verbose"], |member, address| {
        // While the login waits for the browser.
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
    // The address with which the browser was started, the output, and the files of the home directory.
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

/// The same for a whole login: no program that it starts, directly or indirectly, gets a secret on its command line or
/// in its environment.
#[test]
fn no_program_of_a_login_gets_a_secret() {
    if missing::program("strace", "strace") {
        return;
    }
    let Some(member) = Member::new() else { return };
    let trace = member.person.machine().path("trace");
    let login = member.command(&["root"]);
    let mut command = member.person.machine().command("strace");
    command.args(["-f", "-v", "-s", "100000", "-e", "trace=execve,execveat", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_warded")).args(["login", "root"]);
    for (name, value) in login.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut visits = Vec::new();
    member.browsing(command, |member, address| visits = browse(&member.network(), address)).ends(0);
    let trace = fs::read_to_string(&trace).unwrap();
    // The login itself, `ssh -G` to find its agent, and the browser, with their environments.
    let programs = trace.matches("execve(").count();
    assert!(programs >= 3 && trace.contains("/go/") && trace.contains("BROWSER="), "{trace}");
    let provider = &visits[1].url;
    let of = |name: &str| value(provider, name);
    let mut secrets = member.issuer.issued();
    secrets.extend([of("state"), of("nonce"), of("code_challenge")]);
    assert!(secrets.len() >= 6, "{secrets:?}");
    for secret in secrets {
        assert!(!trace.contains(&secret), "{secret} is seen");
    }
}

/// Whoever has a refresh token can sign in for months. So the login does not ask for one, even if the CA's provisioner
/// has that scope.
#[test]
fn no_refresh_token_is_asked_for() {
    let scopes = json!({ "scopes": ["openid", "email", "profile", "offline_access"] });
    let Some(member) = Member::with(&scopes) else { return };
    let (run, visits) = member.sign_in(&["root"]);
    run.ends(0);
    // The tests' provider answers a request for a refresh token with an error.
    let scope = value(&visits[1].url, "scope");
    assert!(scope.contains("profile") && scope.contains("email") && !scope.contains("offline"), "{scope}");
}

/// Another user guesses, floods the port, and injects an answer of their own. The person still gets in as themselves.
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
            let got = browse(&network, &format!("{origin}{target}")).pop().unwrap();
            assert!(got.status >= 400 && got.url.starts_with(origin) && !got.url.contains('?'), "{target}: {got:?}");
        }
        // The person's own browser signs in, while the other user's connections are open.
        let visits = browse(&network, address);
        let back = &visits[2].url;
        assert!(back.contains("code="), "{back}");
        drop(idle);
    });
    assert_eq!(run.ends(0).object("warded.login/1")["principals"][0], "root");
}

/// Whoever opens the login's address first gets the person's `state`. The person sees that it happened, and nothing is
/// certified.
#[test]
fn an_address_that_another_program_opened_first_is_told() {
    let Some(member) = Member::new() else { return };
    let run = member.with_browser(&["root"], |member, address| {
        let network = member.network();
        let stolen = visit(&network, address);
        assert_eq!(stolen.status, 303);
        let own = visit(&network, address);
        assert!(own.status == 410 && own.body.contains("another program did"), "{own:?}");
        // The person presses Ctrl-C, as the page says.
        let is_login = |pid: &String| {
            // Reads the name first: reading the command line of another test's process can block as long as that
            // process is stopped.
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let line = || fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name.trim() == "warded" && String::from_utf8_lossy(&line()).contains("login") && of_this_test(pid, member)
        };
        let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        // A child that has forked and not yet executed its program looks like the login, too.
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

/// Whether a process belongs to this test: other tests run at the same time.
fn of_this_test(pid: &str, member: &Member) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    String::from_utf8_lossy(&environment).contains(member.agent.socket.to_str().unwrap())
}

/// Where a page redirects to.
fn led_to(network: &Network, address: &str) -> String {
    let visit = visit(network, address);
    visit.head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().to_owned()
}

fn value(address: &str, name: &str) -> String {
    let mut parts = address.split(['?', '&']);
    parts.find_map(|part| part.strip_prefix(&format!("{name}="))).unwrap().to_owned()
}

/// Somebody who has seen the login's `state` gives the person a code from their own login. The person would get the
/// other one's certificate without knowing it.
#[test]
fn a_code_of_another_login_is_of_no_use() {
    let Some(member) = Member::new() else { return };
    for name in ["code_challenge", "nonce"] {
        let run = member.with_browser(&["root"], |member, address| {
            let network = member.network();
            let provider = led_to(&network, address);
            // The other one's login uses the same client, either with another verifier, or with the same verifier and
            // another nonce.
            let own = provider.replace(&value(&provider, name), &"a".repeat(43));
            assert_ne!(own, provider);
            let theirs = led_to(&network, &own);
            let back = visit(&network, &theirs);
            assert_eq!(back.status, 303);
        });
        let says = if name == "nonce" { ["is not used", "another login's"] } else { ["invalid_grant", "begin again"] };
        run.ends(if name == "nonce" { 5 } else { 1 }).says(&says);
    }
    assert_eq!(member.person.asked(), 0);
}

/// Another user tries to take the port to which the browser comes back.
#[test]
fn a_second_user_does_not_get_the_port() {
    let Some(member) = Member::with(&json!({ "listenAddress": ":10009" })) else { return };
    let race = "import socket, sys\nfor family, address in ((2, '127.0.0.1'), (2, '0.0.0.0'), (10, '::')):\n\
        \x20 one = socket.socket(family)\n\
        \x20 for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT): one.setsockopt(socket.SOL_SOCKET, option, 1)\n\
        \x20 try:\n    one.bind((address, 10009)); one.listen(); print('got', address)\n\
        \x20 except OSError: print('refused', address)\n";
    let run = member.with_browser(&["root"], |member, address| {
        let mut other = member.person.machine().command("setpriv");
        other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-c", race]);
        Run::of(&mut other).ends(0).prints(&["refused 127.0.0.1\n", "refused 0.0.0.0\n", "refused ::\n"]);
        browse(&member.network(), address);
    });
    run.ends(0);
}

/// A page elsewhere makes the person's own browser send an answer, even with the right `state`: as an image, in a
/// frame, by a script. (A form, which the person would have to submit, would not have the `state`.)
#[test]
fn a_page_elsewhere_brings_no_answer() {
    if missing::program("chromium-headless-shell", "chromium-headless-shell") {
        return;
    }
    let Some(member) = Member::new() else { return };
    let run = member.with_browser(&["root"], |member, address| {
        let network = member.network();
        let provider = led_to(&network, address);
        let (origin, _) = address.split_once("/go/").unwrap();
        let evil = format!("{origin}/?code=evil&state={}", value(&provider, "state"));
        let page = format!(
            "<img src='{evil}'><iframe src='{evil}'></iframe><link rel=prefetch href='{evil}'>\
             <script>fetch('{evil}', {{mode: 'no-cors'}}).catch(() => 0)</script><p>seen</p>"
        );
        let listener = network.on(|| TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                drop(stream.read(&mut [0; 4096]));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
                drop(write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len()));
            }
        });
        let mut browser = network.command("chromium-headless-shell");
        let profile = format!("--user-data-dir={}", member.person.machine().path("profile").display());
        browser.args(["--no-sandbox", "--disable-gpu", &profile, "--dump-dom", &format!("http://127.0.0.1:{port}/")]);
        Run::of(&mut browser).ends(0).prints(&["seen"]);
        // The person continues in their own window.
        assert!(browse(&network, &provider).last().unwrap().body.contains("You are logged in"));
    });
    run.ends(0);
}
