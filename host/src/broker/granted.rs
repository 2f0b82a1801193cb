//! An operation that the policy grants. Its fields are private, so an operation cannot be executed
//! before the policy was asked: an effect without a grant does not compile.

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

    /// The grant, as the policy has it.
    pub fn grant(&self) -> &str {
        &self.permit.grant
    }

    /// For paths: how many leading segments the policy wrote out, and the host may resolve.
    pub fn literal(&self) -> usize {
        self.permit.literal
    }

    /// For files: the characters that neither contents nor name may have.
    pub fn forbid(&self) -> &str {
        &self.permit.forbid
    }

    /// For files: whether missing directories are made.
    pub fn makes_directories(&self) -> bool {
        self.permit.parents
    }
}
