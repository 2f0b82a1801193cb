//! What a person does, and what stops a procedure.

mod pins;
mod refusals;
mod somebody_elses_sshd;
mod wit_denials;
