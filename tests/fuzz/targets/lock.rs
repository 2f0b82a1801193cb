//! `policies.lock`, which root writes and copies to other machines, and files of saved policies, which come on a stick. The
//! first byte says which.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;
use warded_fuzz::{
    archive::Archive,
    digest::Digest,
    is_harmless,
    lock::{Entry, Lock, Place},
    registry::{Artifact, Version},
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => lock(data),
        1 => saved(data),
        _ => {
            // A digest is not found by chance: what is before the first zero byte is a component, for what follows.
            let mut parts = data.splitn(2, |byte| *byte == 0);
            let component = parts.next().unwrap_or_default();
            let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
            let text = text.replace("@digest", &Digest::of(component).to_string());
            saved(text.replace("@component", &STANDARD.encode(component)).as_bytes());
        }
    }
});

fn lock(data: &[u8]) {
    match Lock::parse(data) {
        Err(error) => is_harmless(&error.to_string()),
        Ok(lock) => {
            assert_eq!(Lock::parse(lock.to_text().unwrap().as_bytes()).unwrap(), lock);
            for (_, entry) in lock.entries() {
                is_harmless(&entry.version);
                assert!(!entry.version.contains('\n'));
                entry.publisher.iter().for_each(|publisher| is_harmless(publisher));
                leads_nowhere_else(entry);
            }
        }
    }
}

/// A file is one of the directory that is looked in; an artifact is named by its digest.
fn leads_nowhere_else(entry: &Entry) {
    match entry.place().unwrap() {
        Place::File(name) => {
            is_harmless(&name);
            let path = std::path::Path::new("/d").join(&name);
            assert_eq!(path.parent(), Some(std::path::Path::new("/d")), "{name:?}");
            assert!(path.file_name().is_some_and(|last| last == name.as_str()) && name != "..", "{name:?}");
        }
        Place::Registry(reference) => {
            assert_eq!(Some(reference.version), entry.artifact.map(Version::Pinned));
        }
    }
}

fn saved(data: &[u8]) {
    let found = match Archive::parse(data) {
        Err(error) => return is_harmless(&error.to_string()),
        Ok(found) => found,
    };
    for (_, entry, artifact) in &found {
        assert_eq!(Digest::of(&artifact.component), entry.component);
        leads_nowhere_else(entry);
    }
    let again = found.iter().map(|(name, entry, Artifact { component, signed })| {
        (name.clone(), entry.clone(), Artifact { component: component.clone(), signed: signed.clone() })
    });
    assert_eq!(Archive::parse(&Archive::of(again).to_bytes().unwrap()).unwrap(), found);
}
