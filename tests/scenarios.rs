//! What a person does, and what stops a procedure.

mod audit;
mod booted;
mod commands;
mod core_dump;
mod edges;
mod failures;
mod left_alone;
mod listener;
mod lockout;
mod pins;
mod platforms;
mod proof;
mod properties;
mod record;
mod recovery;
mod refusals;
mod rekey;
mod revoke;
mod room;
mod secrets;
mod served;
mod somebody_elses_sshd;
mod step_ca;
mod successor;
mod terms;
mod wit_denials;
