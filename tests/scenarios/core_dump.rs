//! A Warded process that is killed by a signal leaves no core file: there may be keys in its memory.

use crate::support::{
    Machine, Run,
    stand_in::{ActionTime, is_asked, stand_in},
    wait::{LONG, wait},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, path::Path, process::Command, thread};

/// Runs a program with no limit on the size of core files; the shell prints how it ended.
fn wanting_cores(machine: &Machine, directory: &Path, program: &[&str]) -> Command {
    let mut command = machine.command("sh");
    machine.environment(&mut command);
    command.args(["-c", "ulimit -c unlimited; cd \"$0\"; \"$@\"; echo ended $?"]).arg(directory).args(program);
    command
}

fn cores(directory: &Path) -> Vec<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The process id of the Warded process with this word on its command line.
fn warded(word: &str) -> Option<i32> {
    fs::read_dir("/proc").unwrap().find_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).into_owned();
        let words: Vec<&str> = line.split('\0').collect();
        (words.first() == Some(&env!("CARGO_BIN_EXE_warded")) && words.contains(&word)).then_some(pid)
    })
}

#[test]
fn an_aborted_run_leaves_no_core_file() {
    let machine = Machine::stopped();
    let directory = machine.path("cores");
    fs::create_dir(&directory).unwrap();
    // Any other program leaves one, if the machine is configured for that.
    let other = Run::of(&mut wanting_cores(&machine, &directory, &["sh", "-c", "kill -ABRT $$"]));
    assert_eq!(other.stdout, "ended 134\n", "{other:?}");
    let dumps_here = other.stderr.contains("core dumped");
    for name in cores(&directory) {
        fs::remove_file(directory.join(name)).unwrap();
    }

    // In the middle of a check: by then Warded has read the CA's keys.
    let sshd = stand_in(&machine, ActionTime::Candidate, "while [ -e \"$0\" ]; do sleep 0.02; done; exit 1");
    let program = sshd.to_str().unwrap().to_owned();
    let arguments = ["apply", "certify-host", "--set", "principal=web1", "--yes", "--sshd", &program];
    let all: Vec<&str> = [env!("CARGO_BIN_EXE_warded")].into_iter().chain(arguments).collect();
    let run = thread::scope(|scope| {
        let run = scope.spawn(|| Run::of(&mut wanting_cores(&machine, &directory, &all)));
        wait("the result is checked", LONG, || is_asked(&sshd));
        let pid = warded(&program).unwrap();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(limit.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
        kill_process(Pid::from_raw(pid).unwrap(), Signal::ABORT).unwrap();
        run.join().unwrap()
    });
    assert!(run.stdout.ends_with("\nended 134\n"), "{run:?}");
    assert!(!run.stderr.contains("core dumped"), "memory of Warded's was written to a file: {}", run.stderr);
    assert!(cores(&directory).is_empty(), "{:?}", cores(&directory));
    if !dumps_here {
        eprintln!("no program leaves a core file here: only the limit was looked at");
    }
    machine.warded(["audit", "verify"]).ends(0);
}

/// Root can raise a limit again; and other processes of the same user must not read this process's memory either.
#[test]
fn no_other_process_may_look_into_it() {
    let machine = Machine::stopped();
    let trace = machine.path("trace");
    let mut command = machine.command("strace");
    machine.environment(&mut command).args(["-qq", "-e", "trace=prctl", "-e", "signal=none", "-o"]).arg(&trace);
    Run::of(command.arg(env!("CARGO_BIN_EXE_warded")).args(["audit", "verify"])).ends(0);
    let trace = fs::read_to_string(trace).unwrap();
    let last = trace.lines().rfind(|line| line.starts_with("prctl(PR_SET_DUMPABLE, "));
    let words: Vec<&str> = last.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words, ["prctl(PR_SET_DUMPABLE,", "SUID_DUMP_DISABLE)", "=", "0"], "{trace}");
}
