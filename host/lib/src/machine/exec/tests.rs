//! Tests with programs that every system has.

use super::*;

fn shell(script: &str) -> Program {
    Program::new("/bin/sh").arg("-c").arg(script)
}

#[test]
fn status_and_outputs_come_back() {
    let output = shell("echo out; echo err >&2; exit 3").run().unwrap();
    assert_eq!((output.status, output.timed_out), (Some(3), false));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(output.ending(), "exit status 3");
    assert!(shell("kill -9 $$").run().unwrap().status.is_none());
}

#[test]
fn the_environment_is_ours() {
    let output = shell("env").env("EXTRA", "1").run().unwrap();
    let mut names: Vec<_> = output.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["EXTRA", "HOME", "LC_ALL", "PATH", "WARDED_NO_LOGIN"]);
}

#[test]
fn a_time_limit_ends_the_whole_group() {
    let output = shell("sleep 1000 & echo $!; wait").timeout(Duration::from_millis(200)).run().unwrap();
    assert!(output.timed_out && output.status.is_none());
    let grandchild: i32 = output.stdout.trim().parse().unwrap();
    let lives = || {
        let state = std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while lives() {
        assert!(Instant::now() < deadline, "{grandchild} lives on");
        thread::sleep(TICK);
    }
}

#[test]
fn what_runs_is_on_the_list_and_what_has_ended_is_not() {
    let (done, ended) = mpsc::channel();
    let mut running = Running::start(&mut shell("exec sleep 30").command()).unwrap();
    let pid = i32::try_from(running.child.id()).unwrap();
    assert!(running::is_listed(pid));
    let (status, killed) = running.wait(&ended, Instant::now() + TICK);
    assert!(killed && status.is_some_and(|status| !status.success()) && !running::is_listed(pid));
    let mut running = Running::start(&mut shell("exit 3").command()).unwrap();
    drop(done);
    let (status, killed) = running.wait(&ended, Instant::now() + Duration::from_secs(20));
    assert_eq!((status.unwrap().code(), killed), (Some(3), false));
}

#[test]
fn long_output_is_cut_and_does_not_block() {
    let output = shell("head -c 3000000 /dev/zero | tr '\\0' x").run().unwrap();
    assert_eq!((output.stdout.len(), output.status), (KEPT, Some(0)));
}

#[test]
fn a_daemon_ends_with_its_handle() {
    let mut child = shell("exec sleep 30").spawn().unwrap();
    let pid = child.pid();
    assert!(!child.has_ended());
    drop(child);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(signal(pid, Signal::Hangup).is_err());
    assert!(signal(1, Signal::Terminate).is_err());
    assert!(signal(0, Signal::Hangup).is_err() && signal(-1, Signal::Hangup).is_err());
}

#[test]
fn only_programs_are_found() {
    assert!(find("sh").is_some_and(|path| path.is_absolute()));
    for name in ["", "/bin/sh", "../bin/sh", "no-such-program-here"] {
        assert_eq!(find(name), None, "{name}");
    }
    assert!(Program::new("/no/such/program").run().is_err());
}
