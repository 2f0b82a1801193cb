//! The risks for logins that an operator accepts by `--accept-risk`.

/// The risks that an operator accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Risks {
    /// Users may lose a way in.
    pub lose: bool,
    /// Users may gain a way in.
    pub admit: bool,
    /// A certificate with the principal `root` may log in as root.
    pub root: bool,
}
