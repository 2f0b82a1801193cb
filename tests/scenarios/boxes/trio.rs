//! A step-ca, a server and a laptop, each with a network of its own. The tests begin with no setup, get to logins by
//! name that ask no question, continue through renewals, reboots and a rotation of the CA's keys, and restore what was
//! there before.

use crate::{
    scenarios::{booted::drop_in, schedule::below},
    support::{
        Booted, Run, jwk,
        lan::Lan,
        machine::{Found, keygen},
        missing,
        step_ca::{PASSWORD, Provisioner, Setup, StepCa},
        wait::{LONG, wait},
    },
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

pub(super) const CA: &str = "ca.example.org";
pub(super) const SERVER: &str = "web1.example.org";
/// The person who logs in. Both machines have a user of that name.
const ANN: (u32, &str) = (1500, "/home/ann");
/// The timer that `enrol` writes suits certificates that last for days.
pub(super) const OFTEN: &str = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\nRandomizedDelaySec=0\nAccuracySec=100ms\n";

/// The file with the administrator's password for the CA.
pub(super) const PASSWORD_FILE: &str = "/root/password";

type Files = BTreeMap<PathBuf, Found>;

struct Trio {
    // Dropped in this order: the CA's process runs in the network's namespace.
    ca: StepCa,
    server: Booted,
    laptop: Booted,
    _lan: Lan,
}

/// A step-ca in a network. Its certificates last 160 seconds.
pub(super) fn step_ca(lan: &Lan) -> Option<StepCa> {
    // A renewal has half of a certificate's life, beginning after a quarter of it.
    let renewer = Provisioner::sshpop("sshpop").lasting("160s");
    let mut setup = Setup::of([Provisioner::jwk("admin").lasting("160s"), renewer]);
    setup.names.insert(0, CA.to_owned());
    let mut ca = StepCa::with(&lan.network(), &setup)?;
    ca.reconfigure(|config| {
        let address = config["address"].as_str().unwrap().replace("127.0.0.1", "");
        config["address"] = address.into();
        config["authority"]["backdate"] = "1s".into();
    });
    Some(ca)
}

/// Runs Warded on a machine as its administrator.
pub(super) fn root(machine: &Booted, words: &str) -> Run {
    let password = format!("WARDED_PROVISIONER_PASSWORD_FILE={PASSWORD_FILE}");
    machine.shell(&format!("unset WARDED_CA; umask 077; {password} warded {words}"))
}

impl Trio {
    /// Starts machines that know each other's names, and nothing about the CA.
    fn start() -> Option<Self> {
        if missing::root() {
            return None;
        }
        let (server, laptop) = (Booted::start("trixie", "ssh.service")?, Booted::start("trixie", "ssh.service")?);
        let mut lan = Lan::new();
        let (server_address, _) = (lan.connects(&server), lan.connects(&laptop));
        let ca = step_ca(&lan)?;
        for machine in [&server, &laptop] {
            Lan::names(machine, &[(Lan::HUB, CA), (&server_address, SERVER)]);
            let (id, home) = ANN;
            machine
                .shell(&format!(
                    "echo 'ann:x:{id}:{id}::{home}:/bin/sh' >>/etc/passwd; echo 'ann:x:{id}:' >>/etc/group; \
                     echo 'ann:*:19000:0:99999:7:::' >>/etc/shadow; mkdir -p {home}; \
                     echo '{PASSWORD}' | tee {PASSWORD_FILE} >{home}/password; chmod 600 {PASSWORD_FILE} {home}/password; \
                     chown -R {id}:{id} {home}; mkdir -p /etc/warded; echo 'renew-after = 25' >/etc/warded/config.toml"
                ))
                .ends(0);
        }
        Some(Self { ca, server, laptop, _lan: lan })
    }

    /// Runs a line on the laptop as Ann, with the agent that runs there.
    fn ann(&self, line: &str) -> Run {
        let (id, home) = ANN;
        let variables = format!("SSH_AUTH_SOCK={home}/agent WARDED_PROVISIONER_PASSWORD_FILE={home}/password");
        self.laptop.shell_of(id, home, &format!("cd {home}; export {variables}; {line}"))
    }

    /// Logs in by name, as Ann types it, but in batch mode: nobody is there to answer a question of ssh's.
    fn ssh(&self) -> Run {
        self.ann(&format!("ssh -v -o BatchMode=yes ann@{SERVER} 'echo in as $(id -un)'"))
    }

    #[track_caller]
    fn gets_in(&self) {
        self.ssh()
            .ends(0)
            .prints(&["in as ann"])
            .says(&["Server host certificate: ", "Authenticated to web1.example.org ([10.77.0."]);
    }

    fn logs_in(&self) {
        self.ann("ssh-agent -a $SSH_AUTH_SOCK >/dev/null && warded login ann").ends(0);
    }

    fn trees(&self) -> [Files; 5] {
        let person = ANN.1;
        [(&self.server, "/etc"), (&self.server, person), (&self.laptop, "/etc"), (&self.laptop, person)]
            .map(|(machine, directory)| below(machine, directory))
            .into_iter()
            .chain([below(&self.laptop, "/root/.ssh")])
            .collect::<Vec<_>>()
            .try_into()
            .unwrap()
    }

    fn trusts_hosts(&self) -> usize {
        root(&self.laptop, "apply trust-host-ca --yes --set domain='*.example.org'").ends(0);
        fs::read_to_string(self.laptop.file("/etc/ssh/ssh_known_hosts")).unwrap().lines().count()
    }

    fn trusts_users(&self) -> usize {
        root(&self.server, "apply trust-user-ca --yes --accept-risk=root-by-certificate").ends(0);
        fs::read_to_string(self.server.file("/etc/ssh/warded-user-ca.pub")).unwrap().lines().count()
    }

    /// Follows the guide in its order.
    fn begins(&self) {
        let bootstrap = format!("bootstrap --ca-url {} --fingerprint {}", self.ca.url(), self.ca.fingerprint());
        root(&self.laptop, &bootstrap).ends(0);
        self.ann(&format!("warded {bootstrap}")).ends(0);
        assert_eq!(self.trusts_hosts(), 1);
        let code = root(&self.laptop, &format!("invite {SERVER} 2>/dev/null")).ends(0).stdout;
        fs::write(self.server.file("/root/code"), code).unwrap();
        root(&self.server, "enrol --yes --code-file - </root/code").ends(0).prints(&["Certified 3 keys"]);
        // The client knows the host by its certificate, but the server lets nobody in yet.
        let out = self.ssh().ends(255).says(&["Permission denied"]);
        assert!(out.stderr.contains("Server host certificate: "), "{}", out.stderr);
        assert_eq!(self.trusts_users(), 1);
        self.ssh().ends(255).says(&["Permission denied"]);
        self.logs_in();
        self.gets_in();
        root(&self.laptop, &format!("verify {SERVER}")).ends(0);
        self.ann(&format!("warded verify --login-as ann {SERVER}")).ends(0);
        assert!(!self.server.file("/home/ann/.ssh/authorized_keys").exists());
        assert!(!self.laptop.file("/home/ann/.ssh/known_hosts").exists(), "ssh wrote a host key down");
    }

    /// The serial numbers on disk.
    fn serials(&self) -> BTreeSet<u64> {
        let serial = |kind: &str| {
            let file = self.server.file(&format!("/etc/ssh/ssh_host_{kind}_key-cert.pub"));
            ssh_key::Certificate::from_openssh(&fs::read_to_string(file).unwrap()).unwrap().serial()
        };
        ["rsa", "ecdsa", "ed25519"].map(serial).into()
    }

    /// The timer renews, while somebody logs in again and again.
    fn is_renewed(&self) {
        let before = self.serials();
        wait("the timer renews", 3 * LONG, || {
            thread::sleep(std::time::Duration::from_millis(500));
            self.serials().is_disjoint(&before)
        });
        wait("the renewal is over", LONG, || {
            self.server.shell("systemctl is-active --quiet warded-renew.service").code != Some(0)
        });
    }

    /// Does something, while Ann logs in again and again. She must get in every time.
    #[track_caller]
    fn during<T>(&self, what: &str, act: impl FnOnce(&Self) -> T) -> T {
        let (over, tried, out) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
        let done = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) || tried.load(Ordering::Relaxed) < 2 {
                    let mut run = self.ssh();
                    // While sshd reads its configuration again, it accepts no connections for a moment.
                    for _ in 0..10 {
                        let passes = ["Connection refused", "Connection reset", "Connection closed"];
                        if run.code == Some(0) || !passes.iter().any(|word| run.stderr.contains(word)) {
                            break;
                        }
                        thread::sleep(std::time::Duration::from_millis(50));
                        run = self.ssh();
                    }
                    if run.code != Some(0) {
                        out.lock().unwrap().push(run.stderr);
                    }
                    tried.fetch_add(1, Ordering::Relaxed);
                }
            });
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(self)));
            over.store(true, Ordering::Relaxed);
            done
        });
        let out = out.into_inner().unwrap();
        println!("{what}: {} logins", tried.into_inner());
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(out.is_empty(), "{what}: {}", self.told(&out));
        done
    }

    /// Why Ann did not get in: the output of the first failed login, the CA's keys, and what each machine has done.
    fn told(&self, out: &[String]) -> String {
        let keys = ["host_ca.pub", "former_host_ca.pub"]
            .map(|name| fs::read_to_string(self.ca.path(name)).unwrap_or_default());
        let known = fs::read_to_string(self.laptop.file("/etc/ssh/ssh_known_hosts")).unwrap_or_default();
        let log = |machine: &Booted| root(machine, "audit log --last 12").stdout;
        let (server, laptop, status) = (log(&self.server), log(&self.laptop), root(&self.server, "status").stdout);
        format!("{} times: {}\n{keys:#?}\n{known}\n{server}\n{status}\n{laptop}", out.len(), out[0])
    }

    /// Makes the CA list further keys beside those that it signs with.
    fn lists(&mut self, keys: &[(&str, &str)]) {
        let keys: Vec<Value> = keys
            .iter()
            .map(|(kind, key)| json!({ "type": kind, "federated": false, "key": jwk::public_of(key) }))
            .collect();
        self.ca.reconfigure(|config| config["ssh"]["keys"] = keys.into());
    }

    /// Rotates the CA's keys, the one for hosts and the one for users, each with an overlap.
    fn exchanges_the_keys_of_the_ca(&mut self) {
        let kinds = ["host", "user"];
        let former = kinds.map(|kind| self.ca.authority(kind));
        for kind in kinds {
            keygen(&["-q", "-N", "", "-C", "", "-t", "ecdsa", "-f"], &self.ca.path(&format!("next_{kind}_ca")));
        }
        let next = kinds.map(|kind| fs::read_to_string(self.ca.path(&format!("next_{kind}_ca.pub"))).unwrap());
        self.lists(&[("host", &next[0]), ("user", &next[1])]);
        self.during("both keys are listed", |trio| {
            assert_eq!((trio.trusts_hosts(), trio.trusts_users()), (2, 2));
        });
        for name in ["host_ca", "host_ca.pub", "user_ca", "user_ca.pub"] {
            fs::rename(self.ca.path(name), self.ca.path(&format!("former_{name}"))).unwrap();
            fs::rename(self.ca.path(&format!("next_{name}")), self.ca.path(name)).unwrap();
        }
        self.lists(&[("host", &former[0]), ("user", &former[1])]);
        self.during("the next ones sign", |trio| {
            root(&trio.server, "renew --force --accept-risk=new-ca-key").ends(0);
            trio.ann("warded login ann --force").ends(0);
            assert_eq!((trio.trusts_hosts(), trio.trusts_users()), (2, 2));
        });
        self.lists(&[]);
        self.during("the former ones are gone", |trio| {
            assert_eq!((trio.trusts_hosts(), trio.trusts_users()), (1, 1));
        });
        let known = fs::read_to_string(self.laptop.file("/etc/ssh/ssh_known_hosts")).unwrap();
        assert!(known.contains(next[0].split(' ').nth(1).unwrap().trim()), "{known}");
    }

    fn reboots(&mut self) {
        self.server.reboots();
        self.gets_in();
        // Ann's agent ends with the reboot.
        self.laptop.reboots();
        self.ann("rm agent").ends(0);
        self.ssh().ends(255).says(&["Permission denied"]);
        self.logs_in();
        self.gets_in();
    }

    fn leaves(&self) {
        self.server.shell("rm -r /etc/systemd/system/*.d; systemctl daemon-reload").ends(0);
        root(&self.server, "remove --yes").ends(0);
        self.ssh().ends(255);
        self.ann("warded logout && ssh-add -l").ends(1).prints(&["The agent has no identities."]);
        self.ann("ssh-agent -k >/dev/null; pkill -u ann ssh-agent; rm -f agent; warded remove --yes").ends(0);
        root(&self.laptop, "remove --yes").ends(0);
    }
}

#[test]
fn a_server_and_a_laptop_live_by_one_ca() {
    let Some(mut trio) = Trio::start() else { return };
    let before = trio.trees();
    trio.begins();
    drop_in(&trio.server, "warded-renew.timer", OFTEN);
    trio.server.shell("systemctl restart warded-renew.timer").ends(0);
    trio.during("the timer renews", Trio::is_renewed);
    trio.reboots();
    trio.during("renewals after a boot", Trio::is_renewed);
    // The timer must not interfere from here on.
    trio.server.shell("systemctl stop warded-renew.timer warded-renew.service").ends(0);
    trio.exchanges_the_keys_of_the_ca();
    trio.leaves();
    let after = trio.trees();
    // The CA that was named, its root, and the log stay: the page says how to remove them.
    let own = ["warded", ".config/warded", ".local/state/warded"];
    for (before, after) in before.iter().zip(&after) {
        let differ = before.keys().chain(after.keys()).filter(|path| before.get(*path) != after.get(*path));
        let left: Vec<&PathBuf> = differ.filter(|path| !own.iter().any(|own| path.starts_with(own))).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
