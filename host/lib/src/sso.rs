//! Single sign-on (OpenID Connect) for a person who logs in: by a browser that comes back to a listener on this machine
//! (authorization code, RFC 8252, with PKCE), or by a code that the person types on another one (device grant, RFC 8628).
//!
//! `openidconnect` speaks the protocol and verifies the ID token; `ca/step/http.rs` carries its requests. No run of a
//! procedure comes here: `warded login` alone does (`tests/arrows` holds that).

mod fault;
mod listener;
mod page;
mod provider;

pub use fault::Fault;
pub use listener::{AuthorizationResponse, Callback, Listener, Visits};
pub use page::Page;
pub use provider::{Attempt, Device, Provider};
