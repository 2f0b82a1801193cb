//! After certification: the machine reboots, an upgrade takes Warded's lines or its state, and a power cut interrupts a
//! run. Whether an upgrade keeps a file that no package owns is not known of every release, so both are tested.

use super::{Bsd, CERTIFY, FreeBsd, OpnSense, PfSense, System, TRUST, generate};
use crate::support::Run;
use std::fs;

const ALL: [System; 3] = [FreeBsd, OpnSense, PfSense];

/// A machine that is certified, that takes users' certificates, and that renews by cron.
fn certified(system: System) -> Option<Bsd> {
    let machine = Bsd::start(system, None)?;
    machine.peer.starts_cron();
    machine.warded(&CERTIFY).ends(0);
    machine.warded(&TRUST).ends(0);
    machine.is_well();
    Some(machine)
}

impl Bsd {
    fn sh(&self, script: &str) {
        Run::of(self.peer.command("sh").args(["-ec", script])).ends(0);
    }

    /// Starts sshd as the system does: OPNsense and pfSense generate its configuration each time.
    fn starts_sshd(&self) {
        if self.system != FreeBsd {
            generate(&self.peer, self.system);
        }
        self.serves();
    }

    /// Checks that every client that should gets in, and that `status` finds nothing wrong.
    #[track_caller]
    fn is_well(&self) {
        self.lets_in(true);
        self.lets_in_by_certificate(true);
        self.is_as_generated();
        self.warded(&["status"]).ends(0).prints(&["problems     none"]);
    }

    /// Removes what an upgrade may remove: FreeBSD's takes the vendor's configuration where the two cannot be merged.
    fn loses_its_lines(&self) {
        match self.system {
            FreeBsd => fs::write(self.peer.file(self.system.config()), self.system.text()).unwrap(),
            OpnSense => self.sh("rm -r /usr/local/etc/ssh; mkdir -p /usr/local/etc/ssh/sshd_config.d"),
            PfSense => fs::remove_file(self.peer.file("/etc/sshd_extra")).unwrap(),
        }
    }
}

#[test]
fn a_reboot_changes_nothing() {
    for system in ALL {
        let Some(machine) = certified(system) else { return };
        let before = machine.tree();
        machine.peer.loses_power();
        machine.warded(&["recover"]).ends(0).prints(&["Nothing was interrupted."]);
        machine.starts_sshd();
        machine.peer.starts_cron();
        machine.is_well();
        assert_eq!(machine.tree(), before);
        machine.warded(&["renew", "--force"]).ends(0);
        machine.is_well();
    }
}

#[test]
fn an_upgrade_that_takes_the_lines_is_told_and_mended() {
    for system in ALL {
        let Some(machine) = certified(system) else { return };
        machine.peer.loses_power();
        machine.loses_its_lines();
        machine.starts_sshd();
        machine.peer.starts_cron();
        machine.lets_in(false);
        machine.lets_in_by_certificate(false);
        let list = if system == OpnSense { "warded-user-ca.pub, which is gone, too" } else { "warded-user-ca.pub" };
        machine.warded(&["status"]).ends(4).prints(&[
            "ssh_host_ed25519_key: no HostCertificate line of sshd's configuration names its certificate",
            "warded apply certify-host puts its line back",
            &format!("{list}: nobody logs in by a certificate; warded apply trust-user-ca puts it back"),
        ]);
        machine.warded(&["renew"]).ends(4).prints(&["To put back what is missing: warded apply certify-host"]);
        machine.warded(&["renew", "--force"]).ends(5).says(&["warded apply certify-host puts its line back"]);
        machine.warded(&CERTIFY).ends(0);
        machine.lets_in(true);
        machine.warded(&["status"]).ends(4).prints(&["no TrustedUserCAKeys line"]);
        machine.warded(&TRUST).ends(0);
        machine.is_well();
        machine.warded(&["renew", "--force"]).ends(0);
        machine.is_well();
    }
}

/// pfSense appends the file at its next start; until then sshd has the lines.
#[test]
fn lines_that_would_be_lost_at_the_next_start_are_told_before() {
    let Some(machine) = certified(PfSense) else { return };
    let before = machine.tree();
    machine.loses_its_lines();
    const COPY: &str = "sed -n '/^# BEGIN warded/,/^# END warded/p' /etc/ssh/sshd_config >>/etc/sshd_extra";
    let told = format!("the lines that run 2 left in /etc/sshd_extra are gone; put them back: {COPY}");
    machine.warded(&["status"]).ends(4).prints(&[&told]);
    machine.warded(&CERTIFY).ends(1).says(&["stale-configuration"]);
    machine.peer.shell_beside(COPY).ends(0);
    assert_eq!(machine.tree(), before);
    machine.is_well();
}

#[test]
fn an_upgrade_that_takes_wardeds_state_is_told_and_mended() {
    for system in ALL {
        let Some(machine) = certified(system) else { return };
        let before = machine.tree();
        machine.peer.loses_power();
        machine.sh("rm -r /var/lib/warded /etc/warded /etc/cron.d/warded-renew");
        machine.starts_sshd();
        machine.peer.starts_cron();
        machine.lets_in(true);
        machine.lets_in_by_certificate(true);
        machine.warded(&["status"]).ends(4).prints(&[
            "enrolled     no: warded apply certify-host --set principal=NAME",
            "this machine is not enrolled: nothing renews it",
        ]);
        machine.warded(&["renew"]).ends(2).says(&["warded apply certify-host --set principal=NAME"]);
        machine.peer.adds_policy("bsd");
        machine.warded(&CERTIFY).ends(0);
        machine.is_well();
        assert_eq!(machine.tree(), before);
        machine.warded(&["renew", "--force"]).ends(0);
        machine.is_well();
    }
}

/// No record covers the lines. A person who sees them in the plan accepts that they go.
#[test]
fn without_records_the_lines_go_on_request() {
    let words = ["apply", "remove", "--yes", "--accept-risk=lose-ssh"];
    let next = "--accept-risk=unrecorded-lines";
    for system in ALL {
        let Some(machine) = Bsd::start(system, None) else { return };
        machine.peer.starts_cron();
        let before = machine.tree();
        machine.warded(&CERTIFY).ends(0);
        machine.warded(&TRUST).ends(0);
        machine.sh("rm -r /var/lib/warded /etc/warded /etc/cron.d/warded-renew");
        // Without the policy, too, it is told that the lines are there.
        machine.warded(&["remove", "--yes"]).ends(4).prints(&["no record of a run covers them", "warded policy add"]);
        machine.peer.adds_policy("bsd");
        machine.warded(&CERTIFY).ends(0);
        // There is a run again, which made only the schedule.
        machine.warded(&["remove", "--plan"]).ends(3).prints(&[
            "no record of a run covers",
            "warded apply remove",
            next,
        ]);
        let certified = machine.tree();
        machine.warded(&words).ends(5).says(&["which Warded did not write", next]);
        assert_eq!(machine.tree(), certified);
        machine.warded(&[&words[..], &[next]].concat()).ends(0);
        assert_eq!(machine.tree(), before, "{system:?}");
        machine.warded(&["remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
        assert_eq!(machine.tree(), before, "{system:?}, what was taken out stays out");
        machine.lets_in(false);
    }
}

/// sshd starts with the run's lines, or without them where an upgrade has taken them meanwhile, and the recovery comes
/// later.
#[test]
fn a_run_that_a_power_cut_interrupts_is_recovered_after_the_reboot() {
    const UNCONFIRMED: [&str; 2] = ["--confirm-within", "10m"];
    for (system, is_upgraded) in ALL.into_iter().flat_map(|system| [(system, false), (system, true)]) {
        let Some(machine) = Bsd::start(system, None) else { return };
        let before = machine.tree();
        machine.warded(&[&CERTIFY[..], &UNCONFIRMED].concat()).ends(0);
        machine.peer.loses_power();
        if is_upgraded {
            machine.loses_its_lines();
        }
        machine.starts_sshd();
        machine.lets_in(!is_upgraded);
        machine.warded(&["status"]).ends(4).prints(&["was interrupted; `warded recover`"]);
        machine.warded(&["recover"]).ends(0).prints(&["had been interrupted; it was rolled back"]);
        assert_eq!(machine.tree(), before, "{system:?}, upgraded: {is_upgraded}");
        machine.lets_in(false);
        machine.is_as_generated();
        machine.warded(&CERTIFY).ends(0);
        machine.lets_in(true);
    }
}
