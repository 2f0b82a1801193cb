//! The message about a run that failed and was rolled back. It says "as before" only of what wholly is: files, services
//! and what was seen of sshd are three different things.

use super::roll_back::Aftermath;
use warded_lib::{
    error::{Error, Result, UNCHANGED},
    transaction::RollbackReport,
};

/// The error, extended by the state that the machine is in now.
pub(super) fn told(error: Error, restored: Result<RollbackReport>, aftermath: &Aftermath) -> Error {
    let restored = match restored {
        Ok(restored) => restored,
        Err(failed) => {
            return error.into_partly_rolled_back(format!("not all could be put back: {failed}{aftermath}"));
        }
    };
    let whole = restored.left_alone.is_empty() && aftermath.left().is_none();
    // None of the changes had been made.
    if restored.steps.is_empty()
        && restored.reloads.is_empty()
        && restored.restored.is_empty()
        && aftermath.first_failure().is_none()
    {
        let state = if whole { UNCHANGED.to_owned() } else { restored.to_string() };
        return error.state(state);
    }
    match aftermath.first_failure() {
        None if whole => error.into_rolled_back(format!("as before ({restored}{aftermath})")),
        None => error.into_partly_rolled_back(format!("not all is as before ({restored}{aftermath})")),
        Some(_) if whole => error
            .into_partly_rolled_back(format!("the files are as before ({restored}), but not all else{aftermath}"))
            .next("warded status"),
        Some(_) => {
            error.into_partly_rolled_back(format!("not all is as before ({restored}{aftermath})")).next("warded status")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::{
        error::Exit,
        machine::{service::Service, services::ReloadResult},
        transaction::{Reload, UntouchedFile},
    };

    fn restored(left_alone: &[&str]) -> RollbackReport {
        let service = Service { systemd: Vec::new(), direct: None };
        let left = |why: &&str| UntouchedFile { path: "/x".parse().unwrap(), why: (*why).to_owned() };
        RollbackReport {
            restored: vec!["/y".parse().unwrap()],
            left_alone: left_alone.iter().map(left).collect(),
            reloads: vec![Reload::service("ssh".parse().unwrap(), service)],
            ..RollbackReport::default()
        }
    }

    fn aftermath(reloaded: Result<ReloadResult>, fault: Option<&str>) -> Aftermath {
        let fault = fault.map(Error::failed);
        Aftermath { reloads: vec![("ssh".to_owned(), reloaded)], fault, ..Aftermath::default() }
    }

    #[test]
    fn only_what_is_wholly_as_before_is_called_so() {
        let fine = || aftermath(Ok(ReloadResult::NotRunning), None);
        let not_told = || aftermath(Err(Error::failed("ssh could not be reloaded")), None);
        let lost = || aftermath(Ok(ReloadResult::NotRunning), Some("sshd does not listen any more"));
        let cases = [
            (
                Ok(restored(&[])),
                fine(),
                Exit::Failed,
                "as before (1 file restored; no listener of ssh is known, checked)",
            ),
            (Ok(restored(&["theirs"])), fine(), Exit::Degraded, "not all is as before (1 file restored; /x left alone"),
            (Ok(restored(&[])), not_told(), Exit::Degraded, "the files are as before"),
            (Ok(restored(&[])), not_told(), Exit::Degraded, "ssh could not be reloaded"),
            (Ok(restored(&[])), lost(), Exit::Degraded, "sshd does not listen any more"),
            (
                Ok(restored(&["theirs"])),
                lost(),
                Exit::Degraded,
                "/x left alone: theirs; no listener of ssh is known; sshd does",
            ),
            (Err(Error::failed("a disk")), not_told(), Exit::Degraded, "not all could be put back: error: a disk"),
            (Err(Error::failed("a disk")), lost(), Exit::Degraded, "sshd does not listen any more"),
            (Ok(RollbackReport::default()), Aftermath::default(), Exit::Refused, UNCHANGED),
        ];
        for (restored, aftermath, exit, says) in cases {
            let error = told(Error::refused("it went wrong").state("of old"), restored, &aftermath);
            let shown = error.to_string();
            assert!(error.exit() == exit && shown.contains(says) && !shown.contains("of old"), "{says}: {shown}");
        }
    }
}
