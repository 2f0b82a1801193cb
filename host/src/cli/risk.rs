//! The risks that an operator accepts by name.

use super::confirm::ConfirmWithin;
use crate::pipeline::Terms;
use clap::{Args, ValueEnum};
use warded_lib::guard::Risks;

/// A risk that Warded takes only where the operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Risk {
    /// A user may not be able to log in without a certificate any more
    LoseSsh,
    /// A user who cannot log in today may be able to log in
    AdmitLogins,
    /// A certificate of the CA with the principal root logs in as root
    RootByCertificate,
    /// Clients that know a host key which is replaced will warn, and refuse to connect
    ReplaceHostKeys,
    /// Clients that do not know the CA's new key do not accept its certificates
    NewCaKey,
    /// The CA is trusted for hosts of every domain, not only of your own
    AnyHost,
    /// The listening program is not recognised as this sshd, so it is not reloaded
    UnknownListener,
    /// sshd lets no probe in, so nobody can tell afterwards what it serves
    NotSeenLive,
    /// A line of sshd's configuration may be removed although no record says that Warded wrote it
    UnrecordedLines,
}

/// For the commands that may take one.
#[derive(Clone, Debug, Args)]
pub(super) struct AcceptRisk {
    /// Accept a risk for which Warded would otherwise refuse
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<Risk>,
}

impl AcceptRisk {
    /// The terms on which a command changes something.
    pub(super) fn terms(&self, confirm: &ConfirmWithin) -> Terms {
        Terms { confirm_within: confirm.confirm_within, ..self.accepted() }
    }

    /// The same for a command that only shows a change, which nobody has to confirm.
    pub(super) fn accepted(&self) -> Terms {
        let accepts = |risk| self.accept_risk.contains(&risk);
        Terms {
            confirm_within: None,
            logins: Risks {
                lose: accepts(Risk::LoseSsh),
                admit: accepts(Risk::AdmitLogins),
                root: accepts(Risk::RootByCertificate),
            },
            replace_host_keys: accepts(Risk::ReplaceHostKeys),
            any_host: accepts(Risk::AnyHost),
            new_ca_key: accepts(Risk::NewCaKey),
            unknown_listener: accepts(Risk::UnknownListener),
            not_seen_live: accepts(Risk::NotSeenLive),
            unrecorded_lines: accepts(Risk::UnrecordedLines),
        }
    }
}

/// A risk that `renew` takes only where the operator names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RenewalRisk {
    /// Clients that do not know the CA's new key do not accept its certificates
    NewCaKey,
    /// The listening program is not recognised as this sshd, so it is not reloaded
    UnknownListener,
    /// sshd lets no probe in, so nobody can tell afterwards what it serves
    NotSeenLive,
}

/// For `renew`, which takes those that it can name.
#[derive(Clone, Debug, Args)]
pub(super) struct AcceptRenewalRisk {
    /// Accept a risk for which Warded would otherwise postpone the renewal
    #[arg(long, value_name = "RISK")]
    accept_risk: Vec<RenewalRisk>,
}

impl AcceptRenewalRisk {
    /// The terms on which a command renews certificates.
    pub(super) fn terms(&self) -> Terms {
        let accepts = |risk| self.accept_risk.contains(&risk);
        Terms {
            new_ca_key: accepts(RenewalRisk::NewCaKey),
            unknown_listener: accepts(RenewalRisk::UnknownListener),
            not_seen_live: accepts(RenewalRisk::NotSeenLive),
            ..Terms::default()
        }
    }
}
