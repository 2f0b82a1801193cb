//! The days of an enrolled machine, compressed to minutes: its timer renews certificates of 75 seconds (more on a slow
//! machine), and various things happen to the machine. Meanwhile clients log in, and the test compares what `status`
//! says with what they see.

mod asleep;
mod first_keys;
mod overlap;

use super::booted::drop_in;
use crate::support::{
    Booted, ClientKnowledge, Run,
    step_ca::{PASSWORD, Provisioner, Setup, StepCa},
    upgrade,
    wait::{LONG, wait},
};
use serde_json::Value;
use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Host keys by their file's name, each with the algorithm of the key and the algorithm that a client requests for its
/// certificate.
const KINDS: [(&str, &str, &str); 3] = [
    ("rsa", "ssh-rsa", "rsa-sha2-512-cert-v01@openssh.com"),
    ("ecdsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256-cert-v01@openssh.com"),
    ("ed25519", "ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com"),
];
/// The timer that `enrol` wrote suits certificates that last for days.
const OFTEN: &str = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\nRandomizedDelaySec=0\nAccuracySec=100ms\n";

/// At least this many certificates are compared in each situation: one for each key.
const LEAST: usize = KINDS.len();

const FORCED: &str = "apply certify-host --force --yes --set principal=web1.example.org";

/// Which clients must get in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Clients {
    /// Clients that know only the CA, and clients that have pinned a key.
    All,
    /// Only clients that have pinned a key: the certificates may have expired.
    Pinned,
}

/// The certificates on disk, and those that a client sees which knows only the CA: for each type of key the serial
/// number, and whether the client accepts it.
#[derive(Debug, PartialEq, Eq)]
struct MachineView {
    on_disk: Vec<Option<String>>,
    served: Vec<(Option<String>, bool)>,
    change_waits: bool,
    /// What the public status says about the certificates.
    keys: Vec<Value>,
}

/// The result of the samples.
#[derive(Debug, Default)]
struct Samples {
    taken: usize,
    /// How many certificates were compared with `status`: only those for which the looks before and after it agree.
    compared: usize,
    /// How long the slowest sample took. This is the longest time without a look.
    longest: Duration,
    /// For how many of these the time of the renewal was compared as well.
    of_due: usize,
    wrong: Vec<String>,
}

struct Site {
    machine: Booted,
    ca: StepCa,
    /// How long a certificate lives.
    life: Duration,
}

impl Site {
    /// A machine with a CA beside it, which the machine does not know yet.
    fn start() -> Option<Self> {
        Self::of(life, |setup| setup)
    }

    /// The same with this life of certificates, and with a further setup of the CA.
    fn of(life: impl FnOnce(&Booted) -> u64, shape: impl FnOnce(Setup) -> Setup) -> Option<Self> {
        let machine = Booted::start("trixie", "ssh.service")?;
        let seconds = life(&machine);
        let life = format!("{seconds}s");
        let renewer = Provisioner::sshpop("sshpop").lasting(&life).claim("allowRenewalAfterExpiry", true);
        let setup = shape(Setup::of([Provisioner::jwk("admin").lasting(&life), renewer]));
        let mut ca = StepCa::with(&machine.network(), &setup)?;
        ca.reconfigure(|config| config["authority"]["backdate"] = "1s".into());
        let password = machine.file("/root/password");
        fs::write(&password, PASSWORD).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        // Half of each life is left for steps that take long.
        fs::create_dir(machine.file("/etc/warded")).unwrap();
        fs::write(machine.file("/etc/warded/config.toml"), "renew-after = 25\n").unwrap();
        Some(Self { machine, ca, life: Duration::from_secs(seconds) })
    }

    /// Runs Warded on the machine as its administrator.
    fn warded(&self, words: &str) -> Run {
        self.machine.shell(&format!("unset WARDED_CA; umask 077; warded {words}"))
    }

    /// Runs Warded as on the admin's machine: with its own configuration and state.
    fn admin(&self, words: &str) -> Run {
        let own = "WARDED_CONFIG=/root/admin/config.toml WARDED_STATE=/root/admin-state \
                   WARDED_PROVISIONER_PASSWORD_FILE=/root/password";
        self.machine.shell(&format!("unset WARDED_CA; umask 077; mkdir -p /root/admin; {own} warded {words}")).ends(0)
    }

    /// The first day: a code, and an enrolment, which schedules the renewals.
    fn enrols(&self) {
        self.admin(&format!("bootstrap --ca-url {} --fingerprint {}", self.ca.url(), self.ca.fingerprint()));
        self.admin("invite web1.example.org >/root/code");
        self.warded("enrol --yes --code-file - </root/code").ends(0).prints(&["Certified 3 keys"]);
        drop_in(&self.machine, "warded-renew.timer", OFTEN);
        self.renews();
    }

    /// Makes sure that no renewal is running, and that none starts until the timer is started or the machine boots.
    fn rests(&self) {
        self.machine.shell("systemctl stop warded-renew.timer warded-renew.service").ends(0);
    }

    fn renews(&self) {
        self.machine.shell("systemctl restart warded-renew.timer").ends(0);
    }

    /// A client that accepts only a certificate of this type, and knows only the CA. Returns the serial number that it
    /// saw, and whether it got in.
    fn client(&self, algorithm: &str) -> (Option<String>, bool) {
        let knows = ClientKnowledge::Authority(self.ca.authority("host"));
        let run = in_a_moment(|| self.machine.client(&knows).only(algorithm).tries());
        let serial = run.stderr.split_once(" serial ").and_then(|(_, rest)| Some(rest.split_once(' ')?.0.to_owned()));
        (serial, run.code == Some(0))
    }

    fn on_disk(&self, kind: &str) -> Option<String> {
        let file = self.machine.file(&format!("/etc/ssh/ssh_host_{kind}_key-cert.pub"));
        let certificate = ssh_key::Certificate::from_openssh(&fs::read_to_string(file).ok()?).ok()?;
        Some(certificate.serial().to_string())
    }

    fn all_on_disk(&self) -> Vec<Option<String>> {
        KINDS.iter().map(|(kind, ..)| self.on_disk(kind)).collect()
    }

    fn look(&self) -> MachineView {
        let told = fs::read(self.machine.file("/var/lib/warded-status/status.json")).unwrap();
        let told: Value = serde_json::from_slice(&told).unwrap();
        MachineView {
            on_disk: self.all_on_disk(),
            served: thread::scope(|scope| {
                let clients = KINDS.map(|(_, _, algorithm)| scope.spawn(|| self.client(algorithm)));
                clients.map(|client| client.join().unwrap()).into()
            }),
            change_waits: told["change_waits"].as_bool().unwrap(),
            keys: told["keys"].as_array().unwrap().clone(),
        }
    }

    /// Takes one sample: which clients cannot get in, and where `status` is wrong. The view after this sample is the
    /// view before the next one.
    fn sample(&self, clients: Clients, before: &MachineView, samples: &mut Samples) -> MachineView {
        let began = Instant::now();
        let status = self.warded("status --json");
        let after = self.look();
        let Ok(told) = serde_json::from_str::<Value>(&status.stdout) else {
            samples.wrong.push(format!("no status: {status:?}"));
            return after;
        };
        let pinned = fs::read_to_string(self.machine.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        let run = in_a_moment(|| self.machine.client(&ClientKnowledge::Keys(pinned.clone())).tries());
        if run.code != Some(0) {
            samples.wrong.push(format!("a client that pinned a key is out: {}", run.stderr));
        }
        // Clients ask for this type first.
        if clients == Clients::All && !after.served[2].1 {
            samples.wrong.push(format!("a client that knows only the CA is out: {after:?}"));
        }
        if before.change_waits == after.change_waits && before.change_waits == told["unconfirmed"].is_null() {
            samples.wrong.push(format!("everybody is told {}, and root {}", after.change_waits, told["unconfirmed"]));
        }
        for (at, (_, algorithm, _)) in KINDS.iter().enumerate() {
            let (serial, is_accepted) = &after.served[at];
            if before.on_disk[at] != after.on_disk[at] || before.served[at] != after.served[at] {
                continue;
            }
            samples.compared += 1;
            let keys = told["host_keys"].as_array().unwrap();
            let key = keys.iter().find(|key| key["algorithm"] == *algorithm).unwrap();
            // For the same certificate, root and the public status must give the same time of renewal.
            let public = after.keys.iter().find(|public| {
                public["algorithm"] == *algorithm && public["until"] == key["certificate"]["valid_before"]
            });
            if let Some(public) = public
                && public["due"] != key["due"]
            {
                samples.wrong.push(format!("everybody is told {public}, and root {key}"));
            }
            samples.of_due += usize::from(public.is_some());
            // A client that saw no certificate may not have reached any sshd.
            let says_bad = told["healthy"] == false && (serial.is_none() || !key["problem"].is_null());
            let is_true = if *is_accepted { key["served"] == (*serial == after.on_disk[at]) } else { says_bad };
            if !is_true {
                samples.wrong.push(format!("accepted: {is_accepted}, {serial:?}, and status says {key}"));
            }
        }
        samples.taken += 1;
        samples.longest = samples.longest.max(began.elapsed());
        after
    }

    /// Does something while samples are taken, and checks that none of them is wrong.
    #[track_caller]
    fn watched(&self, what: &str, clients: Clients, act: impl FnOnce(&Self)) -> Samples {
        let (over, began) = (AtomicBool::new(false), Instant::now());
        let samples = thread::scope(|scope| {
            let sampler = scope.spawn(|| {
                let (mut samples, mut seen) = (Samples::default(), self.look());
                // A single sample may fall entirely into a renewal.
                while !over.load(Ordering::Relaxed) || (samples.compared < LEAST && samples.taken < 10) {
                    seen = self.sample(clients, &seen, &mut samples);
                    if samples.wrong.len() > 3 {
                        break;
                    }
                }
                samples
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(self)));
            over.store(true, Ordering::Relaxed);
            let samples = sampler.join().unwrap();
            println!("{what}: {:?}, {samples:?}", began.elapsed());
            if done.is_err() || !samples.wrong.is_empty() {
                println!(
                    "{}",
                    self.machine.shell("journalctl --no-pager --unit=warded-renew.service --identifier=warded").stdout
                );
            }
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            samples
        });
        assert!(samples.wrong.is_empty(), "{what}: {:#?}", samples.wrong);
        assert!(samples.compared >= LEAST, "{what}: too little was compared: {samples:?}");
        assert!(samples.longest < self.life / 3, "{what}: too long nothing was looked at: {samples:?}");
        samples
    }

    /// Waits until each certificate has been replaced and is served.
    #[track_caller]
    fn await_renewal(&self) {
        let before = self.all_on_disk();
        let is_renewed = |at: usize, (kind, _, algorithm): &(&str, &str, &str)| {
            let now = self.on_disk(kind);
            now.is_some() && now != before[at] && self.client(algorithm) == (now, true)
        };
        wait("everything is renewed", 3 * LONG + self.life, || {
            thread::sleep(Duration::from_millis(500));
            KINDS.iter().enumerate().all(|(at, kind)| is_renewed(at, kind))
        });
    }
}

/// How many seconds a certificate lives: as `tests/hour` says, otherwise 75 on a machine on which three logins take one
/// second. Half of it has to outlast a reboot while other tests run.
fn life(machine: &Booted) -> u64 {
    if let Ok(seconds) = env::var("WARDED_LIFE") {
        return seconds.parse().unwrap();
    }
    let key = fs::read_to_string(machine.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    let began = Instant::now();
    for _ in 0..3 {
        machine.client(&ClientKnowledge::Keys(key.clone())).connects();
    }
    (began.elapsed().as_secs() * 75).clamp(75, 150)
}

/// Repeats a login: while sshd reads its configuration again, it accepts no connections for a moment.
fn in_a_moment(tries: impl Fn() -> Run) -> Run {
    let passes = |run: &Run| {
        ["Connection refused", "Connection reset", "Connection closed"].iter().any(|word| run.stderr.contains(word))
    };
    for _ in 0..10 {
        let run = tries();
        if run.code == Some(0) || !passes(&run) {
            return run;
        }
        thread::sleep(Duration::from_millis(50));
    }
    tries()
}

#[test]
fn nobody_is_out_and_status_is_true_while_all_of_this_happens() {
    let Some(mut site) = Site::start() else { return };
    site.enrols();
    let samples = site.watched("renewals", Clients::All, Site::await_renewal);
    assert!(samples.of_due > 0, "{samples:?}");
    site.rests();
    site.watched("a key made anew", Clients::All, a_key_is_made_anew);
    site.watched("the new key has no certificate", Clients::All, |_| ());
    site.watched("the new key gets one", Clients::All, the_new_key_is_certified);
    openssh_is_upgraded(&site);
    site.watched("two administrators", Clients::All, two_administrators);
    it_reboots_with_a_waiting_change(&mut site);
    the_ca_is_away(&mut site);
    site.warded("audit verify").ends(0);
}

fn a_key_is_made_anew(site: &Site) {
    let key = "/etc/ssh/ssh_host_ecdsa_key";
    let made = format!("ssh-keygen -q -t ecdsa -N '' -f {key}.new && mv {key}.new.pub {key}.pub && mv {key}.new {key}");
    site.machine.shell(&format!("{made} && systemctl restart ssh.service")).ends(0);
    site.warded("status").ends(4).prints(&["its certificate is for another key", "warded renew"]);
}

fn the_new_key_is_certified(site: &Site) {
    let before = site.on_disk("ecdsa");
    site.renews();
    wait("the new key is certified", LONG, || {
        let now = site.on_disk("ecdsa");
        now != before && site.client(KINDS[1].2) == (now, true)
    });
}

/// Until its units are restarted, no client gets in: OpenSSH's old listener starts the new programs.
fn openssh_is_upgraded(site: &Site) {
    let note = "was proved with 10.0";
    site.rests();
    let Some(()) = upgrade::openssh("sid", &site.machine.file("/")) else { return };
    site.machine.shell("ssh-keygen -A && systemctl restart ssh.service").ends(0);
    site.warded("status").prints(&[note]);
    site.renews();
    site.watched("an upgrade of OpenSSH", Clients::All, Site::await_renewal);
    assert!(!site.warded("status").stdout.contains(note));
}

fn two_administrators(site: &Site) {
    site.admin("token web1.example.org --host --count 3 >/root/tokens");
    let apply = format!("{FORCED} --token-file /root/tokens");
    thread::scope(|scope| {
        let one = scope.spawn(|| site.warded(&apply));
        let other = scope.spawn(|| site.warded("renew --force"));
        let runs = [one.join().unwrap(), other.join().unwrap()];
        // One of them is first. The other then finds nothing left to do, or reports that another run came first.
        assert!(runs.iter().any(|run| run.code == Some(0)), "{runs:?}");
        assert!(runs.iter().all(|run| matches!(run.code, Some(0 | 5))), "{runs:?}");
    });
}

fn it_reboots_with_a_waiting_change(site: &mut Site) {
    site.rests();
    site.admin("token web1.example.org --host --count 3 >/root/tokens");
    site.warded(&format!("{FORCED} --confirm-within 10m --token-file /root/tokens")).ends(0);
    let waiting = site.all_on_disk();
    site.watched("a change waits", Clients::All, |_| ());
    let down = site.machine.reboots();
    assert!(down < Duration::from_secs(5), "it took {down:?} to go down");
    let now = site.all_on_disk();
    assert!(waiting.iter().zip(&now).all(|(waiting, now)| waiting != now), "{now:?}");
    wait("a client gets in", LONG, || site.client(KINDS[2].2).1);
    site.watched("a reboot", Clients::All, Site::await_renewal);
}

fn the_ca_is_away(site: &mut Site) {
    site.ca.stop();
    site.watched("the CA is away", Clients::Pinned, |site| {
        wait("the certificates expire", 3 * LONG + site.life, || {
            thread::sleep(Duration::from_millis(500));
            KINDS.iter().all(|(_, _, algorithm)| !site.client(algorithm).1)
        });
        site.warded("status").ends(4).prints(&["expired"]);
    });
    site.ca.serve();
    // The administrator does not wait for the next attempt of the timer.
    site.warded("renew --force").ends(0);
    site.watched("the CA is back", Clients::All, Site::await_renewal);
}
