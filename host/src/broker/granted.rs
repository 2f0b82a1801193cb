//! An operation that the policy grants. Its fields are private, so no operation can be executed before the policy was
//! asked: code that has an effect without a grant does not compile.

use warded_lib::policy::{
    authorize::{Circumstances, Denial, Permit, authorize},
    file::Procedure,
    need::Need,
};

/// An operation that the policy grants, with the terms of the grant.
#[derive(Debug)]
pub struct Granted<O> {
    operation: O,
    permit: Permit,
}

impl<O> Granted<O> {
    /// Asks the policy. This is the only place that makes a `Granted`.
    pub(super) fn authorize(
        operation: O,
        need: &Need,
        procedure: &Procedure,
        circumstances: &Circumstances,
    ) -> Result<Self, Denial> {
        let permit = authorize(procedure, circumstances, need)?;
        Ok(Self { operation, permit })
    }

    pub fn operation(&self) -> &O {
        &self.operation
    }

    /// The grant, as it is written in the policy.
    pub fn grant(&self) -> &str {
        &self.permit.grant
    }

    /// For paths: how many leading segments the policy spelled out. The host may resolve links in these.
    pub fn literal(&self) -> usize {
        self.permit.literal
    }

    /// For files: the characters that must be neither in the contents nor in the name.
    pub fn forbid(&self) -> &str {
        &self.permit.forbid
    }

    /// For files: whether missing directories are created.
    pub fn makes_directories(&self) -> bool {
        self.permit.parents
    }
}
