//! Asks every sshd of a machine the same questions through both probes: the handshakes of Warded's own process and the
//! `ssh` program.

use super::subject::{Files, Subject};
use crate::support::Run;
use ssh_key::PublicKey;
use std::{
    collections::HashSet,
    env,
    net::SocketAddr,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::sleep,
    time::Duration,
};
use warded_lib::{
    guard::{
        client::{
            Client, Question,
            known_hosts::{ClientKnowledge, TYPES},
            pace,
            program::{Program, Route},
            transcript::{End, Transcript},
        },
        survey::Prober,
    },
    machine::sshd::Sshd,
};

/// The environment variable that switches this comparison on.
const WANTED: &str = "WARDED_LOCKOUT_PROBES";
/// The main files of the machine's sshds, with colons between them.
const CONFIGURATIONS: &str = "WARDED_TEST_CONFIGURATIONS";
/// The name of the test below.
const TEST: &str = "scenarios::lockout::probes::both_probes_say_the_same";
/// A connection that sshd drops because it is busy is no answer, so the question is repeated.
const ATTEMPTS: usize = 20;

/// The states of the files that were compared, and the number of questions.
static SEEN: Mutex<Option<HashSet<Files>>> = Mutex::new(None);
static ASKED: AtomicUsize = AtomicUsize::new(0);

fn is_wanted() -> bool {
    env::var_os(WANTED).is_some_and(|value| !value.is_empty())
}

/// The numbers of questions and states, if the comparison is wanted.
pub(super) fn summary() -> Option<String> {
    let states = SEEN.lock().unwrap().as_ref().map_or(0, HashSet::len);
    is_wanted().then(|| format!("both probes: {} questions in {states} states", ASKED.load(Ordering::Relaxed)))
}

/// Compares both probes, if that is wanted: once for each state of the files.
pub(super) fn agree(subject: &Subject) -> Result<(), String> {
    if !is_wanted() || !SEEN.lock().unwrap().get_or_insert_default().insert(subject.files()) {
        return Ok(());
    }
    let mut command = subject.own_test(TEST);
    let run = Run::of(command.env(CONFIGURATIONS, subject.configurations().join(":")));
    let asked = run.stdout.lines().find_map(|line| line.split_once("questions: ")?.1.parse::<usize>().ok());
    match asked.filter(|_| run.code == Some(0)) {
        Some(asked) => {
            ASKED.fetch_add(asked, Ordering::Relaxed);
            Ok(())
        }
        None => Err(format!("both probes do not say the same: {}\n{}", run.stdout, run.stderr)),
    }
}

fn read(path: &str) -> Option<PublicKey> {
    PublicKey::read_openssh_file(Path::new(path)).ok()
}

/// The difference between both transcripts, if there is one. The comparison ignores the login, since neither probe logs
/// in here.
fn difference(ours: &Transcript, theirs: &Transcript) -> Option<String> {
    let shows = |seen: &Transcript| {
        let end = if seen.is_past_host_key() { End::LoggedIn } else { seen.end };
        let key = seen.key.clone().filter(|_| seen.certificate.is_none());
        // The `ssh` program first says that it knows the CA, and then why it rejects the certificate nevertheless.
        let by_certificate = seen.by_certificate && seen.is_past_host_key();
        (end, by_certificate, key, seen.certificate.clone(), seen.offer.clone())
    };
    let (ours, theirs) = (shows(ours), shows(theirs));
    (ours != theirs).then(|| format!("in this process {ours:?}, by the program {theirs:?}"))
}

/// Repeats the question until sshd answers.
fn answered(mut ask: impl FnMut() -> Transcript) -> Transcript {
    for _ in 1..ATTEMPTS {
        let seen = ask();
        if seen.end != End::Incomplete {
            return seen;
        }
        sleep(Duration::from_millis(100));
    }
    ask()
}

#[test]
#[ignore = "the lock-out matrix runs it, on its machines"]
fn both_probes_say_the_same() {
    let Ok(configurations) = env::var(CONFIGURATIONS) else { panic!("only the lock-out matrix runs this") };
    // An older `ssh` looks among the certificate's names for the host name that it was given, and not for its
    // HostKeyAlias.
    let knows_alias = Program::find().unwrap().version >= (7, 6);
    let [ca, other] = ["host_ca", "user_ca"].map(|name| [read(&format!("/root/ca/{name}.pub")).unwrap()]);
    let (mut asked, mut different) = (0, Vec::new());
    for config in configurations.split(':') {
        let sshd = Sshd::find(&config.parse().unwrap(), None).unwrap().unwrap();
        let effective = sshd.effective(sshd.config.as_path(), &[]).unwrap();
        let keys: Vec<PublicKey> =
            effective.values("hostkey").iter().filter_map(|key| read(&format!("{key}.pub"))).collect();
        let client = Client::default();
        let prober = Prober::new(&client, &sshd, "root", Some(&effective)).unwrap().unwrap();
        let target: SocketAddr = prober.target().parse().unwrap();
        for key_type in TYPES {
            for (certificate, knows, name) in [
                (false, ClientKnowledge::Nothing, "probe"),
                (false, ClientKnowledge::Keys(&keys), "probe"),
                (false, ClientKnowledge::Keys(&other), "probe"),
                (true, ClientKnowledge::Nothing, "probe"),
                (true, ClientKnowledge::Authorities(&ca), "web1.example.org"),
                (true, ClientKnowledge::Authorities(&ca), "db9.example.org"),
                (true, ClientKnowledge::Authorities(&other), "web1.example.org"),
            ] {
                if !knows_alias && matches!(knows, ClientKnowledge::Authorities(_)) {
                    continue;
                }
                let question = Question { knows, key_type, certificate, name };
                let ours = answered(|| prober.ask(&question).unwrap());
                let theirs = answered(|| {
                    let route = Route::Network(target, pace::fresh_source(target));
                    client.ask_program(&question, &route, "root").unwrap()
                });
                asked += 1;
                different.extend(difference(&ours, &theirs).map(|what| format!("{config}: {question:?}: {what}")));
            }
        }
        assert!(!client.needed_program(), "{config}: some question could be asked by the program alone");
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    println!("questions: {asked}");
}
