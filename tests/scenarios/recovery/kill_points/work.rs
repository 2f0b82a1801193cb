//! The works that are killed: each command that changes something, and each way to roll a change back.

use super::{point::TracedPoint, *};
use crate::support::attributes::{FileAttributes, adorn, wholes};
use std::{os::unix::fs::PermissionsExt as _, path::Path};

/// All files of a machine that count, with their contents and attributes.
pub(super) type Files = BTreeMap<PathBuf, FileAttributes>;

/// The message by which a run hands over to its watchdog.
const AWAIT: &str = "await\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// New certificates, and a block in the main file.
    Certify,
    /// New certificates replace others.
    Renew,
    /// Certificates are removed, and the main file is restored.
    Undo,
    /// A change with which sshd would not start in the end: the run itself rolls it back.
    RollBack,
    /// The recovery of a change that was made and not kept, since run and watchdog are dead.
    Recover,
    /// The watchdog of such a run, which finds that the run is dead, and rolls it back.
    Watchdog,
    /// The confirmation of a change that waits for it. The watchdog of that change may be dead.
    Confirm,
    /// A run that ends with a change that waits to be confirmed, and hands over to its watchdog.
    Await,
    /// The watchdog of a change that nobody has confirmed in time, which rolls it back.
    Expire,
}

impl Work {
    pub(super) const ALL: [Self; 9] = [
        Self::Certify,
        Self::Renew,
        Self::Undo,
        Self::RollBack,
        Self::Recover,
        Self::Watchdog,
        Self::Confirm,
        Self::Await,
        Self::Expire,
    ];

    /// The works that `WARDED_TEST_WORKS` names, each with its index among all; without the variable, all.
    pub(super) fn asked() -> Vec<(usize, Self)> {
        let mut all: Vec<(usize, Self)> = Self::ALL.into_iter().enumerate().collect();
        if let Ok(names) = std::env::var("WARDED_TEST_WORKS") {
            let names: Vec<&str> = names.split(',').collect();
            all.retain(|(_, work)| names.contains(&format!("{work:?}").to_lowercase().as_str()));
            assert_eq!(all.len(), names.len(), "not every one of {names:?} is a work");
        }
        all
    }

    pub(super) fn arguments(self, machine: &Machine) -> Vec<String> {
        let words: &[&str] = match self {
            Self::Certify | Self::RollBack | Self::Await => {
                &["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]
            }
            Self::Renew => &["renew", "--force"],
            Self::Undo => &["undo", "--yes"],
            Self::Recover => &["recover"],
            Self::Watchdog | Self::Expire => &["watchdog"],
            Self::Confirm => &["confirm", "--same-login"],
        };
        let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Self::Watchdog | Self::Expire => words.push(newest_run(machine).to_string()),
            Self::RollBack => {
                words.extend(["--sshd".to_owned(), machine.path("refuses").to_str().unwrap().to_owned()]);
            }
            Self::Await => words.extend(["--confirm-within".to_owned(), "24h".to_owned()]),
            _ => {}
        }
        words
    }

    /// Its standard input: the watchdog of a waiting change gets the message that hands over to it.
    pub(super) fn input(self) -> &'static str {
        if self == Self::Expire { AWAIT } else { "" }
    }

    /// Its exit code if nobody kills it.
    pub(super) fn exit(self) -> i32 {
        if self == Self::RollBack { 1 } else { 0 }
    }

    /// Whether it has a watchdog, which may be alive or dead.
    pub(super) fn is_watched(self) -> bool {
        matches!(self, Self::Certify | Self::Renew | Self::Undo | Self::RollBack | Self::Await) || self.finds_watchdog()
    }

    /// Whether that watchdog existed before the work began.
    pub(super) fn finds_watchdog(self) -> bool {
        self == Self::Confirm
    }

    /// Whether it begins with a change that was made and not kept.
    pub(super) fn is_second(self) -> bool {
        matches!(self, Self::Recover | Self::Watchdog | Self::Confirm | Self::Expire)
    }

    /// Whether it may leave the new state.
    pub(super) fn can_be_new(self) -> bool {
        matches!(self, Self::Certify | Self::Renew | Self::Undo | Self::Confirm | Self::Await)
    }

    /// Whether clients that know only the CA get in, given the state that is left.
    pub(super) fn is_certified(self, left: EndState) -> bool {
        match self {
            Self::Renew => true,
            Self::Undo => left == EndState::Old,
            _ => left == EndState::New,
        }
    }
}

/// A machine that is brought to the state before one work again and again.
#[derive(Debug)]
pub(super) struct Bench<'a> {
    pub(super) machine: &'a Machine,
    pub(super) work: Work,
    /// The state before the work.
    pub(super) old: Files,
    /// The state after the work, without the certificates, which differ each time.
    pub(super) new: Files,
    /// The calls at which the work can be killed.
    pub(super) points: Vec<TracedPoint>,
    /// How many calls only one of the two traces had.
    pub(super) left_out: usize,
    /// The calls of one complete trace.
    pub(super) reference: Vec<TracedPoint>,
}

/// The file that records the enrolment.
pub(super) fn enrolment(machine: &Machine) -> PathBuf {
    machine.path("state/enrolment.json")
}

/// All files that are compared.
pub(super) fn files(machine: &Machine) -> Files {
    let mut found = wholes(&machine.path("ssh"));
    let enrolment = enrolment(machine);
    if enrolment.exists() {
        found.insert(enrolment.clone(), crate::support::attributes::whole(&enrolment));
    }
    found
}

/// Prepares a machine: sshd's files get owners, modes and labels that new files would not have.
pub(super) fn prepare(machine: &Machine) {
    adorn(&machine.config(), 0o640, 7);
    let refuses = machine.path("refuses");
    let config = machine.config();
    let config = config.display();
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' -t '*' {config} '*) ! grep -q HostCertificate {config} || \
         {{ echo refused >&2; exit 255; }} ;; esac\nexec /usr/sbin/sshd \"$@\"\n"
    );
    fs::write(&refuses, text).unwrap();
    fs::set_permissions(&refuses, fs::Permissions::from_mode(0o755)).unwrap();
    // The first run on a machine makes directories that later runs find.
    machine.certify();
    machine.warded(["undo", "--yes"]).ends(0);
    keep(machine, "clean");
}

impl<'a> Bench<'a> {
    /// Brings a machine from the state that [`prepare`] left to where the work begins, and traces the work.
    pub(super) fn set_up(machine: &'a Machine, work: Work) -> Self {
        let clean = files(machine);
        match work {
            Work::Certify | Work::RollBack | Work::Await => {}
            Work::Renew | Work::Undo => drop(machine.certify()),
            Work::Confirm | Work::Expire => {
                Run::of(machine.warded_command([]).args(Work::Await.arguments(machine))).ends(0);
                end_watchdogs(machine);
                assert_eq!(state(machine), "unconfirmed");
                if work == Work::Expire {
                    expire(machine);
                }
            }
            Work::Recover | Work::Watchdog => {
                let next = (newest_run(machine) + 1).to_string();
                let kept = machine.path("state/runs").join(next).join("journal.kept");
                let kept = format!("-e trace=rename -P {} -e inject=rename:signal=KILL:when=1", kept.display());
                let run = trace::run(machine, Work::Certify, &kept, false);
                assert!(run.was_killed && run.watchdog_was_killed, "{run:?}");
                assert_eq!(state(machine), "committing");
            }
        }
        if work == Work::Renew {
            for name in machine.keys() {
                adorn(&machine.path(&format!("ssh/ssh_host_{name}_key-cert.pub")), 0o604, 8);
            }
        }
        keep(machine, "before");
        let old = if work.is_second() { clean } else { files(machine) };
        let mut bench =
            Self { machine, work, old, new: Files::new(), points: Vec::new(), left_out: 0, reference: Vec::new() };
        let mut traces = Vec::new();
        for _ in 0..2 {
            let run = trace::run(machine, work, &format!("-e trace={}", point::CALLS), true);
            assert!(run.code == Some(work.exit()), "{run:?}");
            traces.push(run.seen);
            match work {
                Work::Await => drop(machine.warded(["confirm", "--same-login"]).ends(0)),
                Work::Expire => {
                    assert!(details(machine, "ended").pop().unwrap().contains("nobody confirmed it in time"));
                }
                _ => {}
            }
            bench.new = files(machine);
            bench.restore();
        }
        let [first, second] = &traces[..] else { unreachable!() };
        let begin = first.iter().position(|seen| seen.counts && is_of_run(seen, machine)).expect("it has no journal");
        let in_both = |seen: &&TracedPoint| second.iter().any(|other| other.point == seen.point);
        let (stable, other): (Vec<&TracedPoint>, Vec<&TracedPoint>) =
            first[begin..].iter().filter(|seen| seen.counts).partition(in_both);
        bench.left_out = other.len();
        bench.points = stable.into_iter().cloned().collect();
        bench.reference = first.clone();
        bench
    }

    /// Restores the state before the work.
    pub(super) fn restore(&self) {
        end_watchdogs(self.machine);
        let now = files(self.machine);
        let differs = self.work.is_second() || now != self.old;
        let parts: &[&str] = if differs { &["state", "ssh"] } else { &["state"] };
        put_back(self.machine, "before", parts);
        if differs {
            self.reload();
        }
    }

    /// Restores the state that [`prepare`] left.
    pub(super) fn tear_down(self) {
        put_back(self.machine, "clean", &["state", "ssh"]);
        self.reload();
    }

    fn reload(&self) {
        let log = self.machine.path("sshd.log");
        let starts = || fs::read_to_string(&log).unwrap().matches("Server listening").count();
        let before = starts();
        let pid = fs::read_to_string(self.machine.path("sshd.pid")).unwrap();
        Run::of(self.machine.command("kill").args(["-HUP", pid.trim()])).ends(0);
        wait("sshd listens again", LONG, || starts() > before);
    }
}

/// Kills all watchdogs, and waits until they are gone.
pub(super) fn end_watchdogs(machine: &Machine) {
    watchdogs(machine).into_iter().for_each(|pid| send(pid, Signal::KILL));
    wait("no watchdog is there", LONG, || watchdogs(machine).is_empty());
}

/// Starts a watchdog like the one of a waiting change, and waits until it watches.
pub(super) fn watch_beside(machine: &Machine) {
    let (input, output) = (machine.path("await"), machine.path("watches"));
    fs::write(&input, AWAIT).unwrap();
    fs::write(&output, "").unwrap();
    let mut shell = machine.command("sh");
    // In the background, so that it is orphaned, as it is when its run has ended.
    let script = format!("\"$@\" <{} >{} 2>/dev/null &", input.display(), output.display());
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_warded"), "--state"]).arg(machine.path("state"));
    shell.arg("watchdog").arg(newest_run(machine).to_string());
    Run::of(machine.environment(&mut shell)).ends(0);
    wait("it watches", LONG, || fs::read(&output).unwrap() == b"ready\n");
}

/// Moves the end of the time for a confirmation into the past, in the newest run's journal.
fn expire(machine: &Machine) {
    let run = machine.path(&format!("state/runs/{}", newest_run(machine)));
    let file = run.join("journal.json");
    let mut journal: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(journal["confirm"]["until"].is_string(), "{journal}");
    journal["confirm"]["until"] = "2001-01-01T00:00:00Z".into();
    fs::write(&file, serde_json::to_vec_pretty(&journal).unwrap()).unwrap();
}

/// The number of the newest run.
pub(super) fn newest_run(machine: &Machine) -> u64 {
    let runs = fs::read_dir(machine.path("state/runs")).unwrap();
    runs.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).max().unwrap_or(0)
}

/// Whether a call concerns the newest run's directory. The calls before that belong to the plan.
fn is_of_run(seen: &TracedPoint, machine: &Machine) -> bool {
    let runs = machine.path("state/runs/");
    seen.point.path.strip_prefix(runs.to_str().unwrap()).is_some_and(|rest| rest.contains('/'))
}

fn keep(machine: &Machine, name: &str) {
    let copy = machine.path(name);
    shell(&format!("rm -rf {0} && mkdir {0} && cp -a state ssh {0}", copy.display()), &machine.path(""));
}

fn put_back(machine: &Machine, name: &str, parts: &[&str]) {
    for part in parts {
        shell(&format!("rm -rf {part} && cp -a {name}/{part} {part}"), &machine.path(""));
    }
}

fn shell(script: &str, directory: &Path) {
    Run::of(Command::new("sh").args(["-ec", script]).current_dir(directory)).ends(0);
}
