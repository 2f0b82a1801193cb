//! What Warded reports of programs, services and sshd after it rolled a run back.

use warded_lib::{
    error::{Error, Result},
    machine::{action::StepRollback, services::ReloadResult},
    transaction::UntouchedFile,
};

/// What became of programs, services and sshd once the files were back.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// How each program that may have run was rolled back, or why it was not; the last one first.
    pub programs: Vec<(String, Result<StepRollback>)>,
    /// Files whose contents changed again when a program was undone.
    pub left_alone: Vec<UntouchedFile>,
    /// How each service was reloaded, or why it was not.
    pub reloads: Vec<(String, Result<ReloadResult>)>,
    /// The first difference from before, if one was found.
    pub fault: Option<Error>,
}

impl Aftermath {
    /// What went wrong first.
    #[must_use]
    pub fn first_failure(&self) -> Option<&Error> {
        let programs = self.programs.iter().find_map(|(_, ended)| ended.as_ref().err());
        programs.or_else(|| self.reloads.iter().find_map(|(_, outcome)| outcome.as_ref().err())).or(self.fault.as_ref())
    }

    /// Why a program was not rolled back: somebody else changed what it is about, or nothing undoes it. Or why a file
    /// that such a program wrote is not as before.
    #[must_use]
    pub fn left(&self) -> Option<&str> {
        let programs = self.programs.iter().find_map(|(_, ended)| match ended {
            Ok(StepRollback::LeftAlone(why)) => Some(why.as_str()),
            Ok(StepRollback::AsBefore | StepRollback::RolledBack) | Err(_) => None,
        });
        programs.or_else(|| self.left_alone.first().map(|left| left.why.as_str()))
    }
}

impl std::fmt::Display for Aftermath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, ended) in &self.programs {
            match ended {
                Ok(StepRollback::AsBefore) => write!(f, "; {name} had not run")?,
                Ok(StepRollback::RolledBack) => write!(f, "; {name} rolled back")?,
                Ok(StepRollback::LeftAlone(why)) => write!(f, "; {name} left alone: {why}")?,
                Err(error) => write!(f, "; {name} not rolled back: {}", error.message())?,
            }
        }
        for left in &self.left_alone {
            write!(f, "; {left}")?;
        }
        for (name, outcome) in &self.reloads {
            match outcome {
                Ok(how) => write!(f, "; {}", how.brief(name))?,
                Err(error) => write!(f, "; {}", error.message())?,
            }
        }
        match &self.fault {
            Some(fault) => write!(f, "; {}", fault.message()),
            None if self.reloads.iter().all(|(_, how)| how.as_ref().is_ok_and(ReloadResult::is_of_schedule)) => Ok(()),
            None => f.write_str(", checked"),
        }
    }
}
