//! Keywords whose value can shut users out by how small or how strict it is.

/// Keywords that decide what a user can do once logged in.
pub(super) const AFTER_LOGIN: [&str; 4] = ["forcecommand", "chrootdirectory", "maxsessions", "maxauthtries"];

/// The smallest values with which a user can log in and work.
const LEAST: [(&str, u64); 6] = [
    ("logingracetime", 5),
    ("maxauthtries", 2),
    ("maxsessions", 1),
    ("maxstartups", 2),
    ("persourcemaxstartups", 1),
    ("requiredrsasize", 0),
];

/// Why the new value of a keyword might shut a user out; none if it cannot.
pub(super) fn problem(keyword: &str, before: &[String], after: &[String]) -> Option<String> {
    if before == after {
        return None;
    }
    let (old, new) = (before.first().map_or("", String::as_str), after.first().map_or("", String::as_str));
    if let Some((_, least)) = LEAST.iter().find(|(name, _)| *name == keyword) {
        let number = |text: &str| text.split(':').next()?.parse::<u64>().ok();
        return match (keyword, number(old), number(new)) {
            // There is no limit at all.
            ("logingracetime", _, Some(0)) | ("persourcemaxstartups", _, None) => None,
            ("requiredrsasize", Some(old), Some(new)) if new <= old => None,
            ("requiredrsasize", ..) => Some("users whose RSA keys are shorter would be refused".to_owned()),
            (_, _, Some(new)) if new >= *least => None,
            (_, Some(old), Some(new)) if new >= old => None,
            _ => Some(format!("a user needs at least {least}")),
        };
    }
    match (keyword, new) {
        ("forcecommand" | "chrootdirectory", "none" | "") | ("strictmodes", "no") => None,
        ("forcecommand", _) => Some("a user could run nothing else".to_owned()),
        ("chrootdirectory", _) => Some("a user could use nothing outside that directory".to_owned()),
        _ => Some("Warded cannot find out beforehand how it affects logins".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_strict_values_are_told() {
        for (keyword, before, after, wrong) in [
            ("logingracetime", "120", "7", false),
            ("logingracetime", "120", "1", true),
            ("logingracetime", "1", "1", false),
            ("logingracetime", "120", "0", false),
            ("logingracetime", "120", "5", false),
            ("logingracetime", "1", "2", false),
            ("logingracetime", "2", "1", true),
            ("maxauthtries", "6", "0", true),
            ("maxauthtries", "6", "2", false),
            ("maxauthtries", "6", "3", false),
            ("maxsessions", "10", "0", true),
            ("maxstartups", "10:30:100", "1:30:100", true),
            ("maxstartups", "10:30:100", "5:30:100", false),
            ("persourcemaxstartups", "none", "100", false),
            ("persourcemaxstartups", "none", "0", true),
            ("requiredrsasize", "1024", "4096", true),
            ("requiredrsasize", "4096", "2048", false),
            ("forcecommand", "none", "/bin/false", true),
            ("forcecommand", "/bin/false", "none", false),
            ("chrootdirectory", "/srv", "", false),
            ("chrootdirectory", "none", "/srv", true),
            ("strictmodes", "yes", "no", false),
            ("strictmodes", "no", "yes", true),
            ("refuseconnection", "no", "yes", true),
            ("pamservicename", "sshd", "other", true),
            ("pubkeyauthoptions", "none", "verify-required", true),
        ] {
            let of = |text: &str| vec![text.to_owned()];
            assert_eq!(problem(keyword, &of(before), &of(after)).is_some(), wrong, "{keyword} {before} {after}");
        }
    }
}
