//! Writes the table of one step-ca into the configuration file. The rest of the file stays, including comments and
//! order.

use crate::{
    ca::step::Settings,
    error::{Error, Result},
    machine::{durable, files},
    name::Name,
};
use std::{os::unix::fs::PermissionsExt as _, path::Path};
use toml_edit::{DocumentMut, Item, Table, Value, value};

/// Puts the table of a step-ca into the file: `[step-ca]`, or `[named-ca.NAME]`. Creates the file if needed. Other keys
/// of an existing table stay, unless `settings` sets them.
///
/// # Errors
/// The file is not valid TOML, or cannot be written.
pub fn set_step_ca(file: &Path, name: Option<&Name>, settings: &Settings) -> Result<()> {
    let failed = |why: String| Error::failed(format!("cannot write the configuration {}", file.display())).cause(why);
    let (_, text) = with_step_ca(file, name, settings)?;
    if let Some(directory) = file.parent() {
        durable::directory(directory).map_err(|error| failed(error.to_string()))?;
    }
    // If the file is a link, replaces the link's target. Keeps the mode of that file: it may contain a proxy's
    // password.
    let place = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let mode = place.metadata().map_or(0o644, |there| there.permissions().mode() & 0o777);
    durable::replace(&place, &text, mode).map_err(|error| failed(error.to_string()))
}

/// The present contents of the file (`None`: there is no file), and the contents with the table.
///
/// # Errors
/// The file is not valid TOML.
pub fn with_step_ca(file: &Path, name: Option<&Name>, settings: &Settings) -> Result<(Option<Vec<u8>>, Vec<u8>)> {
    let failed = |why: String| Error::failed(format!("cannot change the configuration {}", file.display())).cause(why);
    let there = files::read_ours(file, files::MAX_BYTES, |why| failed(why.to_string()))?;
    let text = str::from_utf8(there.as_deref().unwrap_or_default()).map_err(|error| failed(error.to_string()))?;
    let text = edited(text, name, settings).map_err(failed)?;
    Ok((there, text.into_bytes()))
}

fn edited(text: &str, name: Option<&Name>, settings: &Settings) -> std::result::Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let table = match name {
        None => document.as_table_mut().entry("step-ca").or_insert(Item::Table(Table::new())),
        Some(name) => {
            let mut all = Table::new();
            // So that no `[named-ca]` header of its own is written.
            all.set_implicit(true);
            let all = document.entry("named-ca").or_insert(Item::Table(all));
            let all = all.as_table_mut().ok_or("its entry named-ca is not a table")?;
            all.entry(name.as_str()).or_insert(Item::Table(Table::new()))
        }
    };
    let table = table.as_table_mut().ok_or("its entry for the CA is not a table")?;
    set(table, "url", &settings.url.to_string());
    set(table, "fingerprint", &settings.fingerprint.to_string());
    set(table, "root", settings.root.as_str());
    for (key, setting) in
        [("provisioner", &settings.provisioner), ("renewal-provisioner", &settings.renewal_provisioner)]
    {
        match setting {
            Some(name) => set(table, key, name),
            None => drop(table.remove(key)),
        }
    }
    Ok(document.to_string())
}

/// Sets a key. The text around it stays, including comments.
fn set(table: &mut Table, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(there) => {
            let around = there.decor().clone();
            *there = Value::from(text);
            *there.decor_mut() = around;
        }
        None => drop(table.insert(key, value(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_other_settings_stay() {
        let mut settings =
            Settings::new("ca.example.org".parse().unwrap(), "ab".repeat(32).parse().unwrap(), "/r".parse().unwrap());
        settings.renewal_provisioner = Some("sshpop".to_owned());
        let before =
            "# ours\nrenew-after = 40 # early\n\n[step-ca]\n# the lab's\nurl = \"https://old\"\nproxy = \"http://p\"\n";
        let after = edited(before, None, &settings).unwrap();
        for line in [
            "# ours",
            "renew-after = 40 # early",
            "# the lab's",
            "url = \"https://ca.example.org\"",
            "proxy = \"http://p\"",
            "renewal-provisioner = \"sshpop\"",
        ] {
            assert!(after.lines().any(|found| found == line), "{line} is missing:\n{after}");
        }
        assert_eq!(edited(&after, None, &settings).unwrap(), after, "a second time changes nothing");
        let fresh = edited("", None, &settings).unwrap();
        assert!(fresh.starts_with("[step-ca]\n"), "{fresh}");
        assert_eq!(toml::from_str::<crate::config::Config>(&fresh).unwrap().step_ca, Some(settings.clone()));
        let work = "work".parse().unwrap();
        let both = edited(&fresh, Some(&work), &settings).unwrap();
        assert!(both.starts_with(&fresh) && both.contains("\n[named-ca.work]\n"), "{both}");
        assert_eq!(edited(&both, Some(&work), &settings).unwrap(), both, "a second time changes nothing");
        let read = toml::from_str::<crate::config::Config>(&both).unwrap();
        assert_eq!((read.step_ca.as_ref(), read.named_ca.get(&work)), (Some(&settings), Some(&settings)));
        for wrong in ["step-ca = 1", "["] {
            assert!(edited(wrong, None, &settings).is_err(), "{wrong}");
        }
        for wrong in ["named-ca = 1", "[named-ca]\nwork = 1"] {
            assert!(edited(wrong, Some(&work), &settings).is_err(), "{wrong}");
        }
    }
}
