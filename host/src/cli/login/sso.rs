//! A certificate for a person who signs in with the CA's single sign-on: with a browser here, with one on another
//! device, or with an ID token. An admin's ID token for a machine (`warded token`) is obtained in the same way.

mod browser;
mod session;

use session::Session;
pub(in crate::cli) use session::end as end_session;

use super::{super::output::Output, Place};
use clap::Args;
use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};
use warded_lib::{
    ca::{
        CaError, Certificate, IssueRequest,
        step::{StepAuthority, credential::read_secret, identity::IdToken, signed_in::SignIn, signed_in::SignInError},
    },
    error::{Error, Result},
    sso::{AuthorizationResponse, Device, Fault, Listener, Page, Provider},
    text::{neutral, neutral_lines},
};

/// How long a person has to sign in.
const PATIENCE: Duration = Duration::from_secs(180);
/// A lower limit for tests, in seconds. The environment cannot set a higher one.
const PATIENCE_LIMIT: &str = "WARDED_TEST_PATIENCE";
/// After this long, Warded explains what the browser may be showing if it does not come back.
const REMINDER: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Sign in on another device: shows an address and a code. Default without a display here, if the single sign-on
    /// supports it
    #[arg(long, help_heading = "Single sign-on")]
    device: bool,
    /// Read an ID token of the single sign-on from standard input, instead of signing in
    #[arg(long, conflicts_with = "device", help_heading = "Single sign-on")]
    token: bool,
}

impl Options {
    /// Whether an option asks for a single sign-on.
    pub(super) fn is_given(&self) -> bool {
        self.device || self.token
    }

    /// Gets the certificate. `request` determines the key ID only if there is no e-mail address.
    pub(super) fn certified(
        &self,
        authority: &StepAuthority,
        sign_in: &SignIn,
        request: &IssueRequest,
        (place, until, output): (&Place, Option<Instant>, Output),
    ) -> Result<Certificate> {
        let issue = |token: &IdToken| {
            if token.is_unverified() {
                let email = neutral(token.email().unwrap_or_default());
                output.note(format!(
                    "warning: the provider says that {email:?} is not verified to be yours; the CA does not look at that"
                ));
            }
            let key_id = token.email().map_or_else(|| request.key_id.clone(), str::to_owned);
            authority.issue_signed_in(&IssueRequest { key_id, ..request.clone() }, token, sign_in)
        };
        if self.token {
            let text = read_secret(Path::new("-"))?;
            let text = std::str::from_utf8(&text).unwrap_or_default();
            let token = IdToken::read(text).map_err(|why| {
                Error::usage("there is no ID token on standard input")
                    .cause(why)
                    .next("hand it over as the provider gave it")
            })?;
            return issue(&token).map_err(|refused| refused.error.into());
        }
        let wanted = SignInOptions { on_device: self.device, until, done: Page::Done };
        let (certificate, session) = signed_in(authority, sign_in, &wanted, output, &|token| issue(&token))?;
        session::remember(place, session.as_ref());
        Ok(certificate)
    }
}

/// The ID token of a person who must be an admin; the CA issues one certificate for it.
///
/// # Errors
/// Nobody signed in, or the person is not an admin.
pub(in crate::cli) fn admins_token(
    authority: &StepAuthority,
    sign_in: &SignIn,
    on_device: bool,
    output: Output,
) -> Result<IdToken> {
    let finish = |token: IdToken| match token.no_admin(&sign_in.oidc, &sign_in.provisioner) {
        None => Ok(token),
        Some((cause, next)) => Err(CaError::Credential { cause, next }.into()),
    };
    let wanted = SignInOptions { on_device, until: None, done: Page::Token };
    signed_in(authority, sign_in, &wanted, output, &finish).map(|(token, _)| token)
}

/// How a person is to sign in.
struct SignInOptions {
    on_device: bool,
    /// When to give up, if that is sooner than usual.
    until: Option<Instant>,
    /// The page that the browser shows at the end.
    done: Page,
}

/// Lets a person sign in. Returns the result of `finish` for their ID token, and their session with the provider.
fn signed_in<T>(
    authority: &StepAuthority,
    sign_in: &SignIn,
    wanted: &SignInOptions,
    output: Output,
    finish: &dyn Fn(IdToken) -> Result<T, SignInError>,
) -> Result<(T, Option<Session>)> {
    let web = authority.web()?;
    let provider = Provider::discover(&web, &sign_in.oidc).map_err(|fault| fault.told(sign_in, false))?;
    let told = |fault: Fault| fault.told(sign_in, provider.has_device_grant());
    let signing_in = SigningIn { provider: &provider, sign_in, wanted, output };
    let has_browser = browser::is_here();
    let on_device = wanted.on_device || (!has_browser && provider.has_device_grant());
    // The CA refuses tokens from before its last start, so a new token may be accepted.
    let mut is_last = false;
    loop {
        let ended = if on_device {
            signing_in.on_device().and_then(|token| finish(token).map_err(LoginFailure::Issue))
        } else {
            signing_in.by_browser(has_browser, finish)
        };
        match ended {
            Ok(made) => {
                let end = provider.end_of_session().cloned();
                return Ok((made, end.map(|end| Session { end, is_elsewhere: on_device })));
            }
            Err(LoginFailure::Issue(SignInError { is_unexplained: true, .. })) if !is_last => {
                output.note("The CA refused the sign-in and does not say why. It may have been restarted in the meantime: trying again.");
                is_last = true;
            }
            Err(LoginFailure::Issue(refused)) => return Err(refused.error.into()),
            Err(LoginFailure::Fault(fault)) => return Err(told(fault)),
        }
    }
}

/// Why a login ended without a certificate.
enum LoginFailure {
    Fault(Fault),
    Issue(SignInError),
}

impl From<Fault> for LoginFailure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

struct SigningIn<'a> {
    provider: &'a Provider<'a>,
    sign_in: &'a SignIn,
    wanted: &'a SignInOptions,
    output: Output,
}

impl SigningIn<'_> {
    /// Signs in with a browser that is redirected back here, which then shows the result.
    fn by_browser<T>(
        &self,
        has_browser: bool,
        finish: &dyn Fn(IdToken) -> Result<T, SignInError>,
    ) -> Result<T, LoginFailure> {
        let mut listener = Listener::bind(&self.sign_in.oidc.listen_address)?;
        let redirect_uri = listener.redirect_uri();
        let attempt = self.provider.attempt(&redirect_uri)?;
        let start = listener.start();
        let issuer = neutral(self.provider.issuer());
        if has_browser && browser::open(&start) {
            self.output.note(format!("Sign in at {issuer} in the browser that opens now. If none does, open: {start}"));
        } else {
            let port = redirect_uri.rsplit(':').next().unwrap_or_default();
            self.output.note(format!(
                "To sign in at {issuer}, open in a browser on this machine: {start}\nFrom another machine, first: \
                 ssh -L {port}:127.0.0.1:{port} THIS-MACHINE"
            ));
        }
        let state = attempt.state().to_owned();
        let url = attempt.url.clone();
        let remind = || self.output.note(Fault::reminder(&redirect_uri, self.sign_in));
        let returned = listener
            .wait(&url, &state, self.patience(PATIENCE), (REMINDER, &remind))
            .map_err(|fault| self.explained(fault))?;
        let ended = self
            .provider
            .is_of_it(returned.issuer.as_deref())
            .and_then(|()| match returned.answered {
                AuthorizationResponse::Code(code) => self.provider.redeem(attempt, code),
                AuthorizationResponse::Error { error, description } => Err(Fault::returned(error, description)),
            })
            .map_err(LoginFailure::from)
            .and_then(|token| finish(token).map_err(LoginFailure::Issue));
        listener.show(match &ended {
            Ok(_) => self.wanted.done,
            Err(LoginFailure::Fault(fault)) if fault.is_denial() => Page::Denied,
            Err(_) => Page::Failed,
        });
        ended
    }

    /// Signs in with a browser on another device.
    fn on_device(&self) -> Result<IdToken, LoginFailure> {
        let device = self.provider.begin_on_device()?;
        self.show(&device);
        Ok(self.provider.await_device(&device, self.patience(device.life()))?)
    }

    /// How long to wait, at most `most`.
    fn patience(&self, most: Duration) -> Duration {
        let limit = env::var(PATIENCE_LIMIT).ok().and_then(|limit| limit.parse().ok()).map(Duration::from_secs);
        let most = limit.map_or(most, |limit| most.min(limit));
        self.wanted.until.map_or(most, |until| most.min(until.saturating_duration_since(Instant::now())))
    }

    /// If the browser did not come back, finds out whether the provider knows the client: the provider reports that
    /// only to the browser.
    fn explained(&self, fault: Fault) -> Fault {
        if let Fault::NoAnswer { patience, redirect_uri, visits, .. } = fault {
            let knows_client = self.provider.knows_client(&redirect_uri);
            Fault::NoAnswer { patience, redirect_uri, visits, knows_client }
        } else {
            fault
        }
    }

    fn show(&self, device: &Device) {
        let address = device.whole_address().unwrap_or_else(|| device.address());
        if let Some(picture) = browser::picture(address) {
            self.output.note(picture);
        }
        let minutes = device.life().as_secs() / 60;
        self.output.note(format!(
            "On any device, open {} and enter the code {} (within {minutes} min)",
            neutral(device.address()),
            neutral_lines(device.code())
        ));
        if let Some(whole) = device.whole_address() {
            self.output.note(format!("or open {}", neutral(whole)));
        }
    }
}
