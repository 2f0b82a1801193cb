//! Checks what the schema cannot express.

use super::{CertificateGrant, KeyGrant, Policy, Procedure, RESERVED, WriteGrant};
use crate::{
    machine::{
        schedule::{SCHEDULE, Schedulers},
        service::{Service, ServiceOperation},
    },
    name::Name,
    policy::{condition::Condition, setting::Type},
};

impl Policy {
    /// Checks what the schema cannot express. An error consists of the text to point at, and what is wrong.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if self.procedures.is_empty() {
            return Err(("procedure".to_owned(), "a policy needs at least one [procedure.NAME]".to_owned()));
        }
        if RESERVED.contains(&self.name.as_str()) {
            return Err((
                self.name.to_string(),
                format!("{} is a word of `warded audit`, and no policy's name", self.name),
            ));
        }
        if self.instead_of.contains(&self.name) {
            return Err(("instead-of".to_owned(), "a policy cannot be there instead of itself".to_owned()));
        }
        if self.when.iter().chain(&self.unless).any(Condition::is_empty) {
            return Err(("when".to_owned(), "a condition has to name something".to_owned()));
        }
        if self.services.keys().any(|name| name.as_str() == SCHEDULE) {
            return Err((format!("[service.{SCHEDULE}]"), format!("{SCHEDULE} is no name of a service")));
        }
        self.schedule.as_ref().map_or(Ok(()), Schedulers::check)?;
        for (name, action) in &self.actions {
            if let Some(fault) = action.fault(&self.actions) {
                return Err((format!("[action.{name}]"), format!("action {name}: {fault}")));
            }
        }
        self.procedures.iter().try_for_each(|(name, procedure)| self.check_procedure(name, procedure))
    }

    /// A query may run programs from the copies of directories on which it works, and in a plan it runs as root. So a
    /// procedure must not be able to write a program there.
    fn check_copied(&self, name: &Name, procedure: &Procedure) -> Result<(), String> {
        for (action, directory) in self.actions.iter().flat_map(|(name, one)| one.copied().map(move |at| (name, at))) {
            let is_open = |grant: &&WriteGrant| grant.forbid.is_empty() && grant.path.reaches_into(directory);
            let of_key = |grant: &KeyGrant| matches!(grant, KeyGrant::At(path) if path.reaches_into(directory));
            let of_certificate =
                |grant: &CertificateGrant| matches!(grant, CertificateGrant::At(path) if path.reaches_into(directory));
            if let Some(grant) = procedure.files.write.iter().find(is_open) {
                return Err(format!(
                    "{name} may write {grant}, and the query {action} runs on a copy of {directory}: that grant needs `forbid`"
                ));
            }
            if procedure.keys.iter().any(of_key) || procedure.certificates.iter().any(of_certificate) {
                return Err(format!(
                    "{name} may put keys or certificates into {directory}, and the query {action} runs on a copy of it"
                ));
            }
        }
        Ok(())
    }

    fn check_procedure(&self, name: &Name, procedure: &Procedure) -> Result<(), (String, String)> {
        let header = format!("[procedure.{name}]");
        if let Some(renewal) = procedure.renewal.as_ref().filter(|renewal| !self.procedures.contains_key(renewal)) {
            return Err((header, format!("renewal of {name} names {renewal}, and there is no [procedure.{renewal}]")));
        }
        if let Some(service) = procedure.services.keys().find(|service| !self.services.contains_key(service)) {
            return Err((
                header,
                format!("procedure {name} names the service {service}, and there is no [service.{service}]"),
            ));
        }
        let may_restart_sshd = |(name, operations): &(&Name, &Vec<ServiceOperation>)| {
            operations.contains(&ServiceOperation::Restart) && self.services.get(*name).is_some_and(Service::is_of_sshd)
        };
        if let Some((service, _)) = procedure.services.iter().find(may_restart_sshd) {
            return Err((
                header,
                format!(
                    "procedure {name} may restart {service}, which is sshd: that ends logins; grant \"reload\" instead"
                ),
            ));
        }
        if let Some(action) = procedure.actions.iter().find(|action| !self.actions.contains_key(action)) {
            return Err((
                header,
                format!("procedure {name} names the action {action}, and there is no [action.{action}]"),
            ));
        }
        self.check_copied(name, procedure).map_err(|why| (header.clone(), why))?;
        if !procedure.schedule.is_empty() && self.schedule.is_none() {
            return Err((header, format!("procedure {name} has a schedule, and there is no [schedule]")));
        }
        for (setting, declaration) in &procedure.settings {
            if (declaration.kind == Type::Choice) == declaration.values.is_empty() {
                return Err((
                    header,
                    format!("setting {setting} of {name}: `values` belongs to the type \"choice\", and only there"),
                ));
            }
            if let Some(fault) = declaration.fault_of_default() {
                return Err((header, format!("setting {setting} of {name}: {fault}")));
            }
        }
        Ok(())
    }
}
