//! On what terms a run changes something: which risks the operator accepts by name, and whether the operator has to
//! confirm the change.

use jiff::SignedDuration;
use warded_lib::guard::Risks as LoginRisks;

/// The terms. The default accepts no risk, and a proved change is kept without confirmation.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How long the operator has to confirm the change; `None` if no confirmation is needed.
    pub confirm_within: Option<SignedDuration>,
    /// The accepted risks about logins.
    pub logins: LoginRisks,
    /// Whether clients that know a host key may get a warning.
    pub replace_host_keys: bool,
    /// Whether the CA may be trusted for hosts of any domain.
    pub any_host: bool,
    /// Whether clients may need a new key of the CA.
    pub new_ca_key: bool,
    /// Whether an unknown listener may be left without a reload.
    pub unknown_listener: bool,
    /// Whether a listener that cannot be asked may be reloaded all the same.
    pub not_seen_live: bool,
    /// Whether lines that no record of a run covers may be removed.
    pub unrecorded_lines: bool,
}

impl Terms {
    /// The risks that are accepted, by their names on the command line.
    pub fn accepted(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.logins.lose, "lose-ssh"),
            (self.logins.admit, "admit-logins"),
            (self.logins.root, "root-by-certificate"),
            (self.replace_host_keys, "replace-host-keys"),
            (self.unknown_listener, "unknown-listener"),
            (self.not_seen_live, "not-seen-live"),
            (self.new_ca_key, "new-ca-key"),
            (self.any_host, "any-host"),
            (self.unrecorded_lines, "unrecorded-lines"),
        ]
        .into_iter()
        .filter_map(|(is_accepted, risk)| is_accepted.then_some(risk))
    }
}
