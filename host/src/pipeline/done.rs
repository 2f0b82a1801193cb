//! What a run did that was carried out, and what a person wants to know of it.

use super::{Reloads, certify::IssuedCertificates};
use jiff::Timestamp;
use std::time::Duration;
use warded_lib::{
    ca::{Certificate, rotation},
    error::{Error, Exit},
    guard::{Certificates, FormerKey, LiveReport, Proof, client::hosts::ProofMethod, known_hosts::Proof as KnownHosts},
    machine::{path::AbsolutePath, services::ReloadResult, sshd::UnknownListener},
    moment::distance,
    text::count,
    transaction::{Confirm, UntouchedFile},
};

/// The report on a run that was carried out.
#[derive(Debug)]
pub struct RunReport {
    /// The run's number; `warded undo` undoes the newest run.
    pub run: u64,
    /// The certificates that the CA issued.
    pub given: IssuedCertificates,
    /// The files that were planned, and left for another run.
    pub withdrawn: Vec<AbsolutePath>,
    /// What was proved before any file changed; `None` if there is no sshd, or the run does not concern it.
    pub proof: Option<Proof>,
    /// What was proved of ssh's known_hosts files.
    pub known_hosts: Vec<KnownHosts>,
    /// What sshd was seen to serve afterwards; `None` if there is no sshd.
    pub verified: Option<LiveReport>,
    /// The unknown program that listens in sshd's place, if any; then nothing was seen live.
    pub unknown: Option<UnknownListener>,
    /// Why sshd could not be asked; then nothing was seen live.
    pub unseen: Option<Error>,
    /// How each service was reloaded.
    pub reloads: Reloads,
    /// The main configuration files of the other sshds that read what has changed.
    pub bystanders: Vec<AbsolutePath>,
    /// The reasons why some of them could not be examined, one sentence each.
    pub unwatched: Vec<String>,
    /// Keys that an sshd offers but would stop offering if it read its files, so that it was not reloaded.
    pub former: Vec<FormerKey>,
    /// Files that could not be tidied up, because another program has written to them.
    pub left_alone: Vec<UntouchedFile>,
    /// Until when the operator has to confirm the run; `None` if it is kept already.
    pub confirm: Option<Confirm>,
}

impl RunReport {
    /// How the host keys were proved, if any were.
    #[must_use]
    pub fn proved_by(&self) -> Option<ProofMethod> {
        let proof = self.proof.as_ref()?;
        (!proof.keys.is_empty() || !proof.certificates.is_empty()).then_some(proof.way)
    }

    /// Whether the proof took the `ssh` program, because sshd allows no algorithm that Warded itself speaks.
    #[must_use]
    pub fn needed_ssh(&self) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.by_program)
    }

    /// How the change was proved, for a person who wants to know more.
    #[must_use]
    pub fn ways_of_proof(&self) -> Option<String> {
        let way = match self.proved_by()? {
            ProofMethod::Session => "in one session with a private copy of sshd",
            ProofMethod::Connections => "by a connection to a private copy of sshd for each host key",
        };
        let program =
            if self.needed_ssh() { ", made by `ssh`: sshd allows no algorithms that Warded supports" } else { "" };
        Some(format!("proved {way}{program}"))
    }

    /// What a person wants to know of the run.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(certificate) = self.given.certificates.first() {
            let names = certificate.principals().join(" ");
            lines.push(format!("Certified {} for {names}.", count(self.given.certificates.len(), "key")));
        } else {
            lines.push("Done.".to_owned());
        }
        if let Some(proof) = &self.proof {
            let mut proved = Vec::new();
            if !proof.keys.is_empty() {
                proved.push(format!("clients that pinned a plain key ({}) get in", proof.keys.join(", ")));
            }
            if !proof.certificates.is_empty() {
                let mut signers: Vec<String> =
                    self.given.certificates.iter().map(Certificate::signer_fingerprint).collect();
                signers.dedup();
                proved.push(format!("clients that know only the CA ({}) get in", signers.join(", ")));
            }
            if !proof.logins.is_empty() {
                proved.push(format!("{} can log in", proof.logins.join(", ")));
            }
            if !proved.is_empty() {
                lines.push(format!("Proved beforehand: {}.", proved.join(", ")));
            }
            lines.extend(users(&proof.users, "lets", "Proved beforehand: "));
            lines.extend(self.not_proved_lines());
        }
        lines.extend(self.known_hosts.iter().map(|proof| format!("Proved beforehand: {proof}.")));
        match &self.verified {
            Some(verified) if verified.live && !verified.certificates.is_empty() => {
                lines.push(format!(
                    "Seen live: {} served, the plain keys still offered.",
                    count(verified.certificates.len(), "certificate")
                ));
            }
            Some(verified) if verified.live => {
                lines.push("Seen live: the plain keys are offered as before.".to_owned());
            }
            Some(_) if let Some(why) = self.not_seen_live() => lines.push(format!("Not seen live: {why}.")),
            Some(_) => lines.push("No sshd is listening now: the next one to start serves this.".to_owned()),
            None if self.known_hosts.is_empty() => {
                lines.push("There is no sshd on this machine, so nothing was proved.".to_owned());
            }
            None => {}
        }
        lines.extend(self.told_beside());
        lines.extend(self.remarks());
        lines.extend(self.confirm_lines());
        lines
    }

    /// What is unusual about the certificates, one sentence each: those on another key's word, those that are missing,
    /// and those that a new key of the CA signed.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.given.vouched.clone();
        remarks.extend(self.given.refused.iter().map(ToString::to_string));
        let next = rotation::NEXT;
        remarks.extend(self.given.accepted.iter().map(|change| {
            format!("Clients that know only the CA's former key, {}, do not accept this; {next}", change.former)
        }));
        remarks.extend(self.given.put_off.iter().map(|change| format!("Put off: {change}; {next}")));
        remarks.extend(self.given.unrecorded.clone());
        remarks
    }

    /// The remarks, and what was not seen afterwards, for a reader who does not read the rest.
    #[must_use]
    pub fn reservations(&self) -> Vec<String> {
        let unwatched = self.unwatched.iter().map(|what| format!("Attention: {what}."));
        let not_seen = self.not_seen_live().map(|why| format!("Not seen live: {why}."));
        let former = self.former.iter().map(not_reloaded);
        self.remarks().into_iter().chain(unwatched).chain(former).chain(not_seen).collect()
    }

    /// The users and keys of which nothing was proved, and why.
    #[must_use]
    pub fn not_proved(&self) -> &[String] {
        self.proof.as_ref().map_or(&[], |proof| &proof.not_proved)
    }

    /// The same as one line each.
    pub fn not_proved_lines(&self) -> impl Iterator<Item = String> {
        self.not_proved().iter().map(|what| format!("Not proved: {what}."))
    }

    /// Remarks on services that were not started, on the other sshds that read the changed files, and on an sshd that
    /// was not reloaded.
    #[must_use]
    pub fn told_beside(&self) -> Vec<String> {
        let told = self.bystanders.iter();
        let told = not_started(&self.reloads)
            .chain(told.map(|config| format!("The sshd of {config} reads these files, too; it was proved as well.")));
        let told = told.chain(self.unwatched.iter().map(|what| format!("Attention: {what}.")));
        told.chain(self.former.iter().map(not_reloaded)).collect()
    }

    /// What a person has to do to keep the change, if it has to be confirmed.
    #[must_use]
    pub fn confirm_lines(&self) -> Vec<String> {
        let Some(confirm) = &self.confirm else { return Vec::new() };
        let left = confirm.until.duration_since(Timestamp::now()).unsigned_abs() + Duration::from_millis(500);
        vec![
            format!(
                "Not final yet. Log in to this machine again and run `warded confirm` there within {} (by {}).",
                distance(left),
                confirm.until.strftime("%T UTC")
            ),
            format!("Otherwise run {} is rolled back automatically.", self.run),
        ]
    }

    /// How the run ended: `Degraded` if the served certificates are not known, if certificates of the CA's new key are
    /// put off, or if something could not be recorded that a later run needs.
    #[must_use]
    pub fn exit(&self) -> Exit {
        let has_new_signer = !self.given.put_off.is_empty();
        let is_in_doubt =
            self.not_seen_live().is_some() || !self.unwatched.is_empty() || self.given.unrecorded.is_some();
        if is_in_doubt || !self.former.is_empty() || has_new_signer || !self.given.refused.is_empty() {
            Exit::Degraded
        } else {
            Exit::Done
        }
    }

    /// The unknown listener, in words.
    #[must_use]
    pub fn unknown_listener(&self) -> Option<String> {
        self.unknown.as_ref().map(ToString::to_string)
    }

    /// Why nothing was seen live, in words.
    #[must_use]
    pub fn not_seen_live(&self) -> Option<String> {
        self.unknown_listener().or_else(|| Some(self.unseen.as_ref()?.message().to_owned()))
    }

    /// The serial numbers that were seen live, as text: JSON's numbers are not exact above 2^53.
    #[must_use]
    pub fn served(&self) -> Vec<String> {
        self.verified.iter().flat_map(|verified| &verified.certificates).map(ToString::to_string).collect()
    }
}

/// The services that the run tried to restart and that do not run, one sentence each.
fn not_started(reloads: &Reloads) -> impl Iterator<Item = String> {
    reloads.iter().filter(|(_, how)| matches!(how, ReloadResult::LeftStopped { .. })).map(|(_, how)| format!("{how}."))
}

/// Why sshd was not reloaded, in a sentence or two.
#[must_use]
pub(crate) fn not_reloaded(former: &FormerKey) -> String {
    format!(
        "Not reloaded: {former}. Clients that know only that key would be refused, so the certificates on disk are not \
         served yet. Next, {}.",
        former.next()
    )
}

/// What was found out about logins by certificates of a CA that sshd does not trust yet. `lets` is the verb to use.
#[must_use]
pub fn users(found: &Certificates, lets: &str, label: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if !found.taken.is_empty() {
        lines.push(format!("{label}by certificates of this CA sshd {lets} in {}.", found.taken.join(", ")));
    }
    if let Some(user) = &found.logged_in {
        lines.push(format!(
            "{label}{user} logged in by a certificate of a temporary CA in place of this one, and not by one of \
             another CA."
        ));
    }
    lines.extend(found.refused.iter().map(|why| format!("Not let in by a certificate: {why}.")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_does_not_run_is_told() {
        let unit = || "app.service".to_owned();
        for (how, expected) in [
            (ReloadResult::LeftStopped { name: "app".to_owned() }, Some("app does not run, and is not started.")),
            (ReloadResult::Anew { unit: unit() }, None),
            (ReloadResult::Unit { unit: unit() }, None),
            (ReloadResult::NotRunning, None),
        ] {
            let reloads = vec![("app".to_owned(), how)];
            assert_eq!(not_started(&reloads).next().as_deref(), expected);
        }
    }
}
