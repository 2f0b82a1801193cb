//! The person's session with the provider, which lives in the browser: where `warded logout` ends it.

use super::{super::Place, browser};
use warded_lib::{ca::step::http::is_safe, text::neutral};

/// The file with the address.
const FILE: &str = "session";

/// Remembers where a session is ended. Without that, `logout` does not.
pub(super) fn remember(place: &Place, at: Option<&url::Url>) {
    drop(place.state().and_then(|place| match at {
        Some(at) => place.write(FILE, at.as_str().as_bytes(), 0o600),
        None => place.remove(FILE),
    }));
}

/// Opens the browser there, and says so; none where no sign-in is known. Nothing is known of logins then.
pub(in crate::cli) fn end(place: &Place) -> Option<String> {
    let address = place.leave(FILE)?;
    let address: url::Url = std::str::from_utf8(&address).ok()?.parse().ok()?;
    if !is_safe(&address) {
        return None;
    }
    let shown = neutral(address.as_str());
    Some(if browser::open(address.as_str()) {
        format!("The browser ends your session with the provider: {shown}")
    } else {
        format!("To end your session with the provider: {shown}")
    })
}
