//! What a person does, and what stops a procedure.

mod audit;
mod commands;
mod failures;
mod left_alone;
mod pins;
mod proof;
mod properties;
mod record;
mod recovery;
mod refusals;
mod rekey;
mod revoke;
mod secrets;
mod somebody_elses_sshd;
mod terms;
mod wit_denials;
