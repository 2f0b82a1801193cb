//! Settings: the values that the operator can give to a procedure, and their types.

use crate::{
    ca::{Kind, Principals},
    error::{Error, Result},
    name::Name,
};
use serde::Deserialize;
use sshd_config::{known_hosts::Patterns, principals};
use std::collections::BTreeMap;

/// A value that the operator gave, or that an enrolment has stored.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    pub name: Name,
    /// The value, in the form that the procedure receives.
    pub value: String,
}

/// A policy's declaration of a setting.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    /// What it is for, in a few words.
    pub help: String,
    /// The type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Whether it may be given more than once.
    #[serde(default)]
    pub many: bool,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// The value if none is given.
    pub default: Option<String>,
    /// The values that a `choice` allows.
    #[serde(default)]
    pub values: Vec<String>,
}

/// The types of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A text of one line.
    String,
    /// A machine's name for which certificates are requested. By giving it, the operator confirms it.
    Principal,
    /// A list of host name patterns, for which the CA is trusted. By giving it, the operator confirms it.
    Domain,
    /// Which principals may log in as a user, `LOGIN=PRINCIPAL[,PRINCIPAL...]`, or `none`. By giving it, the operator
    /// confirms it.
    Principals,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of `values`.
    Choice,
}

impl Type {
    /// Whether the operator confirms a value by giving it.
    const fn confirms(self) -> bool {
        match self {
            Self::Principal | Self::Domain | Self::Principals => true,
            Self::String | Self::Integer | Self::Boolean | Self::Choice => false,
        }
    }
}

/// Checks the given values against the declarations, and adds defaults. Keeps the order of the values, and repeated
/// ones.
///
/// # Errors
/// A usage error: a setting is not declared, missing, repeated, or of the wrong type.
pub fn resolve(procedure: &Name, declared: &BTreeMap<Name, Declaration>, given: &[Setting]) -> Result<Vec<Setting>> {
    let mut resolved: Vec<Setting> = Vec::new();
    for setting in given {
        let Some(declaration) = declared.get(&setting.name) else {
            let names: Vec<&str> = declared.keys().map(Name::as_str).collect();
            let known =
                if names.is_empty() { "it has none".to_owned() } else { format!("one of: {}", names.join(", ")) };
            return Err(Error::usage(format!("{procedure} has no setting {}", setting.name)).next(known));
        };
        let value = declaration.check(&setting.value).map_err(|why| {
            Error::usage(format!("setting {} of {procedure}: {why}", setting.name)).next(&declaration.help)
        })?;
        let setting = Setting { name: setting.name.clone(), value };
        if !declaration.many && resolved.iter().any(|other| other.name == setting.name) {
            return Err(Error::usage(format!("setting {} of {procedure} is given twice", setting.name)));
        }
        resolved.push(setting);
    }
    for (name, declaration) in declared {
        if resolved.iter().any(|setting| setting.name == *name) {
            continue;
        }
        if let Some(default) = &declaration.default {
            let value = declaration.check(default).map_err(|why| {
                Error::usage(format!("setting {name} of {procedure}: its default cannot be used: {why}"))
            })?;
            resolved.push(Setting { name: name.clone(), value });
        } else if declaration.required {
            return Err(Error::usage(format!("{procedure} needs the setting {name}: {}", declaration.help))
                .next(format!("--set {name}=…")));
        }
    }
    Ok(resolved)
}

impl Declaration {
    /// Why its default is not allowed; `None` if it is, or if there is no default.
    pub(super) fn fault_of_default(&self) -> Option<String> {
        let default = self.default.as_ref()?;
        if self.kind.confirms() {
            return Some("giving its value confirms it, so it can have no default".to_owned());
        }
        self.check(default).err().map(|why| format!("its default cannot be used: {why}"))
    }

    /// Checks the value, and returns its canonical form.
    fn check(&self, value: &str) -> Result<String, String> {
        if value.len() > 64 * 1024 || value.chars().any(|character| character.is_control() && character != '\t') {
            return Err("too long, or with a control character".to_owned());
        }
        match self.kind {
            Type::String => Ok(value.to_owned()),
            Type::Principal => Ok(Principals::parse(Kind::Host, [value])
                .map_err(|why| why.to_string())?
                .iter()
                .map(ToString::to_string)
                .collect()),
            Type::Domain => value.parse::<Patterns>().map(|patterns| patterns.to_string()),
            Type::Principals => principals::check(value).map(|()| value.to_owned()),
            Type::Integer => value
                .parse::<i64>()
                .map(|number| number.to_string())
                .map_err(|_| format!("{value:?} is not a whole number")),
            Type::Boolean => match value {
                "true" | "yes" => Ok("true".to_owned()),
                "false" | "no" => Ok("false".to_owned()),
                _ => Err(format!("{value:?} is neither true nor false")),
            },
            Type::Choice if self.values.iter().any(|choice| choice == value) => Ok(value.to_owned()),
            Type::Choice => Err(format!("{value:?} is not one of: {}", self.values.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_as_given() {
        let declared: BTreeMap<Name, Declaration> =
            toml::from_str("x = { type = 'string', many = true, help = 'x' }\ny = { type = 'string', help = 'y' }")
                .unwrap();
        let procedure = "go".parse().unwrap();
        let resolved = |given: &[(&str, &str)]| {
            let setting =
                |(name, value): &(&str, &str)| Setting { name: name.parse().unwrap(), value: (*value).to_owned() };
            let given: Vec<_> = given.iter().map(setting).collect();
            resolve(&procedure, &declared, &given).map(|settings| settings == given)
        };
        assert!(resolved(&[("x", "A"), ("x", "B"), ("y", "C"), ("x", "A")]).unwrap());
        assert!(resolved(&[("y", "A"), ("y", "A")]).unwrap_err().to_string().contains("is given twice"));
    }
}
