//! A machine that was off for longer than its certificates last, and one whose CA has no address when the machine
//! starts.

use super::{KINDS, Site};
use crate::{
    scenarios::booted::{drop_in, property},
    support::{
        ClientKnowledge,
        wait::{LONG, wait},
    },
};
use std::{fs, thread, time::Duration};

/// Runs at once what was missed; everything else is as `enrol` wrote it.
const AT_ONCE: &str = "[Timer]\nRandomizedDelaySec=0\nAccuracySec=100ms\n";
const STAMP: &str = "/var/lib/systemd/timers/stamp-warded-renew.timer";
const NAME: &str = "ca.lab.test";

impl Site {
    fn named() -> Option<Self> {
        let site = Self::of(
            |_| 24 * 3600,
            |mut setup| {
                setup.names.insert(0, NAME.to_owned());
                setup
            },
        )?;
        site.knows_the_ca();
        site.admin(&format!("bootstrap --ca-url {} --fingerprint {}", site.ca.url(), site.ca.fingerprint()));
        site.admin("invite web1.example.org >/root/code");
        site.warded("enrol --yes --code-file - </root/code").ends(0).prints(&["Certified 3 keys"]);
        drop_in(&site.machine, "warded-renew.timer", AT_ONCE);
        Some(site)
    }

    fn knows_the_ca(&self) {
        fs::write(self.machine.file("/etc/hosts"), format!("127.0.0.1 localhost {NAME}\n")).unwrap();
    }

    /// Makes its certificates and its timer's last run appear weeks old.
    fn sleeps(&mut self) {
        self.rests();
        for (kind, ..) in KINDS {
            let key = self.machine.file(&format!("/etc/ssh/ssh_host_{kind}_key.pub"));
            let sign = ["-q", "-h", "-I", "web1.example.org", "-n", "web1.example.org", "-V", "-70d:-40d", "-s"];
            let authority = self.ca.path("host_ca");
            let words = [&sign[..], &[authority.to_str().unwrap()]].concat();
            crate::support::machine::keygen(&words, &key);
        }
        self.machine.shell(&format!("touch -d '40 days ago' {STAMP}; sync")).ends(0);
        self.machine.loses_power();
    }

    fn renewals(&self) -> usize {
        self.ca.log().matches("\"/ssh/renew\"").count()
    }

    fn is_served(&self) -> bool {
        KINDS.iter().all(|(kind, _, algorithm)| self.client(algorithm) == (self.on_disk(kind), true))
    }

    fn is_over(&self) -> bool {
        self.machine.shell("systemctl is-active --quiet warded-renew.service").code != Some(0)
    }
}

#[test]
fn forty_days_asleep_is_one_renewal() {
    let Some(mut site) = Site::named() else { return };
    let before = site.renewals();
    site.sleeps();
    wait("what expired is renewed", 3 * LONG, || {
        thread::sleep(Duration::from_millis(500));
        site.renewals() > before && site.is_over() && site.is_served()
    });
    assert_eq!(property(&site.machine, "Result", "warded-renew.service"), "success");
    assert_eq!(site.renewals() - before, KINDS.len(), "one renewal of each");
    site.warded("status").ends(0);
}

/// The network came up late: nothing is lost, and nobody has to intervene.
#[test]
fn a_ca_without_an_address_at_boot_is_asked_at_the_next_run() {
    let Some(mut site) = Site::named() else { return };
    fs::write(site.machine.file("/etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let before = site.renewals();
    site.sleeps();
    let status = || property(&site.machine, "ExecMainStatus", "warded-renew.service");
    wait("the renewal fails", 3 * LONG, || site.is_over() && status() == "6");
    let journal = site.machine.shell("journalctl --no-pager --boot --output=cat --unit=warded-renew.service").stdout;
    assert_eq!(journal.lines().filter(|line| line.contains(NAME)).count(), 1, "{journal}");
    let pinned = fs::read_to_string(site.machine.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    site.machine.client(&ClientKnowledge::Keys(pinned)).connects();
    assert_eq!(site.renewals(), before);

    site.knows_the_ca();
    wait("the next run renews", 3 * LONG, || {
        site.machine.shell("systemctl start warded-renew.service");
        thread::sleep(Duration::from_secs(1));
        site.is_served()
    });
    site.warded("status").ends(0);
}
