//! The person's session with the provider, which exists in the browser: where `warded logout` ends it.

use super::{
    super::{Place, place::SESSION},
    browser,
};
use url::Url;
use warded_lib::{ca::step::http::is_safe, text::neutral};

/// The word after the address in [`SESSION`] which says that the session is in a browser on another device.
const ELSEWHERE: &str = "elsewhere";

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// The address that ends it.
    pub(super) end: Url,
    /// Whether it is in a browser on another device.
    pub(super) is_elsewhere: bool,
}

/// Remembers a session. If that fails, `logout` does not end it.
pub(super) fn remember(place: &Place, session: Option<&Session>) {
    drop(place.state().and_then(|place| match session {
        Some(Session { end, is_elsewhere }) => {
            let text = format!("{end}\n{}", if *is_elsewhere { ELSEWHERE } else { "" });
            place.write(SESSION, text.as_bytes(), 0o600)
        }
        None => place.remove(SESSION),
    }));
}

/// Opens the browser at the address that ends the session, and returns a message; `None` if no sign-in is known. The
/// shared state of the logins is removed.
pub(in crate::cli) fn end(place: &Place) -> Option<String> {
    let session = place.leave(SESSION)?;
    let mut lines = std::str::from_utf8(&session).ok()?.lines();
    let address: Url = lines.next()?.parse().ok()?;
    if !is_safe(&address) {
        return None;
    }
    let shown = neutral(address.as_str());
    Some(if lines.next() == Some(ELSEWHERE) {
        format!("On the device where you signed in, end your session with the provider: {shown}")
    } else if browser::open(address.as_str()) {
        format!("The browser opens the page on which you end your session with the provider: {shown}")
    } else {
        format!("To end your session with the provider, open: {shown}")
    })
}
