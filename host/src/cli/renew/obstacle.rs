//! What prevents a machine from being renewed: nobody accepted its policy, or an sshd is gone or was never enrolled.

use crate::{
    components,
    context::Context,
    enrolment::{Enrolment, Enrolments, Standing},
    sandbox::granting::BoundPolicy,
};
use std::fmt::Display;
use warded_lib::{
    error::{Error, Result},
    machine::{path::AbsolutePath, sshd},
    name::Name,
    policy::file::Procedure,
};

pub(super) fn not_enrolled(sshd: &AbsolutePath, enrolments: &Enrolments) -> Error {
    let others: Vec<&str> = enrolments.iter().map(|enrolment| enrolment.sshd_config.as_str()).collect();
    if others.is_empty() {
        return Error::usage("this machine is not enrolled, so there is nothing to renew")
            .next("warded apply certify-host --set principal=NAME");
    }
    Error::usage(format!("the sshd of {sshd} is not enrolled, so there is nothing to renew"))
        .seen(format!("enrolled: {}", others.join(", ")))
        .next(format!("warded --sshd-config {sshd} apply certify-host --set principal=NAME"))
}

/// Whether the configuration of an enrolled sshd is gone. The default one may be missing on a machine without an sshd.
pub(in crate::cli) fn is_gone(enrolment: &Enrolment) -> bool {
    let config = &enrolment.sshd_config;
    config.as_str() != sshd::default_config() && !config.as_path().exists()
}

pub(in crate::cli) fn gone(enrolment: &Enrolment) -> String {
    format!("{} is gone: the certificates of that sshd are not renewed", enrolment.sshd_config)
}

pub(in crate::cli) fn gone_next(enrolment: &Enrolment) -> String {
    let config = &enrolment.sshd_config;
    format!("put it back; or, if that sshd is not used any more: warded --sshd-config {config} unenrol")
}

/// The command with which a person enrols the machine again, with a policy that nobody accepted.
pub(in crate::cli) fn accept(context: &Context, enrolment: &Enrolment, granting: &BoundPolicy) -> String {
    let enrols = |(name, procedure): (&Name, &Procedure)| {
        procedure.renewal.as_ref().filter(|renewal| **renewal == enrolment.procedure).map(|_| name.to_string())
    };
    let Some(procedure) = granting.policy.procedures.iter().find_map(enrols) else {
        return format!(
            "policy {} no longer has a procedure whose certificates {} renews",
            enrolment.policy, enrolment.procedure
        );
    };
    let all = context.policies().unwrap_or_default();
    let is_chosen = components::choose(&all, &procedure, None, &context.facts)
        .is_ok_and(|chosen| chosen.policy.name == granting.policy.name);
    let policy = if is_chosen { String::new() } else { format!(" --policy {}", granting.policy.name) };
    format!("warded apply {procedure}{policy}: it shows what the new one does, and asks")
}

/// The policy that the machine renews with: the one that was accepted at its enrolment, or its successor in a newer
/// binary; for this sshd and this CA.
pub(super) fn enrolled(context: &Context, enrolment: &Enrolment) -> Result<BoundPolicy> {
    let granting = components::find(&context.policies, &enrolment.policy)?;
    match obstacle(context, enrolment, &granting) {
        None => Ok(granting),
        Some(Obstacle { message, cause }) => {
            let next = accept(context, enrolment, &granting);
            Err(Error::refused(message).cause(cause).unchanged().next(next))
        }
    }
}

/// Why a machine is not renewed.
pub(in crate::cli) struct Obstacle {
    pub(in crate::cli) message: String,
    pub(in crate::cli) cause: String,
}

/// What has changed since the machine was enrolled and prevents its renewal, if anything.
pub(in crate::cli) fn obstacle(context: &Context, enrolment: &Enrolment, granting: &BoundPolicy) -> Option<Obstacle> {
    let obstacle = |what: &str, cause: String| {
        let message = format!("this machine was enrolled with {what}, and nobody has accepted this one");
        Some(Obstacle { message, cause })
    };
    let differs = |what: &str, enrolled: &dyn Display, now: &dyn Display| {
        obstacle(what, format!("enrolled: {enrolled}\nnow:      {now}"))
    };
    match enrolment.standing(granting, &enrolment.procedure) {
        Standing::Accepted | Standing::Successor => {}
        Standing::Wider(beyond) => {
            let cause = format!("policy {} now also asks for: {}", enrolment.policy, beyond.join(", "));
            return obstacle("narrower grants", cause);
        }
        Standing::OtherComponent => return differs("another component", &enrolment.component, &granting.digest),
        Standing::OtherGrants => return differs("other grants", &enrolment.grants, &granting.grants),
    }
    let authority = context.authority.identity();
    if enrolment.authority != authority {
        return differs("another CA", &enrolment.authority, &authority);
    }
    None
}
