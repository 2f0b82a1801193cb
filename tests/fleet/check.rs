//! Checks the simulation against reality: some hundred machines with real keys renew from a real step-ca, which is
//! stopped for a while. They decide by the same functions as in the simulation, and send the requests that `warded
//! renew` sends. The requests in the CA's log are then compared with those of the simulation.
#![expect(clippy::disallowed_methods, reason = "it starts the CA, whose log it reads")]

use crate::{
    event::{Event, START},
    host::{Host, Run},
    schedule::Kind,
    simulation::{Case, Counts, Course},
};
use serde_json::Value;
use ssh_key::{
    PublicKey,
    rand_core::{OsRng, RngCore as _},
};
use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use warded_lib::{
    ca::{
        Certificate, CertificateAuthority as _, HeldKey, IssueRequest, Kind as CertificateKind, Principals,
        attempts::Outcome,
        now,
        step::{Identification, Settings, StepAuthority, x509::X509},
    },
    machine::keys::{generate, signing::SigningKey},
};

const HOSTS: u32 = 300;
/// How long a certificate is valid, in seconds.
const LIFE: u64 = 300;
/// The shipped timer, scaled down from certificates of days to these.
const TIMER: &str = "OnCalendar=*:*:0/15\nRandomizedDelaySec=15\nFixedRandomDelay=yes\n";
/// By how much the log may differ from the simulation, in percent. A short run may differ by more, as far as chance
/// explains it.
const TOLERANCE: f64 = 10.0;

/// Runs the check, with `ca.json`, the root certificate and the provisioner's key in a directory. The exit code is 1 if
/// the simulation is wrong.
pub(crate) fn check(step_ca: PathBuf, directory: PathBuf, seconds: u64) -> ExitCode {
    let case = Case {
        hosts: HOSTS,
        life: LIFE,
        event: Event::Outage(seconds / 10),
        capacity: 230,
        retry_after: None,
        schedule: Kind::Timer(TIMER.to_owned()),
        course: Some(Course { begins: START + seconds * 9 / 20, end: START + seconds, bin: 1 }),
    };
    let simulated = Tally::of_simulation(&case, &case.run());
    let counted = Fleet::new(step_ca, directory).live(&case);
    Tally::print(&simulated, &counted)
}

/// The totals of a fleet, simulated or real.
#[derive(Debug, Default)]
struct Tally {
    renewals_before: u64,
    /// Connections to the CA while it was stopped.
    in_vain: u64,
    renewals_after: u64,
    /// Renewals of certificates that had already expired.
    late: u64,
    requests: u64,
}

/// When the CA is stopped.
fn away(course: Course, event: Event) -> Range<u64> {
    let Event::Outage(seconds) = event else { return 0..0 };
    course.begins..course.begins + seconds
}

impl Tally {
    fn of_simulation(case: &Case, counts: &Counts) -> Self {
        let away = away(case.course(), case.event);
        let sum = |bins: &[u32], seconds: Range<u64>| {
            bins[seconds.start as usize..seconds.end as usize].iter().copied().map(u64::from).sum::<u64>()
        };
        let end = counts.bins.len() as u64;
        let renewals_before = sum(&counts.renewals, 0..away.start);
        let renewals_after = sum(&counts.renewals, away.end..end);
        let late = u64::from(counts.ended);
        // A renewal is two requests: the CA's keys and the certificate. If the old certificate has expired, it also
        // asks for the provisioners.
        let requests = 2 * (renewals_before + renewals_after) + late;
        Self { renewals_before, in_vain: sum(&counts.bins, away), renewals_after, late, requests }
    }

    fn print(simulated: &Self, counted: &Self) -> ExitCode {
        let difference = |simulated: u64, counted: u64| 100.0 * (counted as f64 / simulated as f64 - 1.0);
        println!("| {HOSTS} machines, certificates of {} minutes | simulated | counted | difference |", LIFE / 60);
        println!("|---|---|---|---|");
        for (name, simulated, counted) in [
            ("renewals before the CA was stopped", simulated.renewals_before, counted.renewals_before),
            ("connections to the stopped CA", simulated.in_vain, counted.in_vain),
            ("renewals after it came back", simulated.renewals_after, counted.renewals_after),
            ("of these, of certificates that had ended", simulated.late, counted.late),
            ("requests in the CA's log", simulated.requests, counted.requests),
        ] {
            println!("| {name} | {simulated} | {counted} | {:+.1} % |", difference(simulated, counted));
        }
        // Three standard deviations of the number of independent renewals.
        let chance = 300.0 / ((simulated.renewals_before + simulated.renewals_after) as f64).sqrt();
        let most = TOLERANCE.max(chance);
        let is_close = difference(simulated.requests, counted.requests).abs() <= most;
        if !is_close {
            eprintln!("the requests in the CA's log differ from the simulation by more than {most:.0} %");
        }
        if is_close { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The real machines and their CA.
struct Fleet {
    step_ca: PathBuf,
    directory: PathBuf,
    settings: Settings,
    members: Vec<Mutex<Member>>,
    /// The second of the next run, and the number of the machine that starts it.
    queue: Mutex<BTreeSet<(u64, u32)>>,
    is_away: AtomicBool,
    in_vain: AtomicU64,
    late: AtomicU64,
}

/// A machine.
struct Member {
    host: Host,
    key: SigningKey,
    public: PublicKey,
    certificate: Option<Certificate>,
}

/// The CA's process, which is killed when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().expect("step-ca runs");
        self.0.wait().expect("step-ca ends");
    }
}

impl Fleet {
    fn new(step_ca: PathBuf, directory: PathBuf) -> Self {
        let file =
            |name: &str| directory.join(name).to_str().expect("a path of text").parse().expect("an absolute path");
        let root = fs::read(directory.join("root.crt")).expect("a root");
        let fingerprint = X509::parse(&root).expect("a root").fingerprint();
        let config = fs::read(directory.join("ca.json")).expect("a configuration");
        let config: Value = serde_json::from_slice(&config).expect("JSON");
        let address = config["address"].as_str().expect("an address");
        let url = format!("https://{address}").parse().expect("an address");
        let settings = Settings {
            provisioner: Some("admin".to_owned()),
            provisioner_key_file: Some(file("provisioner.pem")),
            renewal_provisioner: Some("sshpop".to_owned()),
            ..Settings::new(url, fingerprint, file("root.crt"))
        };
        Self {
            step_ca,
            directory,
            settings,
            members: Vec::new(),
            queue: Mutex::default(),
            is_away: AtomicBool::default(),
            in_vain: AtomicU64::default(),
            late: AtomicU64::default(),
        }
    }

    /// Runs the case in real time.
    fn live(mut self, case: &Case) -> Tally {
        let course = case.course();
        let begun = now() + 2;
        let real = |simulated: u64| begun + simulated - START;
        for number in 0..case.hosts {
            let new = generate("ssh-ed25519", "").expect("a key");
            let key = SigningKey::parse(new.private.as_bytes()).expect("a key");
            let host = Host::new(number, &case.schedule, case.event);
            self.members.push(Mutex::new(Member { host, key, public: new.public, certificate: None }));
            let boots = real(Host::boots(number, case.event, case.life));
            self.queue.get_mut().expect("no thread panicked").insert((boots, number));
        }
        let away = away(course, case.event);
        let (away, end) = (real(away.start)..real(away.end), real(course.end));
        let mut server = Some(self.serve());
        let mut before = None;
        // This authority enrols the machines with the provisioner's key. The requests that it makes once do not count
        // as renewals.
        let enrolling = self.authority();
        enrolling.ready(&[]).and_then(|()| enrolling.credential().map(drop)).expect("a CA that enrols");
        let first = self.logged();
        let fleet = &self;
        thread::scope(|scope| {
            while now() < end {
                if away.contains(&now()) {
                    if server.take().is_some() {
                        fleet.is_away.store(true, Ordering::Relaxed);
                        before = Some(fleet.logged());
                    }
                } else if server.is_none() {
                    server = Some(fleet.serve());
                    fleet.is_away.store(false, Ordering::Relaxed);
                }
                for number in fleet.due() {
                    let member = &fleet.members[number as usize];
                    if member.lock().expect("no thread panicked").certificate.is_none() {
                        fleet.enrol(number, &enrolling);
                    } else {
                        scope.spawn(move || fleet.run(number));
                    }
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        drop(server);
        let before = before.expect("the CA was stopped");
        let all = self.logged();
        Tally {
            renewals_before: before.renewals,
            in_vain: self.in_vain.into_inner(),
            renewals_after: all.renewals - before.renewals,
            late: self.late.into_inner(),
            requests: all.requests - first.requests,
        }
    }

    fn serve(&self) -> Server {
        let log = fs::File::options().create(true).append(true).open(self.directory.join("log")).expect("a log");
        let mut command = Command::new(&self.step_ca);
        command.arg(self.directory.join("ca.json")).env("STEPPATH", &self.directory).stdin(Stdio::null());
        let server = Server(command.stdout(Stdio::null()).stderr(log).spawn().expect("step-ca"));
        let authority = self.authority();
        while authority.http().get("/health").is_err() {
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    fn authority(&self) -> StepAuthority {
        StepAuthority::open(&self.settings, &Identification::default()).expect("a CA")
    }

    fn logged(&self) -> Logged {
        Logged::read(&self.directory.join("log"))
    }

    /// The machines whose next run is due.
    fn due(&self) -> Vec<u32> {
        let mut queue = self.queue.lock().expect("no thread panicked");
        let later = queue.split_off(&(now() + 1, 0));
        std::mem::replace(&mut *queue, later).into_iter().map(|(_, number)| number).collect()
    }

    fn enrol(&self, number: u32, authority: &StepAuthority) {
        let mut member = self.members[number as usize].lock().expect("no thread panicked");
        let name = format!("host-{number}.test");
        let principals = Principals::parse(CertificateKind::Host, [&name]).expect("a name");
        let key = member.public.clone();
        let request = IssueRequest { kind: CertificateKind::Host, key, principals, key_id: name };
        match authority.issue(&request) {
            Ok(certificate) => {
                self.received(&mut member, certificate);
                self.queue_again(number, &member.host);
            }
            Err(error) => {
                eprintln!("machine {number} is not enrolled: {error}");
                self.queue.lock().expect("no thread panicked").insert((now() + 1, number));
            }
        }
    }

    /// Does what `warded renew` does when it runs unattended.
    fn run(&self, number: u32) {
        let mut member = self.members[number as usize].lock().expect("no thread panicked");
        let begun = now();
        if let (Run::Asks, Some(current)) = (member.host.run(begun), &member.certificate) {
            let authority = self.authority();
            if !member.host.attempts.may_repeat() {
                authority.ask_once();
            }
            let key = HeldKey { path: Path::new("/nonexistent"), signer: Some(&member.key) };
            match authority.renew(current, key) {
                Ok(certificate) => {
                    if current.valid_before() <= begun {
                        self.late.fetch_add(1, Ordering::Relaxed);
                    }
                    self.received(&mut member, certificate);
                }
                Err(error) => {
                    if self.is_away.load(Ordering::Relaxed) {
                        self.in_vain.fetch_add(u64::from(authority.http().exchanges()), Ordering::Relaxed);
                    } else {
                        eprintln!("machine {number} is not renewed: {error}");
                    }
                    let asked = authority.http().retry_after().map(|after| after.as_secs());
                    member.host.conclude(now(), Outcome::Failed(asked), OsRng.next_u32());
                }
            }
        }
        self.queue_again(number, &member.host);
    }

    fn received(&self, member: &mut Member, certificate: Certificate) {
        member.host.hold(certificate.valid_after(), certificate.valid_before());
        member.host.conclude(now(), Outcome::Succeeded, 0);
        member.certificate = Some(certificate);
    }

    fn queue_again(&self, number: u32, host: &Host) {
        let next = host.next(now(), LIFE);
        self.queue.lock().expect("no thread panicked").insert((next, number));
    }
}

/// The counts of requests in the CA's log.
#[derive(Debug, PartialEq, Eq)]
struct Logged {
    requests: u64,
    renewals: u64,
}

impl Logged {
    fn read(log: &Path) -> Self {
        Self::of(&fs::read_to_string(log).expect("a log"))
    }

    /// Reads a log: a line of JSON for each request, and some other lines. Requests for enrolments are not counted.
    fn of(log: &str) -> Self {
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_of_renewals = |path: &str| path != "/health" && path != "/ssh/sign";
        let asked = |line: &&Value| line["path"].as_str().is_some_and(is_of_renewals);
        let renewed = |line: &&Value| line["path"] == "/ssh/renew" && line["status"] == 201;
        let count = |kind: &dyn Fn(&&Value) -> bool| lines.iter().filter(kind).count() as u64;
        Self { requests: count(&asked), renewals: count(&renewed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_a_log_are_counted() {
        let log = r#"Serving HTTPS on 127.0.0.1:9443 ...
{"level":"info","method":"GET","msg":"","path":"/health","status":200}
{"level":"info","method":"POST","msg":"","path":"/ssh/sign","status":201}
{"level":"info","method":"GET","msg":"","path":"/ssh/roots","status":200}
{"level":"warning","method":"POST","msg":"","path":"/ssh/renew","status":401}
{"level":"info","method":"POST","msg":"","path":"/ssh/renew","status":201}
"#;
        assert_eq!(Logged::of(log), Logged { requests: 3, renewals: 1 });
    }
}
