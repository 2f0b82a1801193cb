//! The provisioners of a CA, and which of them is suitable for what.

mod oidc;

pub use oidc::Oidc;

use crate::{ca::Kind, text::neutral};
use serde::Deserialize;
use std::fmt;

/// A provisioner: one of the CA's ways of issuing certificates.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioner {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    #[serde(default)]
    claims: Option<Claims>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    state_reason: Option<String>,
    #[serde(default)]
    key: Option<PublicJwk>,
    #[serde(default)]
    encrypted_key: Option<String>,
    /// Fields that only some types have.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Contains only what the provisioner overrides: the CA does not publish its own defaults.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Claims {
    #[serde(rename = "enableSSHCA")]
    enable_ssh_ca: Option<bool>,
    disable_renewal: Option<bool>,
    allow_renewal_after_expiry: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct PublicJwk {
    #[serde(default)]
    kid: String,
}

/// The types of provisioners that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A key pair whose private half is in a file, or is unlocked with a password.
    Jwk,
    /// An X.509 certificate that the machine has already.
    X5c,
    /// Single sign-on.
    Oidc,
    /// A Kubernetes service account.
    K8sSa,
    /// A machine's identity in a cloud or a network: AWS, GCP, Azure, Nebula.
    Instance,
    /// The host's own key and certificate, for renewals.
    SshPop,
    /// Any other type.
    Other,
}

/// The purpose for which a provisioner is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// New certificates, with a password or a key.
    IssueWithKey,
    /// New certificates, with an X.509 certificate.
    IssueWithX5c,
    /// User certificates, with a single sign-on.
    SignIn,
    /// Successors of certificates that are still valid.
    Renew,
    /// Successors of certificates that have expired.
    RenewExpired,
    /// Successors with another key.
    Rekey,
}

impl Purpose {
    fn serves(self) -> Type {
        match self {
            Self::IssueWithKey => Type::Jwk,
            Self::IssueWithX5c => Type::X5c,
            Self::SignIn => Type::Oidc,
            Self::Renew | Self::RenewExpired | Self::Rekey => Type::SshPop,
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::IssueWithKey => "issue SSH certificates to those who know its password",
            Self::IssueWithX5c => "issue SSH certificates to holders of an X.509 certificate",
            Self::SignIn => "log people in with a single sign-on",
            Self::Renew => "renew host certificates",
            Self::RenewExpired => "renew expired host certificates",
            Self::Rekey => "replace host keys",
        }
    }
}

/// Why a provisioner is not suitable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnfitReason {
    /// It is of another type.
    Type,
    /// The CA could not initialise it; with the CA's reason.
    Uninitialised(String),
    /// Its claims switch SSH off.
    NoSsh,
    /// Its claims switch renewals off.
    NoRenewal,
    /// Its claims do not allow renewing expired certificates.
    NotAfterExpiry,
}

impl Provisioner {
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its type's name, neutralised.
    #[must_use]
    pub fn type_name(&self) -> String {
        neutral(&self.kind)
    }

    #[must_use]
    pub fn of_type(&self) -> Type {
        match self.kind.to_ascii_lowercase().as_str() {
            "jwk" => Type::Jwk,
            "x5c" => Type::X5c,
            "oidc" => Type::Oidc,
            "sshpop" => Type::SshPop,
            "k8ssa" => Type::K8sSa,
            "aws" | "gcp" | "azure" | "nebula" => Type::Instance,
            _ => Type::Other,
        }
    }

    /// The ID of its key, if it has one.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.key.as_ref().map(|key| key.kid.as_str()).filter(|kid| !kid.is_empty())
    }

    /// Its encrypted private key, if the list contains it.
    #[must_use]
    pub fn encrypted_key(&self) -> Option<&str> {
        self.encrypted_key.as_deref().filter(|key| !key.is_empty())
    }

    /// Its state in words, if the CA reports that it is not usable.
    #[must_use]
    pub fn state(&self) -> Option<String> {
        let state = self.state.as_deref().filter(|state| !state.is_empty())?;
        let reason = self.state_reason.as_deref().filter(|reason| !reason.is_empty());
        Some(neutral(&reason.map_or_else(|| state.to_owned(), |reason| format!("{state}: {reason}"))))
    }

    /// Why it is not suitable for a purpose, as far as the CA shows; `None` if it is suitable.
    #[must_use]
    pub fn unfit(&self, purpose: Purpose) -> Option<UnfitReason> {
        if let Some(state) = self.state() {
            return Some(UnfitReason::Uninitialised(state));
        }
        if self.of_type() != purpose.serves() {
            return Some(UnfitReason::Type);
        }
        let claims = self.claims.unwrap_or_default();
        match purpose {
            Purpose::IssueWithKey | Purpose::IssueWithX5c | Purpose::SignIn if claims.enable_ssh_ca == Some(false) => {
                Some(UnfitReason::NoSsh)
            }
            Purpose::Renew | Purpose::RenewExpired if claims.disable_renewal == Some(true) => {
                Some(UnfitReason::NoRenewal)
            }
            Purpose::RenewExpired if claims.allow_renewal_after_expiry != Some(true) => {
                Some(UnfitReason::NotAfterExpiry)
            }
            Purpose::IssueWithKey
            | Purpose::IssueWithX5c
            | Purpose::SignIn
            | Purpose::Renew
            | Purpose::RenewExpired
            | Purpose::Rekey => None,
        }
    }

    /// Its name and its type, for messages.
    #[must_use]
    pub fn label(&self) -> Label {
        Label { name: neutral(&self.name), kind: self.type_name() }
    }

    /// Whether it certifies keys of a kind, as far as its type and its claims show.
    #[must_use]
    pub fn certifies(&self, kind: Kind) -> bool {
        if self.claims.unwrap_or_default().enable_ssh_ca == Some(false) {
            return false;
        }
        match (self.of_type(), kind) {
            (Type::Jwk | Type::X5c | Type::K8sSa, _) | (Type::Oidc, Kind::User) | (Type::Instance, Kind::Host) => true,
            // Admins of a single sign-on may request any certificate, but that is not its purpose.
            (Type::Oidc, Kind::Host) | (Type::Instance, Kind::User) | (Type::SshPop | Type::Other, _) => false,
        }
    }

    /// Its use for SSH, in words. `signed`: the kinds for which the CA has keys.
    #[must_use]
    pub fn usable_for(&self, signed: &[Kind]) -> &'static str {
        let claims = self.claims.unwrap_or_default();
        let certifies = |kind| signed.contains(&kind) && self.certifies(kind);
        if self.of_type() == Type::SshPop {
            return match (claims.disable_renewal, claims.allow_renewal_after_expiry) {
                _ if !signed.contains(&Kind::Host) => "not for SSH",
                (Some(true), _) => "new keys of hosts; renewals are disabled",
                (_, Some(true)) => "renewals of hosts, after expiry too",
                _ => "renewals of hosts",
            };
        }
        match (certifies(Kind::Host), certifies(Kind::User)) {
            (true, true) => "hosts and people",
            (true, false) => "hosts",
            (false, true) => "people",
            (false, false) => "not for SSH",
        }
    }
}

impl fmt::Display for Provisioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.label().fmt(f)
    }
}

impl fmt::Display for UnfitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type => f.write_str("it is of another type"),
            Self::Uninitialised(state) => write!(f, "the CA could not initialise it ({state})"),
            Self::NoSsh => f.write_str("its claim enableSSHCA is false"),
            Self::NoRenewal => f.write_str("its claim disableRenewal is true"),
            Self::NotAfterExpiry => f.write_str("its claim allowRenewalAfterExpiry is not true"),
        }
    }
}

/// A provisioner's name and type, in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its name, neutralised.
    pub name: String,
    /// Its type, neutralised.
    pub kind: String,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.kind)
    }
}

/// The labels of several provisioners.
pub(super) fn list(labels: &[Label]) -> String {
    labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Why no provisioner was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChoiceError {
    /// There is no provisioner with that name; with the suitable ones.
    Unknown(String, Vec<Label>),
    /// The named one is not suitable.
    Unfit(Label, UnfitReason),
    /// None of the right type is suitable; with the reason for each.
    None(Vec<(Label, UnfitReason)>),
    /// More than one is suitable.
    Several(Vec<Label>),
}

/// Chooses the named provisioner, or the only suitable one. Of several that renew, the first one is chosen: they are
/// equivalent, since all of them rely on the CA's own SSH keys.
///
/// # Errors
/// No provisioner can be chosen; with the candidates.
pub fn choose<'a>(
    provisioners: &'a [Provisioner],
    purpose: Purpose,
    named: Option<&str>,
) -> Result<&'a Provisioner, ChoiceError> {
    let fit: Vec<&Provisioner> =
        provisioners.iter().filter(|provisioner| provisioner.unfit(purpose).is_none()).collect();
    let labels = |found: &[&Provisioner]| found.iter().map(|found| found.label()).collect();
    if let Some(named) = named {
        let same_name: Vec<&Provisioner> = provisioners.iter().filter(|found| found.name == named).collect();
        return match (same_name.iter().find(|found| found.unfit(purpose).is_none()), same_name.first()) {
            (Some(found), _) => Ok(found),
            (None, Some(found)) => {
                Err(ChoiceError::Unfit(found.label(), found.unfit(purpose).unwrap_or(UnfitReason::Type)))
            }
            (None, None) => Err(ChoiceError::Unknown(neutral(named), labels(&fit))),
        };
    }
    match (fit.as_slice(), purpose.serves()) {
        ([only], _) => Ok(only),
        ([first, ..], Type::SshPop) => Ok(first),
        ([], wanted) => Err(ChoiceError::None(
            provisioners
                .iter()
                .filter(|found| found.of_type() == wanted)
                .filter_map(|found| Some((found.label(), found.unfit(purpose)?)))
                .collect(),
        )),
        (several, _) => Err(ChoiceError::Several(labels(several))),
    }
}

impl ChoiceError {
    /// The cause, in words.
    #[must_use]
    pub fn cause(&self, purpose: Purpose) -> String {
        match self {
            Self::Unknown(name, _) => format!("it has no provisioner {name:?}"),
            Self::Unfit(name, why) => format!("its provisioner {name} does not {}: {why}", purpose.what()),
            Self::None(unfit) if unfit.is_empty() => format!("it has no provisioner that can {}", purpose.what()),
            Self::None(unfit) => {
                let each: Vec<String> = unfit.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                format!("none of its provisioners can {} ({})", purpose.what(), each.join("; "))
            }
            Self::Several(found) => {
                format!("several of its provisioners can {}: {}", purpose.what(), list(found))
            }
        }
    }
}

#[cfg(test)]
mod tests;
