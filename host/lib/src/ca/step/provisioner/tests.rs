use super::*;
use serde_json::json;

fn provisioners() -> Vec<Provisioner> {
    serde_json::from_value(json!([
        {"type": "JWK", "name": "admin", "key": {"kid": "k1", "kty": "EC"}, "claims": {"enableSSHCA": true}, "new": 1},
        {"type": "jwk", "name": "web", "key": {"kid": "k2"}},
        {"type": "JWK", "name": "tls", "claims": {"enableSSHCA": false}},
        {"type": "SSHPOP", "name": "pop", "claims": null},
        {"type": "SSHPOP", "name": "late", "claims": {"allowRenewalAfterExpiry": true}},
        {"type": "SSHPOP", "name": "never", "claims": {"disableRenewal": true}},
        {"type": "X5C", "name": "x5c", "state": "Uninitialized", "stateReason": "no\u{1b}[2J roots"},
        {"type": "OIDC", "name": "sso", "state": ""},
        {"type": "Shiny", "name": "new"},
    ]))
    .unwrap()
}

#[test]
fn the_named_one_or_the_only_one_is_chosen() {
    let all = provisioners();
    for (purpose, named, expected) in [
        (Purpose::IssueWithKey, Some("web"), Ok("web")),
        (
            Purpose::IssueWithKey,
            None,
            Err(
                "several of its provisioners can issue SSH certificates to those who know its password: admin (JWK), web (jwk)",
            ),
        ),
        (Purpose::IssueWithKey, Some("tls"), Err("enableSSHCA is false")),
        (Purpose::IssueWithKey, Some("pop"), Err("another type")),
        (Purpose::IssueWithKey, Some("gone"), Err("no provisioner \"gone\"")),
        (
            Purpose::IssueWithX5c,
            None,
            Err("x5c (X5C): the CA could not initialise it (Uninitialized: no\\u{1b}[2J roots)"),
        ),
        (Purpose::Renew, None, Ok("pop")),
        (Purpose::Renew, Some("late"), Ok("late")),
        (Purpose::Renew, Some("never"), Err("disableRenewal is true")),
        (Purpose::RenewExpired, None, Ok("late")),
        (Purpose::RenewExpired, Some("pop"), Err("allowRenewalAfterExpiry is not true")),
        (Purpose::Rekey, Some("never"), Ok("never")),
    ] {
        let chosen = choose(&all, purpose, named).map(Provisioner::name).map_err(|why| why.cause(purpose));
        match (chosen, expected) {
            (Ok(name), Ok(expected)) => assert_eq!(name, expected, "{purpose:?} {named:?}"),
            (Err(cause), Err(expected)) => assert!(cause.contains(expected), "{purpose:?} {named:?}: {cause}"),
            (chosen, expected) => panic!("{purpose:?} {named:?}: {chosen:?}, expected {expected:?}"),
        }
    }
    assert_eq!(choose(&all[..1], Purpose::IssueWithKey, None).unwrap().kid(), Some("k1"));
    assert_eq!(
        choose(&[], Purpose::Renew, None).unwrap_err().cause(Purpose::Renew),
        "it has no provisioner that can renew host certificates"
    );
}

#[test]
fn what_each_is_good_for() {
    let both = [Kind::Host, Kind::User];
    let usable: Vec<String> =
        provisioners().iter().map(|found| format!("{}: {}", found.name(), found.usable_for(&both))).collect();
    assert_eq!(
        usable,
        [
            "admin: hosts and people",
            "web: hosts and people",
            "tls: not for SSH",
            "pop: renewals of hosts",
            "late: renewals of hosts, after expiry too",
            "never: new keys of hosts; renewals are disabled",
            "x5c: hosts and people",
            "sso: people",
            "new: not for SSH",
        ]
    );
}

/// A CA with a key for only one kind does not sign the other.
#[test]
fn what_the_ca_has_no_key_for_nobody_gets() {
    for (signed, expected) in [
        (&[Kind::Host][..], ["hosts", "hosts", "not for SSH", "renewals of hosts"]),
        (&[Kind::User], ["people", "people", "not for SSH", "not for SSH"]),
        (&[], ["not for SSH"; 4]),
    ] {
        let usable: Vec<&str> = provisioners().iter().take(4).map(|found| found.usable_for(signed)).collect();
        assert_eq!(usable, expected, "{signed:?}");
    }
}
