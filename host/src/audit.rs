//! The audit log: what was asked for, what was allowed, what was done.
