//! What a person does, and what stops a procedure.

mod pins;
mod recovery;
mod refusals;
mod wit_denials;
