//! What a person needs to know after a machine was certified: until when, what renews it, what clients need, where the
//! log is.

use super::{known_hosts, output::Output, report::time};
use crate::{context::Context, enrolment::Enrolments, pipeline::RunReport};
use jiff::Timestamp;
use warded_lib::{
    ca::{Certificate, Kind, due},
    error::Result,
    machine::schedule::Schedule,
    moment,
    text::neutral,
};

/// Prints the next steps; only a few if there is no host certificate.
pub(super) fn say(context: &Context, output: Output, done: &RunReport) -> Result<()> {
    done.ways_of_proof().iter().for_each(|way| output.detail(way));
    let certificates: Vec<&Certificate> =
        done.given.certificates.iter().filter(|certificate| certificate.kind() == Kind::Host).collect();
    let Some(first) = certificates.iter().min_by_key(|certificate| certificate.valid_before()) else {
        return Ok(());
    };
    let now = Timestamp::now();
    if let Some(end) = time(first.valid_before()) {
        output.line(format!("Valid:   {}", moment::left(end, now)))?;
    }
    if Enrolments::load(&context.state).is_ok_and(|all| all.of(&context.places.sshd_config).is_some()) {
        let due = due::due_at(first, context.renew_after, &context.facts.machine_id).and_then(time);
        let due = due.map(|due| format!(", due {}", moment::when(due, now))).unwrap_or_default();
        output.line(format!("Renewal: {}", renewal(context, &due)))?;
    }
    let known = known_hosts::of(&done.given.certificates);
    if !known.is_empty() {
        output.line("Clients: this line in known_hosts (or *.DOMAIN in place of the names, once for all machines):")?;
        known.iter().try_for_each(|line| output.verbatim(line))?;
    }
    output.line(format!("Log:     warded audit log --run {}", done.run))
}

/// What renews the certificates, or what to do so that something renews them.
fn renewal(context: &Context, due: &str) -> String {
    let next = "run it every hour from cron or a systemd timer (docs/RENEWAL.md). It asks nothing, and does nothing until a \
                certificate is due.";
    match context.found_schedule() {
        Schedule::Timer(timer) => format!("by {}{due}.", neutral(&timer.name)),
        Schedule::Cron(cron) => format!("by cron ({}){due}.", neutral(&cron.file.to_string_lossy())),
        Schedule::Job(action) => format!("by a job of the appliance's ({action}){due}."),
        Schedule::DisabledTimer(name) => {
            let name = neutral(&name);
            format!("by `warded renew`{due}. {name} is not enabled: systemctl enable --now {name}")
        }
        Schedule::DisabledJob(action) => {
            format!("by `warded renew`{due}. The appliance's job ({action}) is disabled: enable it there")
        }
        Schedule::Passed(passed) => {
            let passed = neutral(&passed.to_string());
            format!("by `warded renew`{due}. Nothing runs it automatically ({passed}): {next}")
        }
        Schedule::Nothing => {
            format!("by `warded renew`{due}. Nothing runs it automatically: {next}")
        }
        Schedule::Unknown(_) => {
            format!("by `warded renew`{due}. If nothing runs it yet: {next}")
        }
    }
}
