use super::*;
use crate::broker::{
    Identity,
    operation::{authority, fact::Fact, key::Ensure},
    session::Renewal,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use warded_lib::{
    audit::Log,
    ca::configured::Authority,
    digest::Digest,
    machine::{facts::Facts, files::Root},
    policy::{authorize::Circumstances, file::Procedure, pattern::Places},
};

/// A run in progress, of a procedure with these grants.
fn state(scratch: &Path, grants: &str) -> State {
    let identity = Identity {
        run: None,
        policy: "case".parse().unwrap(),
        component: Digest::of(b"component"),
        procedure: "go".parse().unwrap(),
    };
    let log = Arc::new(Log::open(&scratch.join("audit")).unwrap());
    let circumstances = Circumstances {
        places: Places { sshd_config: "/nonexistent/sshd_config".parse().unwrap(), home: None },
        trusted: Vec::new(),
        mapped: Vec::new(),
        protected: Vec::new(),
        confirmed: BTreeSet::new(),
        keys: BTreeMap::new(),
        actions: BTreeMap::new(),
    };
    let renewal = Renewal {
        after_percent: 50,
        machine_id: String::new(),
        force: false,
        replaces_useless: false,
        renewed: [].into(),
        now: 0,
    };
    let (facts, authority) = (Facts::read(Path::new("/nonexistent")), Rc::new(Authority::none()));
    let root = Root::ambient().unwrap();
    let procedure: Procedure = toml::from_str(&format!("summary = \"A test\"\n{grants}")).unwrap();
    let session = Session::new(circumstances, root, facts, authority, renewal, BTreeSet::new(), None);
    State::new(Broker::new(identity, procedure, log), session, Clock::default())
}

fn records(scratch: &Path) -> usize {
    std::fs::read_to_string(scratch.join("audit/log.jsonl")).unwrap().lines().count()
}

#[test]
fn arguments_that_name_nothing_count_as_calls() {
    let scratch = tempfile::tempdir().unwrap();
    let mut state = state(scratch.path(), "");
    state.calls = limits::CALLS - 1;
    assert_eq!(state.path("files.read", "relative").unwrap().unwrap_err().code, "invalid-path");
    let stopped = state.path("files.read", "relative").unwrap_err().to_string();
    assert!(stopped.contains(&format!("more than {} calls", limits::CALLS)), "{stopped}");
    assert_eq!(records(scratch.path()), 1);
}

#[test]
fn the_time_of_all_calls_is_bounded() {
    let scratch = tempfile::tempdir().unwrap();
    let mut state = state(scratch.path(), "");
    state.clock.pretend_spent(limits::HOST_TIME);
    assert!(state.path("files.read", "relative").unwrap().is_err());
    state.clock.pretend_spent(limits::HOST_TIME + Duration::from_millis(1));
    let stopped = state.path("files.read", "relative").unwrap_err().to_string();
    assert!(stopped.contains("more than 120 s"), "{stopped}");
    let stopped = state.perform(Fact("os.id".to_owned())).unwrap_err().to_string();
    assert!(stopped.contains("more than 120 s"), "{stopped}");
    assert_eq!(records(scratch.path()), 1);
}

#[test]
fn the_connections_that_sshd_is_asked_for_are_bounded() {
    let scratch = tempfile::tempdir().unwrap();
    let mut state = state(scratch.path(), "facts = [\"os.id\"]");
    state.session.pretend_connections(limits::CONNECTIONS);
    assert!(state.perform(Fact("os.id".to_owned())).unwrap().is_ok());
    state.session.pretend_connections(limits::CONNECTIONS + 1);
    let stopped = state.perform(Fact("os.id".to_owned())).unwrap_err().to_string();
    assert!(stopped.contains("more than 100 connections"), "{stopped}");
}

#[test]
fn a_key_that_is_asked_for_twice_is_made_once() {
    let scratch = tempfile::tempdir().unwrap();
    let path: AbsolutePath = scratch.path().canonicalize().unwrap().join("key").to_str().unwrap().parse().unwrap();
    let mut state = state(scratch.path(), &format!("keys = [\"{path}\"]"));
    let ensure = |algorithm: &str| Ensure { path: path.clone(), algorithm: algorithm.to_owned() };
    let first = state.perform(ensure("ssh-ed25519")).unwrap().unwrap();
    let staged = |state: &State| state.session.changes.staged().len();
    assert_eq!(staged(&state), 2);
    let second = state.perform(ensure("ssh-ed25519")).unwrap().unwrap();
    assert_eq!((first.public, staged(&state)), (second.public, 2));
    let other = state.perform(ensure("ecdsa-sha2-nistp256")).unwrap().unwrap_err();
    assert_eq!(other.code, "algorithm");
}

/// Whoever can place links below the wildcard of a key's grant must not choose where the certificate goes.
#[test]
fn beside_a_key_below_a_wildcard_no_link_is_followed() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().canonicalize().unwrap();
    std::fs::create_dir(at.join("own")).unwrap();
    let path = |name: &str| -> AbsolutePath { at.join(name).to_str().unwrap().parse().unwrap() };
    let grants = format!("keys = [\"{}/*/key\"]\ncertificates = [\"beside-key\"]", at.display());
    let mut state = state(&at, &grants);
    state.perform(Ensure { path: path("own/key"), algorithm: "ssh-ed25519".to_owned() }).unwrap().unwrap();
    let read = || authority::Read(path("own/key-cert.pub"));
    assert!(state.perform(read()).unwrap().unwrap().is_none());
    std::fs::rename(at.join("own"), at.join("somebody-elses")).unwrap();
    std::os::unix::fs::symlink("somebody-elses", at.join("own")).unwrap();
    assert_eq!(state.perform(read()).unwrap().unwrap_err().code, "untrusted-path");
}
