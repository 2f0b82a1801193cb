//! Whole screens: what a person sees of each command when all goes well, and of each kind of refusal.

mod daily;
mod edits;
mod obstacles;
mod people;
mod policies;
mod refusals;
mod rolled_back;
