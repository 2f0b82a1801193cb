//! [`point::CALLS`] omits no call that changes something.

use super::*;

/// Other calls that a run makes: it looks, waits, manages its own memory, locks, asks sshd, and tells the system log.
const HARMLESS: &str = "accept accept4 access arch_prctl bind brk clock_nanosleep close connect execve exit_group faccessat2 \
    fcntl fgetxattr flistxattr flock fstat fstatfs futex getcwd getdents64 geteuid getpeername getpid \
    getppid getrandom getsockname getsockopt gettid ioctl listen lseek madvise memfd_create mmap \
    mprotect mremap munmap nanosleep newfstatat open pipe2 poll ppoll prctl pread64 prlimit64 read \
    readlink recvfrom restart_syscall rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity \
    sched_yield sendto set_robust_list set_tid_address setsid setsockopt sigaltstack socket statx \
    sysinfo umask uname wait4 waitid";

/// Calls that are harmless only without these words in their arguments.
const UNLESS: [(&str, &[&str]); 4] = [
    ("open", &["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"]),
    ("mmap", &["PROT_WRITE, MAP_SHARED"]),
    ("ioctl", &["FICLONE", "SETFLAGS"]),
    ("execve", &["/bin/", "/sbin/"]),
];

#[test]
fn whatever_a_run_does_is_known() {
    if missing::root() || missing::strace() {
        return;
    }
    let machine = Machine::with(&Setup { alone: true, without_rsa: true, ..Setup::default() });
    work::prepare(&machine);
    for work in Work::ALL {
        let bench = Bench::set_up(&machine, work);
        let run = trace::run(&machine, work, "-e trace=all", true);
        assert_eq!(run.code, Some(work.exit()), "{run:?}");
        let unknown: Vec<&str> = run.trace.lines().filter(|line| !is_known(line)).collect();
        assert!(unknown.is_empty(), "{work:?}: {}", unknown.join("\n"));
        assert!(run.seen.len() > 300, "{work:?}: what was traced? {} calls", run.seen.len());
        bench.restore();
        bench.tear_down();
    }
}

fn is_known(line: &str) -> bool {
    // A line about a signal or an exit.
    let Some((name, rest)) = line.split_once('(').filter(|_| !line.starts_with(['+', '-'])) else { return true };
    let mut harmful = UNLESS.iter().filter(|(of, _)| *of == name).flat_map(|(_, words)| *words);
    point::CALLS.split(',').chain(HARMLESS.split_whitespace()).any(|known| known == name)
        && !harmful.any(|word| rest.contains(word))
}
