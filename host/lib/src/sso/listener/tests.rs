//! Tests with real connections: from a browser, from other programs on the same machine, and many at once.

use super::*;
use std::thread;

fn get(port: u16, target: &str, more: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{more}\r\n").unwrap();
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

/// The result of a login with the state `right`, while `others` connects to the listener.
fn meanwhile(patience: Duration, others: impl FnOnce(u16, &str) + Send + 'static) -> (Result<Callback, Fault>, Visits) {
    let mut listener = Listener::bind("").unwrap();
    let (port, secret) = (listener.port, listener.secret.clone());
    let others = thread::spawn(move || others(port, &secret));
    let returned = listener.wait(&"https://sso.test/authorize?x=1".parse().unwrap(), "right", patience, (LONG, &|| ()));
    let visits = listener.visits;
    if returned.is_ok() {
        listener.show(Page::Done);
    }
    others.join().unwrap();
    (returned, visits)
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_browser_is_led_there_and_back_and_the_code_stays_in_no_address() {
    let (returned, visits) = meanwhile(LONG, |port, secret| {
        let first = get(port, &format!("/go/{secret}"), "");
        assert!(
            first.starts_with("HTTP/1.1 303") && first.contains("Location: https://sso.test/authorize?x=1\r\n"),
            "{first}"
        );
        assert!(get(port, &format!("/go/{secret}"), "").contains("opened before"));
        assert!(get(port, "/favicon.ico", "").starts_with("HTTP/1.1 404"));
        let back = get(port, "/?code=abc&state=right&iss=https%3A%2F%2Fsso.test", "");
        assert!(back.contains(&format!("Location: /done/{secret}\r\n")) && back.contains("no-referrer"), "{back}");
        // The same request again, as after the browser's "back": the code is not used twice.
        assert!(get(port, "/?code=abc&state=right", "").contains("\r\nLocation: /over\r\n"));
        assert!(get(port, "/over", "").contains("This sign-in is over"));
        assert!(get(port, &format!("/done/{secret}"), "").contains("You are logged in"));
    });
    assert_eq!(visits, Visits { is_opened: true, opened_again: 1, strangers: 0 });
    let code = Callback {
        issuer: Some("https://sso.test".to_owned()),
        answered: AuthorizationResponse::Code("abc".to_owned()),
    };
    assert!(returned.unwrap() == code);
}

#[test]
fn others_on_the_machine_change_nothing() {
    let (returned, visits) = meanwhile(LONG, |port, _| {
        for target in [
            "/?code=evil&state=wrong",
            "/?code=evil",
            "/?code=evil&state=right&state=right",
            "/?code=evil&code=evil&state=right",
            "/?state=right",
            "/?error=access_denied&state=wrong",
        ] {
            // The code does not stay in the address bar.
            assert!(get(port, target, "").contains("\r\nLocation: /wrong-window\r\n"), "{target}");
        }
        assert!(get(port, "/wrong-window", "").contains("This is the wrong window"));
        for more in ["Sec-Fetch-Mode: no-cors\r\n", "Sec-Fetch-Dest: iframe\r\n"] {
            assert!(get(port, "/?code=evil&state=right", more).contains("nothing here"), "{more}");
        }
        assert!(get(port, "/go/guessed", "").contains("nothing here"));
        get(port, "/?error=access_denied&error_description=no&state=right", "");
    });
    assert_eq!(visits.strangers, 6);
    let refusal = AuthorizationResponse::Error { error: "access_denied".to_owned(), description: "no".to_owned() };
    assert!(returned.unwrap() == Callback { issuer: None, answered: refusal });
}

/// Connections that send nothing, that send endlessly, and that come by hundreds do not keep out the browser's answer.
#[test]
fn a_flood_keeps_nobody_out() {
    let (returned, _) = meanwhile(LONG, |port, _| {
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut idle: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
        for stream in &mut idle {
            drop(stream.write_all(&[b'a'; 1000]));
        }
        let mut endless = connect();
        thread::spawn(move || while endless.write_all(&[b'x'; 10_000]).is_ok() {});
        get(port, "/?code=abc&state=right", "");
        drop(idle);
    });
    assert!(returned.is_ok());
}

#[test]
fn that_nobody_comes_is_told() {
    let (returned, _) = meanwhile(Duration::from_millis(300), |_, _| ());
    assert!(matches!(returned, Err(Fault::NoAnswer { visits: Visits { is_opened: false, .. }, .. })));
}

#[test]
fn a_person_is_reminded_once_and_the_answer_still_counts() {
    let reminded = std::cell::Cell::new(0);
    let mut listener = Listener::bind("").unwrap();
    let port = listener.port;
    let browser = thread::spawn(move || {
        thread::sleep(Duration::from_millis(500));
        get(port, "/?code=abc&state=right", "")
    });
    let remind = || reminded.set(reminded.get() + 1);
    let provider = "https://sso.test/".parse().unwrap();
    let returned = listener.wait(&provider, "right", LONG, (Duration::from_millis(100), &remind));
    assert!(returned.is_ok() && reminded.get() == 1, "{}", reminded.get());
    assert!(browser.join().unwrap().contains("Location: /done/"));
    // If the time limit comes first, no reminder is shown.
    let mut listener = Listener::bind("").unwrap();
    let returned = listener.wait(&provider, "right", Duration::from_millis(50), (LONG, &remind));
    assert!(returned.is_err() && reminded.get() == 1);
}

#[test]
fn the_provisioners_port_is_used_on_this_machine_alone() {
    let taken = Listener::bind("").unwrap();
    let port = taken.port;
    assert!(matches!(Listener::bind(&format!(":{port}")), Err(Fault::Listen { is_taken: true, .. })));
    drop(taken);
    for address in [format!(":{port}"), format!("0.0.0.0:{port}"), format!("localhost:{port}"), port.to_string()] {
        let listener = Listener::bind(&address).unwrap();
        assert_eq!(listener.redirect_uri(), format!("http://127.0.0.1:{port}"), "{address}");
        assert!(listener.listener.local_addr().unwrap().ip().is_loopback());
    }
    for address in [":", "here", ":70000", ":-1"] {
        assert!(matches!(Listener::bind(address), Err(Fault::NoAddress(_))), "{address}");
    }
}
