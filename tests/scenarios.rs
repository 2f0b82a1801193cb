//! What a person does, and what stops a procedure.

mod audit;
mod proof;
mod properties;
mod secrets;
mod wit_denials;
