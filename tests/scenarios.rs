//! What a person does, and what stops a procedure.

mod commands;
mod failures;
mod pins;
mod refusals;
mod wit_denials;
