//! What an apply, a renewal or an undo did, as an object.

use super::CertificateObject;
use crate::{
    broker::session::Message,
    cli::known_hosts,
    pipeline::{RunReport, certify::Refusal},
};
use jiff::Timestamp;
use serde::Serialize;
use warded_lib::{
    change_set::review::Review, guard::client::hosts::ProofMethod, machine::services::ReloadResult,
    transaction::UntouchedFile,
};

/// What an apply, a renewal or an undo did, as an object.
#[derive(Serialize)]
pub(in crate::cli) struct DoneObject<'a> {
    schema: &'static str,
    procedure: &'a str,
    /// The run's number; null if there was nothing to do.
    run: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<&'a Review>,
    certificates: Vec<CertificateObject>,
    /// The known_hosts lines by which clients know this machine.
    known_hosts: Vec<String>,
    reloads: Vec<ReloadObject>,
    served: Vec<String>,
    left_alone: Vec<LeftObject>,
    /// The certificates that the CA refused to a renewal.
    refused: Vec<RefusedObject>,
    /// Users and keys for which nothing was proved, and why.
    not_proved: Vec<String>,
    /// How the host keys were proved; null if none was.
    proved_by: Option<&'static str>,
    /// Whether the proof took the `ssh` program.
    needed_ssh: bool,
    /// The new keys of the CA for which certificates were put off.
    put_off: Vec<String>,
    /// Why Warded could not record that these keys have certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    unrecorded: Option<&'a str>,
    /// Keys that sshd offers but would stop offering if it read its files, so that it was not reloaded.
    former_keys: Vec<String>,
    /// Until when the run has to be confirmed; null if it is kept already.
    confirm_until: Option<Timestamp>,
    /// The unknown program that listens, so that nothing was seen live.
    unknown_listener: Option<String>,
    /// Why nothing was seen live, for this reason or another.
    not_seen_live: Option<String>,
    messages: &'a [Message],
}

/// A certificate that the CA refused.
#[derive(Serialize)]
struct RefusedObject {
    key: String,
    why: String,
}

impl From<&Refusal> for RefusedObject {
    fn from(refusal: &Refusal) -> Self {
        Self { key: refusal.key.to_string(), why: refusal.to_string() }
    }
}

/// A file that was left as it is, because another program has written to it.
#[derive(Serialize)]
pub(in crate::cli) struct LeftObject {
    path: String,
    why: String,
}

impl From<&UntouchedFile> for LeftObject {
    fn from(left: &UntouchedFile) -> Self {
        Self { path: left.path.to_string(), why: left.why.clone() }
    }
}

#[derive(Serialize)]
struct ReloadObject {
    service: String,
    #[serde(flatten)]
    how: ReloadResult,
}

impl<'a> DoneObject<'a> {
    /// The same after these reloads, which make sshd serve the certificates with these serial numbers.
    pub(super) fn reloaded(self, reloads: Vec<(String, ReloadResult)>, served: Vec<String>) -> Self {
        let reloads = reloads.into_iter().map(|(service, how)| ReloadObject { service, how }).collect();
        Self { reloads, served, ..self }
    }

    pub(in crate::cli) fn nothing(schema: &'static str, procedure: &'a str, messages: &'a [Message]) -> Self {
        Self {
            schema,
            procedure,
            run: None,
            review: None,
            certificates: Vec::new(),
            known_hosts: Vec::new(),
            reloads: Vec::new(),
            served: Vec::new(),
            left_alone: Vec::new(),
            refused: Vec::new(),
            not_proved: Vec::new(),
            proved_by: None,
            needed_ssh: false,
            put_off: Vec::new(),
            unrecorded: None,
            former_keys: Vec::new(),
            confirm_until: None,
            unknown_listener: None,
            not_seen_live: None,
            messages,
        }
    }

    pub(in crate::cli) fn new(
        schema: &'static str,
        procedure: &'a str,
        review: &'a Review,
        messages: &'a [Message],
        done: &'a RunReport,
    ) -> Self {
        let reloads =
            done.reloads.iter().map(|(service, how)| ReloadObject { service: service.clone(), how: how.clone() });
        Self {
            schema,
            procedure,
            run: Some(done.run),
            review: Some(review),
            certificates: done.given.certificates.iter().map(CertificateObject::from).collect(),
            known_hosts: known_hosts::of(&done.given.certificates),
            reloads: reloads.collect(),
            served: done.served(),
            left_alone: done.left_alone.iter().map(LeftObject::from).collect(),
            refused: done.given.refused.iter().map(RefusedObject::from).collect(),
            not_proved: done.not_proved().to_vec(),
            proved_by: done.proved_by().map(ProofMethod::as_str),
            needed_ssh: done.needed_ssh(),
            put_off: done.given.put_off.iter().map(|change| change.new.clone()).collect(),
            unrecorded: done.given.unrecorded.as_deref(),
            former_keys: done.former.iter().map(|former| former.key.fingerprint.clone()).collect(),
            confirm_until: done.confirm.as_ref().map(|confirm| confirm.until),
            unknown_listener: done.unknown_listener(),
            not_seen_live: done.not_seen_live(),
            messages,
        }
    }
}
