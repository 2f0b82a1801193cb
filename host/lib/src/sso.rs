//! Single sign-on (OpenID Connect) for a person who logs in. Either a browser comes back to a listener on this machine
//! (authorization code, RFC 8252, with PKCE), or the person types a code on another machine (device grant, RFC 8628).
//!
//! `openidconnect` implements the protocol and verifies the ID token; `ca/step/http.rs` sends its requests. Only
//! `warded login` uses this module, never the run of a procedure (`tests/arrows` enforces that).

mod fault;
mod listener;
mod page;
mod provider;

pub use fault::Fault;
pub use listener::{AuthorizationResponse, Callback, Listener, Visits};
pub use page::Page;
pub use provider::{Attempt, Device, Provider};
