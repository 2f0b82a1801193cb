//! A login on another machine (device grant, RFC 8628).

use super::{Provider, carrier};
use crate::{ca::step::identity::IdToken, sso::Fault};
use openidconnect::{
    DeviceCodeErrorResponseType as Kind, HttpRequest, PkceCodeChallenge, PkceCodeVerifier, RequestTokenError,
    core::{CoreDeviceAuthorizationResponse, CoreTokenResponse},
};
use std::{
    cell::{Cell, RefCell},
    thread,
    time::{Duration, Instant},
};

/// Long enough that the library notices the end of the time, instead of polling once more.
const PAST_THE_END: Duration = Duration::from_millis(50);

/// A login by a code that a person types on another machine.
pub struct Device {
    details: CoreDeviceAuthorizationResponse,
    verifier: PkceCodeVerifier,
}

impl Device {
    /// The URL to which the person goes.
    #[must_use]
    pub fn address(&self) -> &str {
        self.details.verification_uri().as_str()
    }

    /// The same URL with the code in it, if the provider sends one.
    #[must_use]
    pub fn whole_address(&self) -> Option<&str> {
        self.details.verification_uri_complete().map(|address| address.secret().as_str())
    }

    /// The code that the person types there.
    #[must_use]
    pub fn code(&self) -> &str {
        self.details.user_code().secret()
    }

    /// How long the code can be used.
    #[must_use]
    pub fn life(&self) -> Duration {
        self.details.expires_in()
    }
}

impl Provider<'_> {
    /// Starts a login on another machine.
    ///
    /// # Errors
    /// The provider does not support such logins, or refuses this one.
    pub fn begin_on_device(&self) -> Result<Device, Fault> {
        let at =
            self.metadata.additional_metadata().device_authorization_endpoint.clone().ok_or(Fault::NoDeviceGrant)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let client = self.client.clone().set_device_authorization_url(at);
        let details = client
            .exchange_device_code()
            .add_scopes(self.scopes())
            .add_extra_param("code_challenge", challenge.as_str().to_owned())
            .add_extra_param("code_challenge_method", challenge.method().as_str().to_owned())
            .request(&carrier(self.web))
            .map_err(|error| self.refused(error))?;
        Ok(Device { details, verifier })
    }

    /// Polls until the person has logged in there.
    ///
    /// # Errors
    /// The person refused, or did not log in in time.
    pub fn await_device(&self, device: &Device, patience: Duration) -> Result<IdToken, Fault> {
        let request = self.client.exchange_device_access_token(&device.details);
        let request = request.map_err(|_| Fault::Discovery {
            address: self.oidc.configuration(),
            why: "it names no token_endpoint".to_owned(),
        })?;
        // The library goes on polling when a request fails, and at the end reports only that the time is over.
        let last_problem = RefCell::new(None);
        let carried = |request: HttpRequest| {
            let answer = carrier(self.web)(request);
            *last_problem.borrow_mut() = answer.as_ref().err().cloned();
            answer
        };
        // After a failure the library doubles the interval, up to a limit that may be shorter than the interval that
        // `slow_down` demanded. It would also sleep for the whole interval if the code expires before that.
        let longest = Cell::new(Duration::ZERO);
        let (begun, patience) = (Instant::now(), patience.min(device.life()));
        let pause = |interval: Duration| {
            longest.set(longest.get().max(interval));
            let left = patience.saturating_sub(begun.elapsed()) + PAST_THE_END;
            thread::sleep(longest.get().min(left));
        };
        let answer: Result<CoreTokenResponse, _> = request
            .add_extra_param("code_verifier", device.verifier.secret().clone())
            .request(&carried, pause, Some(patience));
        let answer = answer.map_err(|error| match error {
            RequestTokenError::ServerResponse(_) if last_problem.borrow().is_some() => {
                last_problem.take().map_or(Fault::DeviceExpired, |problem| self.unreachable(problem))
            }
            RequestTokenError::ServerResponse(said) => match said.error() {
                Kind::AccessDenied => Fault::Denied {
                    error: said.error().to_string(),
                    description: said.error_description().cloned().unwrap_or_default(),
                },
                Kind::ExpiredToken | Kind::AuthorizationPending | Kind::SlowDown => Fault::DeviceExpired,
                Kind::Basic(_) => Fault::Refused {
                    error: said.error().to_string(),
                    description: said.error_description().cloned().unwrap_or_default(),
                },
            },
            RequestTokenError::Request(problem) => self.unreachable(problem),
            RequestTokenError::Parse(error, _) => Fault::Answer { what: "its answer", why: error.to_string() },
            RequestTokenError::Other(why) => Fault::Answer { what: "its answer", why },
        })?;
        self.verified(&answer, None)
    }
}
