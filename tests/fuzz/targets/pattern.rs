//! Path patterns of policies, and those of `Include`: against the plainest way to match them. The
//! input is a pattern and a path, or a name, in two lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sshd_config::glob;
use warded_fuzz::{
    machine::path::AbsolutePath,
    policy::pattern::{Pattern, Places},
    reference::{glob_matches, star_matches},
};

/// How long what is tried in every way may be.
const SHORT: usize = 12;

fuzz_target!(|data: &[u8]| {
    let Some((pattern, path)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    include(pattern, path);
    let places = Places { sshd_config: "/e/s/c".parse().unwrap(), home: None };
    let path = path.parse::<AbsolutePath>();
    if let Ok(path) = &path {
        assert_eq!(path.segments().map(|segment| format!("/{segment}")).collect::<String>(), path.as_str());
        assert!(path.segments().all(|segment| !["", ".", ".."].contains(&segment)));
    }
    let Ok(known) = pattern.parse::<Pattern>() else { return };
    assert_eq!(known.to_string(), pattern);
    let Ok(path) = path else { return };
    let covers = known.covers(&path, &places);
    let written = pattern.replacen("{sshd-config}", "/e/s/c", 1).replacen("{sshd}", "/e/s", 1);
    if written.starts_with('{') {
        assert_eq!(covers, None, "there is no home");
        return;
    }
    let (wanted, found): (Vec<&str>, Vec<&str>) = (written.split('/').collect(), path.as_str().split('/').collect());
    if wanted.iter().chain(&found).any(|segment| segment.chars().count() > SHORT) {
        return;
    }
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    let expected = wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| star_matches(&characters(wanted), &characters(found)));
    assert_eq!(covers.is_some(), expected, "{pattern} {path}");
    let literal = wanted.iter().skip(1).take_while(|segment| !segment.contains('*')).count();
    assert!(covers.is_none_or(|count| count == literal), "{pattern} {path}");
});

fn include(pattern: &str, name: &str) {
    let matched = glob::matches(pattern, name);
    let hidden = name.starts_with('.') && !pattern.starts_with('.') && !pattern.starts_with("\\.");
    if pattern.len() <= SHORT && name.len() <= SHORT && !pattern.contains('[') {
        let expected = !hidden && glob_matches(pattern.as_bytes(), name.as_bytes());
        assert_eq!(matched, expected, "{pattern:?} {name:?}");
    }
}
