//! What a person does, and what stops a procedure.

mod wit_denials;
