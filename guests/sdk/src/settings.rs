//! The settings of a procedure. The host has already checked their names, types and numbers against the policy; these
//! checks find a guest and a policy that do not agree.

use crate::{Error, Setting};

/// The settings of one run, in the order given.
#[derive(Debug, Clone)]
pub struct Settings(Vec<Setting>);

impl Settings {
    /// Every value of a setting, in order; empty if it was not given.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|setting| setting.name == name).map(|setting| setting.value.as_str()).collect()
    }

    /// The value of a setting that may be left out.
    ///
    /// # Errors
    /// `repeated-setting` where it was given more than once.
    pub fn optional(&self, name: &str) -> Result<Option<&str>, Error> {
        match self.all(name).as_slice() {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            [..] => Err(Error::new("repeated-setting", format!("The setting {name} was given more than once."))
                .about("setting", name)
                .next(format!("give one --set {name}=VALUE"))),
        }
    }

    /// The value of a setting that must be given once.
    ///
    /// # Errors
    /// `missing-setting` or `repeated-setting`.
    pub fn one(&self, name: &str) -> Result<&str, Error> {
        self.optional(name)?.ok_or_else(|| missing(name))
    }
}

impl From<Vec<Setting>> for Settings {
    fn from(settings: Vec<Setting>) -> Self {
        Self(settings)
    }
}

fn missing(name: &str) -> Error {
    Error::new("missing-setting", format!("The setting {name} is missing."))
        .about("setting", name)
        .next(format!("add --set {name}=VALUE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Settings {
        let setting = |(name, value): &(&str, &str)| Setting { name: (*name).to_owned(), value: (*value).to_owned() };
        Settings::from(values.iter().map(setting).collect::<Vec<_>>())
    }

    #[test]
    fn values_keep_their_order() {
        let settings = settings(&[("text", "a"), ("path", "/p"), ("text", "b"), ("text", "a")]);
        assert_eq!(settings.all("text"), ["a", "b", "a"]);
        assert!(settings.all("other").is_empty());
        assert_eq!(settings.one("path").unwrap(), "/p");
        assert_eq!(settings.optional("other").unwrap(), None);
    }

    #[test]
    fn a_missing_or_repeated_setting_is_an_error() {
        let settings = settings(&[("text", "a"), ("text", "b")]);
        assert_eq!(settings.one("path").unwrap_err().code, "missing-setting");
        assert_eq!(settings.one("text").unwrap_err().code, "repeated-setting");
        assert_eq!(settings.optional("text").unwrap_err().code, "repeated-setting");
    }
}
