//! What a registry answers, and the references that lead to it. The first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use url::Url;
use warded_fuzz::{
    is_harmless,
    registry::{Artifact, Credentials, Reference, SignedManifest, authorization, challenged, described, stored},
};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    match kind % 7 {
        0 => manifest(data),
        1 => of_an_artifact(data),
        2 => challenge(&text),
        3 => well_formed_challenge(&text),
        4 => token(data),
        5 => reference(&text),
        _ => credentials(data),
    }
});

fn manifest(data: &[u8]) {
    match described(data) {
        Err(error) => is_harmless(&error.to_string()),
        Ok(found) => assert_eq!(described(&found.again).unwrap(), found),
    }
}

/// What is stored is what is read.
fn of_an_artifact(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let component = parts.next().unwrap_or_default().to_vec();
    let mut text = || parts.next().map(|part| String::from_utf8_lossy(part).into_owned());
    let signed = text().zip(text()).map(|(manifest, signature)| SignedManifest { manifest, signature });
    let artifact = Artifact { component, signed };
    let bytes = stored(&artifact).unwrap();
    let found = described(&bytes).unwrap();
    assert_eq!(
        (found.component, found.signed),
        (warded_fuzz::digest::Digest::of(&artifact.component), artifact.signed)
    );
    assert_eq!((found.size, found.again), (u64::try_from(artifact.component.len()).unwrap(), bytes));
}

/// What is read of a challenge stands in it, between quotes.
fn challenge(text: &str) {
    let Some((realm, service)) = challenged(text) else { return };
    for value in [Some(realm), service].into_iter().flatten() {
        assert!(text.contains(&format!("\"{value}\"")) && !value.contains('"'), "{text:?}: {value:?}");
    }
}

/// Parameters in any order, each once: RFC 9110, 11.2, with quoted strings.
fn well_formed_challenge(text: &str) {
    let mut values = text.split('"').map(str::to_owned);
    let (realm, service, scope) = (values.next().unwrap_or_default(), values.next(), values.next());
    let mut parameters = vec![format!("realm=\"{realm}\"")];
    parameters.extend(service.iter().map(|service| format!("service=\"{service}\"")));
    if let Some(scope) = scope {
        parameters.insert(usize::from(scope.len() % 2 == 0), format!("scope=\"{scope}\""));
    }
    let challenge = format!("Bearer {}", parameters.join(if realm.len() % 2 == 0 { "," } else { ", " }));
    assert_eq!(challenged(&challenge), Some((realm, service)), "{challenge}");
}

/// No log gets a token.
fn token(data: &[u8]) {
    match authorization(data) {
        Err(error) => is_harmless(&error.to_string()),
        Ok((header, shown)) => {
            let token = header.strip_prefix(b"Bearer ").unwrap();
            assert!(token.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)), "{token:?}");
            assert_eq!(shown, "Bearer(Credentials) Sensitive");
        }
    }
}

/// A reference leads to the host and the repository that it names, and to nothing else.
fn reference(text: &str) {
    let found = match text.parse::<Reference>() {
        Err(error) => return is_harmless(&error),
        Ok(found) => found,
    };
    // A digest may be typed in capitals.
    let written = text.split_once('@').map(|(place, digest)| format!("{place}@{}", digest.to_ascii_lowercase()));
    assert_eq!(found.to_string(), written.as_deref().unwrap_or(text));
    let url = Url::parse(&format!("https://{}/v2/{}/", found.authority, found.name)).unwrap();
    assert_eq!(url.path(), format!("/v2/{}/", found.name), "{text}");
    assert_eq!((url.username(), url.password(), url.query(), url.fragment()), ("", None, None, None), "{text}");
    let host = url.host_str().unwrap();
    assert!(
        // An address of IPv6 has several spellings.
        found.authority.to_ascii_lowercase().starts_with(host)
            || host.starts_with('[') && found.authority.starts_with('[')
            || !host.contains(|c: char| c.is_ascii_alphabetic()),
        "{text}: {url}"
    );
}

/// No error shows a part of a file of credentials, or of what a helper printed.
fn credentials(data: &[u8]) {
    const SECRET: &str = "hunter2hunter2";
    let text = String::from_utf8_lossy(data).replace("SECRET", SECRET);
    let file = text.as_bytes();
    let errors = [Credentials::find(file, "r:1", "a/b").err(), Credentials::of_helper(file).err()];
    for error in errors.into_iter().flatten() {
        is_harmless(&error.to_string());
        assert!(!error.to_string().contains(SECRET), "{error}");
    }
    match Credentials::helper(file, "r:1") {
        Err(error) => is_harmless(&error.to_string()),
        Ok(helper) => assert!(helper.is_none_or(|name| !name.contains('/') && name.starts_with("docker-credential-"))),
    }
}
