//! What a person does, and what stops a procedure.

mod commands;
mod failures;
mod left_alone;
mod pins;
mod record;
mod recovery;
mod refusals;
mod somebody_elses_sshd;
mod terms;
mod wit_denials;
