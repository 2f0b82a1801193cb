//! Risks that an operator takes by their names, and only those.

use clap::{Args, ValueEnum};
use warded_lib::guard::Risks;

/// What Warded does not do unless it is told by this name to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Risk {
    /// Somebody may not be able to log in without a certificate any more
    LoseSsh,
    /// Somebody may be able to log in who is not today
    AdmitLogins,
    /// A certificate of the CA with the principal root logs in as root
    RootByCertificate,
    /// Clients that know a host key which is replaced will warn, and refuse to connect
    ReplaceHostKeys,
    /// Clients that do not know the CA's new key do not accept its certificates
    NewCaKey,
    /// The CA is trusted for hosts of every domain, not only of one's own
    AnyHost,
    /// What listens is not known to be this sshd, and is not told of its new configuration
    UnknownListener,
}

/// For the commands that may take one.
#[derive(Clone, Debug, Args)]
pub(super) struct AcceptRisk {
    /// Do it although it is refused for this risk
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<Risk>,
}

impl AcceptRisk {
    /// What is accepted about logins.
    pub(super) fn logins(&self) -> Risks {
        Risks {
            lose: self.accept_risk.contains(&Risk::LoseSsh),
            admit: self.accept_risk.contains(&Risk::AdmitLogins),
            root: self.accept_risk.contains(&Risk::RootByCertificate),
        }
    }

    /// Whether what listens may be left untold.
    pub(super) fn unknown_listener(&self) -> bool {
        self.accept_risk.contains(&Risk::UnknownListener)
    }

    /// Whether the CA may be trusted for hosts of every domain.
    pub(super) fn any_host(&self) -> bool {
        self.accept_risk.contains(&Risk::AnyHost)
    }

    /// Whether certificates of a new CA key may replace those of the former one.
    pub(super) fn new_ca_key(&self) -> bool {
        self.accept_risk.contains(&Risk::NewCaKey)
    }

    /// Whether host keys may be replaced.
    pub(super) fn replace_host_keys(&self) -> bool {
        self.accept_risk.contains(&Risk::ReplaceHostKeys)
    }
}

/// What `renew` does not do unless it is told by this name to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RenewalRisk {
    /// Clients that do not know the CA's new key do not accept its certificates
    NewCaKey,
    /// What listens is not known to be this sshd, and is not told of its new configuration
    UnknownListener,
}

/// For `renew`, which takes those that it can name.
#[derive(Clone, Debug, Args)]
pub(super) struct AcceptRenewalRisk {
    /// Do it although it is put off for this risk
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<RenewalRisk>,
}

impl AcceptRenewalRisk {
    /// Whether certificates of a new CA key may replace those of the former one.
    pub(super) fn new_ca_key(&self) -> bool {
        self.accept_risk.contains(&RenewalRisk::NewCaKey)
    }

    /// Whether what listens may be left untold.
    pub(super) fn unknown_listener(&self) -> bool {
        self.accept_risk.contains(&RenewalRisk::UnknownListener)
    }
}
