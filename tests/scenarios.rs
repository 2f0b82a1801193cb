//! What a person does, and what stops a procedure.

mod pins;
mod wit_denials;
