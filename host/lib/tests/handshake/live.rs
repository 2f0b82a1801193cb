//! Asks a listener for every host key, with a few connections at a time.

use crate::{
    peer::{each, limits},
    session::compare,
};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    num::NonZero,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use warded_lib::handshake::{Fault, HostKeyAlgorithm, Limits, Session, Target, Verdict, dial, prove, survey};

fn targets(server: SocketAddr) -> Vec<Target> {
    let address = |index| Some(IpAddr::V4(Ipv4Addr::new(127, 77, 0, index)));
    (1..)
        .zip(HostKeyAlgorithm::all())
        .map(|(index, algorithm)| Target { server, from: address(index), algorithm })
        .collect()
}

const AT_ONCE: NonZero<usize> = NonZero::new(3).unwrap();

#[test]
fn a_survey_names_no_user() {
    each(|peer| {
        let (server, _sshd) = peer.listen(&["LogLevel=VERBOSE"]);
        let targets = targets(server);
        for (target, answer) in targets.iter().zip(survey(&targets, AT_ONCE, &limits())) {
            compare(peer, target.algorithm, &answer.unwrap().host_key);
        }
        // The sshd child of a connection writes its log line when it sees that the connection has ended.
        let ended = || peer.log().matches("Connection closed by 127.77.0.").count();
        let began = Instant::now();
        while ended() < targets.len() {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", peer.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        let log = peer.log();
        assert!(!log.contains("user") && !log.contains("Unable"), "{log}");
        assert!(log.contains("127.77.0.1 ") && log.contains("127.77.0.12 "), "{log}");
    });
}

#[test]
fn a_listener_that_drops_connections_is_unknown() {
    each(|peer| {
        let (server, _sshd) = peer.listen(&["MaxStartups=1:100:1"]);
        // This session stays open, and so takes the one place that sshd has.
        let first = Session::open(dial(server, None, &limits()).unwrap(), &limits()).unwrap();
        for answer in survey(&targets(server), AT_ONCE, &limits()) {
            let fault = answer.unwrap_err();
            assert_eq!(fault.verdict(), Verdict::Unknown, "{fault}");
        }
        drop(first);
    });
}

#[test]
fn whoever_does_not_answer_is_unknown() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap();
    let soon = Limits::within(Duration::from_millis(200));
    for answer in survey(&targets(server), AT_ONCE, &soon) {
        assert!(matches!(answer, Err(Fault::Timeout)), "{answer:?}");
    }
    drop(silent);
    let fault = dial(server, None, &limits()).unwrap_err();
    assert!(matches!(fault, Fault::Io(_)), "{fault}");
    assert_eq!(fault.verdict(), Verdict::Unknown);
}

/// Prints how long exchanges take: `cargo test --release -- --ignored --nocapture measure`.
#[test]
#[ignore = "measures, and decides nothing"]
fn measure_a_listener() {
    let next = AtomicU32::new(0);
    each(|peer| {
        let (server, _sshd) = peer.listen(&[]);
        let measure = |name: &str, run: &dyn Fn()| {
            let mut times: Vec<_> = (0..10)
                .map(|_| {
                    let began = Instant::now();
                    run();
                    began.elapsed()
                })
                .collect();
            times.sort();
            eprintln!("  {name}: {:.1?} {:.1?}", times[0], times[5]);
        };
        // Since OpenSSH 9.8 sshd refuses an address that has connected too often without a login.
        let fresh = |target: Target| {
            let count = next.fetch_add(1, Ordering::Relaxed);
            Target { from: Some(Ipv4Addr::from_bits(Ipv4Addr::new(127, 78, 0, 1).to_bits() + count).into()), ..target }
        };
        for target in targets(server) {
            measure(target.algorithm.name(), &|| {
                let stream = dial(server, fresh(target).from, &limits()).unwrap();
                prove(stream, target.algorithm, &limits()).unwrap();
            });
        }
        for count in [3, 6] {
            measure(&format!("{count} exchanges, three at a time"), &|| {
                let some: Vec<_> = targets(server).into_iter().take(count).map(fresh).collect();
                assert!(survey(&some, AT_ONCE, &limits()).iter().all(Result::is_ok));
            });
        }
    });
}
