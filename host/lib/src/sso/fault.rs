//! Why a login failed, in words, with what to do next.

use super::listener::Visits;
use crate::{
    ca::{
        step::{http::Problem, signed_in::SignIn},
        unreached,
    },
    error::Error,
    moment::distance,
    text::neutral,
};
use std::time::Duration;

/// Why there is no ID token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The provider does not answer.
    Unreachable {
        /// The URL that was requested.
        address: String,
        /// What went wrong.
        problem: Problem,
    },
    /// The provider has no valid configuration document.
    Discovery {
        /// The URL where the document should be.
        address: String,
        why: String,
    },
    /// The provisioner's `listenAddress` has no port.
    NoAddress(String),
    /// The port for the browser cannot be opened.
    Listen {
        port: u16,
        /// Whether another program listens there.
        is_taken: bool,
        /// The system's error message.
        error: String,
    },
    /// The browser did not come back.
    NoAnswer {
        /// How long Warded waited.
        patience: Duration,
        /// The address to which it should have come back.
        redirect_uri: String,
        /// What the browser requested in the meantime.
        visits: Visits,
        /// Whether the provider knows the client; `None` if it does not tell.
        knows_client: Option<bool>,
    },
    /// The person refused, or the provider denied access.
    Denied {
        /// The provider's error code.
        error: String,
        /// The provider's description of it.
        description: String,
    },
    /// The provider refused the request.
    Refused {
        /// The provider's error code.
        error: String,
        /// The provider's description of it.
        description: String,
    },
    /// According to its `iss` parameter, the answer is another provider's.
    OtherIssuer(String),
    /// The answer has no `iss` parameter, although this provider always sends one.
    NoIssuer,
    /// An answer cannot be understood.
    Answer { what: &'static str, why: String },
    /// The ID token is not this provider's, or not for this login.
    WrongToken(String),
    /// The provider does not support logins on another machine.
    NoDeviceGrant,
    /// The person did not enter the code on the other machine in time.
    DeviceExpired,
}

impl Fault {
    /// The fault for an error with which the provider redirects the browser back.
    #[must_use]
    pub fn returned(error: String, description: String) -> Self {
        // LemonLDAP::NG sends `consent_required` when a person does not consent.
        if matches!(error.as_str(), "access_denied" | "consent_required") {
            Self::Denied { error, description }
        } else {
            Self::Refused { error, description }
        }
    }

    /// Whether the person refused or the provider denied access.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        matches!(self, Self::Denied { .. })
    }

    /// What to tell a person whose browser has not come back for a while.
    #[must_use]
    pub fn reminder(redirect_uri: &str, sign_in: &SignIn) -> String {
        format!(
            "Still waiting for the browser. If it shows an error about the redirect URI (LemonLDAP::NG: error 108), register \
             exactly {redirect_uri} for the client {} at the provider",
            neutral(&sign_in.oidc.client_id)
        )
    }

    /// The message for the person.
    #[must_use]
    pub fn told(&self, sign_in: &SignIn, has_device_grant: bool) -> Error {
        let provider = neutral(sign_in.oidc.configuration().split("/.well-known/").next().unwrap_or_default());
        let (client, provisioner) = (neutral(&sign_in.oidc.client_id), &sign_in.provisioner);
        let failed = |what: &str| Error::failed(format!("{what} {provider}"));
        match self {
            Self::Unreachable { address, problem } => Error::unreachable(format!("the single sign-on {provider} {}", unreached(problem.is_an_answer())))
                .cause(format!("{}: {problem}", neutral(address)))
                .next(Self::reach(problem)),
            Self::Discovery { address, why } => failed("this is no configuration of a single sign-on:")
                .cause(format!("{}: {}", neutral(address), neutral(why)))
                .next(format!(
                    "on the CA, look at \"configurationEndpoint\" of the provisioner {provisioner}: the provider's own name, and \
                     /.well-known/openid-configuration behind it"
                )),
            Self::NoAddress(address) => Error::failed(format!("the CA's provisioner {provisioner} names no port to listen at"))
                .cause(format!("its listenAddress is {:?}", neutral(address)))
                .next("on the CA, write it as \":10000\""),
            Self::Listen { port, is_taken: true, .. } => Error::failed(format!("nothing can wait for the browser at 127.0.0.1:{port}"))
                .cause(format!("another program listens there, and the provisioner {provisioner} allows this port alone (listenAddress)"))
                .next(format!(
                    "see which one: ss -ltnp 'sport = :{port}'; end it, perhaps an earlier `warded login`{}",
                    if has_device_grant { "; or warded login --device" } else { "" }
                )),
            Self::Listen { port, error, .. } => {
                let next = if has_device_grant { "warded login --device" } else { "see why nothing can listen there: ip addr show dev lo" };
                Error::failed(format!("nothing can wait for the browser at 127.0.0.1:{port}")).cause(error).next(next)
            }
            Self::NoAnswer { patience, redirect_uri, visits, knows_client } => {
                Self::no_answer(failed("the browser did not come back from"), (*patience, redirect_uri), *visits, *knows_client, sign_in)
            }
            Self::Denied { error, description } => said(failed("the sign-in was denied by"), error, description)
                .next("sign in again and agree: warded login; or ask those who run the provider to allow you its client "
                    .to_owned()
                    + &client),
            Self::Refused { error, description } => self.refused(said(failed("the sign-in was refused by"), error, description), error, sign_in),
            Self::OtherIssuer(issuer) => Error::refused("the answer that the browser brought is not used")
                .cause(format!("it says that {} gave it, and {provider} was asked", neutral(issuer)))
                .next("begin again, and sign in only where the login leads: warded login"),
            Self::NoIssuer => Error::refused("the answer that the browser brought is not used")
                .cause(format!("it does not say who gave it, and {provider} promises to say so in each (RFC 9207)"))
                .next("begin again, and sign in only where the login leads: warded login; if it stays so, look at the provider's log"),
            Self::Answer { what, why } => failed("there was no usable answer from").cause(format!("{what}: {}", neutral(why))).next("look at the provider's log"),
            Self::WrongToken(why) => Error::refused(format!("the ID token from {provider} is not used"))
                .cause(neutral(why))
                .next("begin again: warded login; if it stays so, compare the clocks, and look at the provider's log"),
            Self::NoDeviceGrant => failed("no login on another device is offered by")
                .cause("its configuration has no device_authorization_endpoint")
                .next(NO_DEVICE),
            Self::DeviceExpired => failed("the code was not used in time at")
                .next("warded login --device again, and finish before the code expires"),
        }
    }

    fn no_answer(
        told: Error,
        (patience, redirect_uri): (Duration, &str),
        visits: Visits,
        knows_client: Option<bool>,
        sign_in: &SignIn,
    ) -> Error {
        let (client, provisioner) = (neutral(&sign_in.oidc.client_id), &sign_in.provisioner);
        let changes = if sign_in.oidc.listen_address.is_empty() {
            "; the port changes with each login, unless the CA's provisioner has a listenAddress such as \":10000\""
        } else {
            ""
        };
        if knows_client == Some(false) {
            return told
                .cause(format!(
                    "the provider does not know the client {client}, or not with the secret that the CA's provisioner \
                     {provisioner} has: its token endpoint says so (LemonLDAP::NG: error 107 in the browser)"
                ))
                .next(format!(
                    "at the provider, register the client {client} with the redirect URI {redirect_uri}, public or with the \
                     provisioner's \"clientSecret\"; or correct \"clientID\" and \"clientSecret\" on the CA{changes}"
                ));
        }
        let mut told = told
            .cause(format!("nothing came to {redirect_uri} within {}", distance(patience)))
            .seen(if visits.is_opened { "the browser opened the login" } else { "no browser opened the login" });
        if visits.opened_again > 0 {
            told = told.seen("the login's address was opened more than once: if that was not you, another program on this machine tried it");
        }
        if visits.strangers > 0 {
            told = told.seen(format!(
                "{} came that belong to no login here (an older window, or another program)",
                crate::text::count(visits.strangers, "answer")
            ));
        }
        if knows_client == Some(true) {
            told = told.seen(format!("the provider knows the client {client}"));
        }
        told.next(format!(
            "warded login again, and finish in the browser. Where the browser shows the form again, name or password were \
             wrong, or the form was open for too long. Where it shows an error, of LemonLDAP::NG 107: the provider has no \
             client {client}; 84 or 90: its rules do not let this person use the client; 108, or one about the redirect URI: \
             at the provider, add to the client {client} exactly this redirect URI: {redirect_uri}{changes}"
        ))
    }

    fn reach(problem: &Problem) -> &'static str {
        match problem {
            Problem::OtherRoot => {
                "have this machine trust the provider's root certificate, as its browser does (Debian: \
                 /usr/local/share/ca-certificates, update-ca-certificates), or name a file of roots in SSL_CERT_FILE"
            }
            Problem::OtherTime => "compare this machine's clock with the provider's",
            Problem::OtherName => {
                "the address has to have a name that the provider's certificate has: correct \"configurationEndpoint\" of \
                 the CA's provisioner, or the provider's certificate"
            }
            Problem::Unsupported(_) | Problem::Invalid(_) => "have the provider show another certificate",
            Problem::Redirect => {
                "on the CA, name the address that it leads to in \"configurationEndpoint\" of the provisioner"
            }
            Problem::NoConnection(_)
            | Problem::TimedOut
            | Problem::Tls(_)
            | Problem::TooLong(_)
            | Problem::Broken(_)
            | Problem::Local(_) => "make sure that the provider runs, and that this machine reaches it",
        }
    }

    fn refused(&self, told: Error, error: &str, sign_in: &SignIn) -> Error {
        let (client, provisioner) = (neutral(&sign_in.oidc.client_id), &sign_in.provisioner);
        match error {
            "invalid_client" | "unauthorized_client" => told.next(format!(
                "compare the client {client} at the provider with \"clientID\" and \"clientSecret\" of the CA's provisioner \
                 {provisioner}: public, or with that secret; allowed what was asked"
            )),
            "login_required" | "interaction_required" | "account_selection_required" => {
                told.next("sign in at the provider in the browser, then begin again: warded login")
            }
            "server_error" | "temporarily_unavailable" => {
                told.next("the fault is at the provider: begin again later, and look at its log")
            }
            "invalid_grant" => told.next("begin again, and finish soon: warded login"),
            "invalid_scope" => told.next(format!("on the CA, look at \"scopes\" of the provisioner {provisioner}")),
            _ => told.next(format!("look at the provider's log, and at its client {client}: code flow, PKCE (S256), scopes openid and email")),
        }
    }
}

/// What to do if there is no browser here, and the provider does not support the device grant.
const NO_DEVICE: &str = "from a machine with a browser: ssh -L PORT:127.0.0.1:PORT to this one, with the port of the \
                         provisioner's listenAddress; then warded login here, and open its address there";

fn said(error: Error, word: &str, sentence: &str) -> Error {
    let sentence = if sentence.is_empty() { String::new() } else { format!(": {}", neutral(sentence)) };
    error.cause(format!("it says {}{sentence}", neutral(word)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(listen_address: &str, fault: &Fault) -> String {
        let oidc = json!({
            "clientID": "step-cli", "configurationEndpoint": "https://auth.test", "listenAddress": listen_address,
        });
        let sign_in = SignIn { provisioner: "sso (OIDC)".to_owned(), oidc: serde_json::from_value(oidc).unwrap() };
        fault.told(&sign_in, false).to_string()
    }

    fn no_answer(visits: Visits) -> Fault {
        let redirect_uri = "http://127.0.0.1:10000".to_owned();
        Fault::NoAnswer { patience: Duration::from_secs(180), redirect_uri, visits, knows_client: None }
    }

    #[test]
    fn a_browser_that_does_not_come_back_is_told_with_the_uri_to_register() {
        let nobody = told(":10000", &no_answer(Visits::default()));
        for part in [
            "the browser did not come back from https://auth.test",
            "nothing came to http://127.0.0.1:10000 within 3 min",
            "no browser opened the login",
            "add to the client step-cli exactly this redirect URI: http://127.0.0.1:10000\n",
        ] {
            assert!(format!("{nobody}\n").contains(part), "{part}: {nobody}");
        }
        let some = told("", &no_answer(Visits { is_opened: true, opened_again: 1, strangers: 2 }));
        for part in [
            "the browser opened the login",
            "opened more than once",
            "2 answers came that belong to no login here",
            "the port changes with each login",
        ] {
            assert!(some.contains(part), "{part}: {some}");
        }
    }

    #[test]
    fn what_a_provider_returns_has_its_own_next_step() {
        for (error, heading, next) in [
            ("access_denied", "the sign-in was denied by", "sign in again and agree"),
            ("consent_required", "the sign-in was denied by", "sign in again and agree"),
            ("login_required", "the sign-in was refused by", "sign in at the provider in the browser"),
            ("temporarily_unavailable", "the sign-in was refused by", "begin again later"),
            ("unauthorized_client", "the sign-in was refused by", "compare the client step-cli"),
            ("invalid_scope", "the sign-in was refused by", "look at \"scopes\""),
            ("unknown", "the sign-in was refused by", "code flow, PKCE (S256)"),
        ] {
            let told = told("", &Fault::returned(error.to_owned(), "a sentence".to_owned()));
            let cause = format!("it says {error}: a sentence");
            assert!([heading, &cause, next].iter().all(|part| told.contains(part)), "{error}: {told}");
        }
    }

    #[test]
    fn each_problem_on_the_way_has_its_own_next_step() {
        for (problem, next) in [
            (Problem::NoConnection("refused".to_owned()), "make sure that the provider runs"),
            (Problem::TimedOut, "make sure that the provider runs"),
            (Problem::OtherRoot, "SSL_CERT_FILE"),
            (Problem::OtherTime, "clock"),
            (Problem::OtherName, "a name that the provider's certificate has"),
            (Problem::Invalid("x".to_owned()), "another certificate"),
            (Problem::Redirect, "the address that it leads to"),
        ] {
            let what = unreached(problem.is_an_answer());
            let told = told("", &Fault::Unreachable { address: "https://auth.test/x".to_owned(), problem });
            assert!(told.contains(what) && told.contains(next), "{next}: {told}");
        }
        assert!(told("here", &Fault::NoAddress("here".to_owned())).contains("write it as \":10000\""));
        assert!(told("", &Fault::NoDeviceGrant).contains("ssh -L"));
    }
}
