//! A component together with the grants that hold for it.

use std::{
    borrow::Cow,
    fmt::{self, Display},
    path::PathBuf,
};
use warded_lib::{
    digest::Digest,
    error::{Error, Result},
    policy::file::Policy,
    text::neutral,
};

/// A policy together with the component that it grants to. The component's digest has been checked.
#[derive(Clone, Debug)]
pub struct BoundPolicy {
    pub policy: Policy,
    /// The digest of the component.
    pub digest: Digest,
    /// The digest of the policy's text.
    pub grants: Digest,
    /// Where the policy came from.
    pub origin: Origin,
    pub component: Cow<'static, [u8]>,
    /// The component's machine code, compiled when this binary was built.
    pub precompiled: Option<&'static [u8]>,
}

/// Where a policy came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Part of this binary.
    Bundled,
    /// A file, with its component beside it.
    File(PathBuf),
}

/// The path is made safe to print on a terminal: anybody may have named the file.
impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundled => f.write_str("bundled"),
            Self::File(file) => f.write_str(&neutral(&file.display().to_string())),
        }
    }
}

/// Binds a policy to the bytes that it grants to: grants hold for one digest only.
pub fn bind(
    (policy, text): (Policy, &str),
    origin: Origin,
    component: Cow<'static, [u8]>,
    precompiled: Option<&'static [u8]>,
) -> Result<BoundPolicy> {
    let grants = Digest::of(text.as_bytes());
    let digest = Digest::of(&component);
    match policy.component {
        Some(accepted) if accepted == digest => {
            Ok(BoundPolicy { policy, digest, grants, origin, component, precompiled })
        }
        Some(accepted) => {
            Err(Error::refused(format!("the component of policy {} is not the one that was accepted", policy.name))
                .cause(format!("accepted: {accepted}\nthere is: {digest}"))
                .next("review the component and accept it again, or put the accepted one back"))
        }
        None => Err(Error::usage(format!("policy {} does not say which component it grants to", policy.name))
            .next(format!("if it is meant for this one, add: component = \"{digest}\""))),
    }
}
