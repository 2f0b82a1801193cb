//! Reloads services after a commit or a rollback.

use warded_lib::{
    audit::{Event, Kind, Log},
    error::{Error, Result},
    machine::{
        action::Step,
        facts::Init,
        service::ServiceOperation,
        services::{self, ReloadDelivery, ReloadFault, ReloadResult},
        sshd::Sshd,
    },
    transaction::Reload,
};

/// Reloads or restarts a service, or makes the init system adopt a schedule as its files say. Nothing is recorded.
///
/// # Errors
/// As [`services::reload`], [`services::restart`] and [`services::reconcile`].
pub fn tell(
    reload: &Reload,
    systemd: bool,
    sshd: Option<&Sshd>,
    last_look: &dyn Fn() -> Result<()>,
) -> Result<ReloadResult, ReloadFault> {
    match reload.operation {
        _ if reload.is_schedule() => services::reconcile(&reload.schedule, systemd),
        ServiceOperation::Reload => services::reload(&reload.name, &reload.service, systemd, sshd, last_look),
        ServiceOperation::Restart => services::restart(&reload.name, &reload.service, systemd),
    }
}

/// Adds the service and the operation to the event.
#[must_use]
pub fn named(event: Event, reload: &Reload) -> Event {
    let capability = match reload.operation {
        _ if reload.is_schedule() => "schedule.renewals",
        ServiceOperation::Reload => "services.reload",
        ServiceOperation::Restart => "services.restart",
    };
    event.capability(capability).need(reload.name.as_str())
}

/// Adds the program to the event.
#[must_use]
pub fn of_program(event: Event, step: &Step) -> Event {
    event.capability("actions.change").need(step.change.name.as_str())
}

/// Reloads one service as [`tell`] does, on record.
///
/// # Errors
/// The reload failed, or could not be recorded.
pub fn reload(
    log: &Log,
    event: impl Fn(Kind) -> Event,
    reload: &Reload,
    systemd: bool,
    sshd: Option<&Sshd>,
    last_look: &dyn Fn() -> Result<()>,
) -> Result<ReloadResult, ReloadFault> {
    let event = |kind| named(event(kind), reload);
    // The run's intent has been on disk since before its first change.
    log.append(&event(Kind::Intent))?;
    let outcome = tell(reload, systemd, sshd, last_look);
    match &outcome {
        Ok(reloaded) => {
            let is_untold = matches!(reloaded, ReloadResult::NotRunning | ReloadResult::LeftStopped { .. });
            let told = if is_untold { ReloadDelivery::No } else { ReloadDelivery::Yes };
            log.append(&event(Kind::Result).detail(&reloaded.to_string()))
                .map_err(|error| ReloadFault { told, error })?;
        }
        // A log that cannot be written must not hide why the reload failed.
        Err(fault) => drop(log.append(&event(Kind::Failed).detail(fault.error.message()))),
    }
    outcome
}

/// Makes the init system forget the unit that recovers at boot, after a run that removed it was kept; on record. `None`
/// if there is nothing to forget.
#[must_use]
pub fn forget_recovery(log: &Log, event: impl Fn(Kind) -> Event, init: Init) -> Option<Result<ReloadResult>> {
    let outcome = services::forget_recovery(init)?.map_err(Error::from);
    // The run is kept, even if this cannot be recorded now.
    drop(log.append(&match &outcome {
        Ok(reloaded) => event(Kind::Result).detail(&reloaded.to_string()),
        Err(error) => event(Kind::Failed).detail(error.message()),
    }));
    Some(outcome)
}
