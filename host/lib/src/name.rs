//! The types of names in a policy file. A name is checked once, when it is parsed.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A name of a policy, procedure, service or setting: lower-case letters, digits and single
/// hyphens, starting with a letter, at most 64 long. The Component Model's kebab-case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let starts = text.starts_with(|first: char| first.is_ascii_lowercase());
        let made_of = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if starts && made_of && text.len() <= 64 && !text.ends_with('-') && !text.contains("--") {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{:?} is not a name: lower-case letters, digits and single hyphens, a letter first",
                crate::text::neutral(&text.chars().take(80).collect::<String>())
            ))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A systemd unit's name, such as `ssh.service`: what systemd.unit(5) allows, except instances of templates, and except
/// names that a program could take for an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UnitName(String);

impl UnitName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UnitName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.".contains(&byte);
        let suffix = [".service", ".socket", ".timer"].iter().any(|suffix| text.ends_with(suffix));
        if suffix && text.bytes().all(allowed) && !text.starts_with(['-', '.']) && text.len() <= 255 {
            Ok(Self(text))
        } else {
            Err(format!("{text:?} is not the name of a systemd unit (such as \"ssh.service\")"))
        }
    }
}

/// A keyword of sshd_config(5), in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Keyword(String);

impl Keyword {
    /// The keyword, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Keyword {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("{:?} is not a keyword of sshd_config", crate::text::neutral(&text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["unix", "renew-host", "a1"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "Unix", "-a", "a-", "a--b", "a b", "1a", "a\n", "../x", &"a".repeat(65)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn units_cannot_be_options_or_shell() {
        for good in ["ssh.service", "ssh.socket", "a_b-c.timer"] {
            assert!(UnitName::try_from(good.to_owned()).is_ok(), "{good}");
        }
        for bad in
            ["ssh", "--now.service", "a b.service", "ssh.service;x", "getty@tty1.service", "a/b.service", "x.target"]
        {
            assert!(UnitName::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }
}
