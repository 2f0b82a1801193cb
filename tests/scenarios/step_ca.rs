//! With the real step-ca: everything that the `step` program was needed for.

mod bootstrap;
mod causes;
mod enrol;
mod figures;
mod hostile;
mod lifecycle;
mod odd;
mod outlook;
mod renewals;
mod rotation;
mod secrets;
mod tokens;
mod unattended;
