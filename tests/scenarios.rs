//! What a person does, and what stops a procedure.

mod pins;
mod record;
mod refusals;
mod wit_denials;
