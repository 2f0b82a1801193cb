//! With the real step-ca: everything for which the `step` program was needed.

mod again;
mod agent;
mod away;
mod bootstrap;
mod causes;
mod day_one;
mod enrol;
mod examples;
mod figures;
mod guide;
mod hostile;
mod lifecycle;
mod odd;
mod outlook;
mod pages;
mod renewals;
mod rotation;
mod screens;
mod secrets;
mod system_log;
mod tokens;
mod unattended;

pub(super) use day_one::commands_of;
