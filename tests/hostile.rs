//! Guests that mean harm, or are broken.

mod handles;
mod limits;
