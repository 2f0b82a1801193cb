use super::*;

#[test]
fn files_are_private_whole_and_found_again() {
    let scratch = tempfile::tempdir().unwrap();
    assert!(StateDir::find(&scratch.path().join("a/b")).unwrap().is_none());
    let state = StateDir::open(&scratch.path().join("a/b")).unwrap();
    state.write("x", b"1", 0o600).unwrap();
    state.write("x", b"2", 0o644).unwrap();
    assert_eq!(state.read("x").unwrap().unwrap().as_slice(), b"2");
    assert_eq!(state.path().join("x").metadata().unwrap().mode() & 0o777, 0o644);
    assert_eq!(state.path().metadata().unwrap().mode() & 0o777, 0o700);
    state.sub("runs/3").unwrap().write("y", b"", 0o600).unwrap();
    assert_eq!(state.names().unwrap(), ["runs", "x"]);
    state.remove_if_empty("runs").unwrap();
    assert!(state.find_sub("runs/3").unwrap().is_some());
    state.remove("runs").unwrap();
    state.put_word("x", "one").unwrap();
    state.put_word("x", "two").unwrap();
    assert_eq!(state.word("x").unwrap().as_deref(), Some("two"));
    state.remove("x").unwrap();
    state.remove("x").unwrap();
    assert_eq!(state.word("x").unwrap(), None);
    state.write("x", b"three", 0o600).unwrap();
    assert!(state.word("x").unwrap_err().message().ends_with("x is no symbolic link"));
    state.remove("x").unwrap();
    assert!(state.read("x").unwrap().is_none() && state.names().unwrap().is_empty());
}

#[test]
fn what_a_killed_process_left_is_neither_written_to_nor_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let state = StateDir::open(&scratch.path().join("s")).unwrap();
    let elsewhere = scratch.path().join("elsewhere");
    fs::write(&elsewhere, "theirs").unwrap();
    let next = unfinished::COUNT.load(std::sync::atomic::Ordering::Relaxed);
    // Other tests use up numbers, too.
    for count in next..next + 5000 {
        symlink(&elsewhere, state.path().join(format!(".new-{}-{count}", std::process::id()))).unwrap();
    }
    state.write("x", b"ours", 0o600).unwrap();
    state.put_word("y", "word").unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"theirs");
    assert!(state.has_unfinished().unwrap());
    state.remove_unfinished().unwrap();
    assert!(!state.has_unfinished().unwrap());
    assert_eq!(state.names().unwrap(), ["x", "y"]);
    assert_eq!(
        (state.read("x").unwrap().unwrap().as_slice(), state.word("y").unwrap()),
        (&b"ours"[..], Some("word".into()))
    );
}

#[test]
fn a_name_stays_inside_and_an_open_directory_is_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let state = StateDir::open(&scratch.path().join("s")).unwrap();
    for name in ["", ".", "..", "/etc/x", "a/../../x"] {
        assert!(state.read(name).is_err(), "{name:?}");
    }
    fs::set_permissions(state.path(), Permissions::from_mode(0o755)).unwrap();
    StateDir::open(state.path()).unwrap();
    assert_eq!(state.path().metadata().unwrap().mode() & 0o777, 0o700);
    fs::set_permissions(state.path(), Permissions::from_mode(0o770)).unwrap();
    assert_eq!(StateDir::open(state.path()).unwrap_err().exit(), crate::error::Exit::Refused);
    assert!(StateDir::open(Path::new("relative")).is_err());
}

#[test]
fn one_lock_at_a_time() {
    let scratch = tempfile::tempdir().unwrap();
    let state = StateDir::open(scratch.path()).unwrap();
    let held = state.try_lock().unwrap().unwrap();
    assert!(state.try_lock().unwrap().is_none());
    drop(held);
    assert!(state.try_lock().unwrap().is_some());
}
