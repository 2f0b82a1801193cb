//! What a person does, and what stops a procedure.

mod commands;
mod failures;
mod pins;
mod recovery;
mod record;
mod refusals;
mod terms;
mod somebody_elses_sshd;
mod wit_denials;
