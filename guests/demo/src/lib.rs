//! The guest `demo`: writes any lines that it is given. With it, the demo and the tests show what stops a procedure:
//! the policy, the proof before a change, and the check after it.

mod world;
mod write_file;
