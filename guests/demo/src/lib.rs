//! The guest `demo`: writes what it is told to, whatever it is. With it the demo and the tests
//! show what stops a procedure: the policy, the proof before a change, the check after it.

mod world;
mod write_file;
