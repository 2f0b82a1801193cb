//! Tokens of many forms, checked against what a CA requires.

use super::*;
use serde_json::json;

fn token(claims: &Value) -> Result<IdToken, String> {
    IdToken::read(&format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string())))
}

fn with(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": "https://sso.test", "aud": ["step-cli"], "azp": "step-cli", "sub": "jane", "iat": 1000, "exp": 1300,
        "email": "Jane.Doe@lab.test", "groups": ["users", "admins"], "preferred_username": "jane",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn oidc(changes: &Value) -> Oidc {
    let mut oidc = json!({"clientID": "step-cli", "configurationEndpoint": "https://sso.test"});
    for (name, value) in changes.as_object().unwrap() {
        oidc[name] = value.clone();
    }
    serde_json::from_value(oidc).unwrap()
}

#[test]
fn what_the_ca_will_dislike_is_seen_beforehand() {
    let none = || json!({});
    for (claims, provisioner, expected, next) in [
        (none(), none(), None, ""),
        (json!({"aud": "step-cli", "azp": null}), none(), None, ""),
        (json!({"aud": ["other", "step-cli"]}), none(), None, ""),
        (
            json!({"aud": ["other"], "azp": null}),
            none(),
            Some("for the client other, and the CA's is step-cli"),
            "warded login",
        ),
        (json!({"azp": "other"}), none(), Some("for the client step-cli, other"), ""),
        (json!({"aud": 1}), none(), Some("for the client"), ""),
        (json!({"exp": 900}), none(), Some("expired 100 s ago"), "warded login"),
        (json!({"exp": 950}), none(), None, ""),
        (json!({"exp": 900.5}), none(), Some("expired"), ""),
        (json!({"iat": 1100}), none(), Some("only in 100 s"), "clock"),
        (json!({"iat": 1050, "nbf": 1060}), none(), None, ""),
        (none(), json!({"domains": ["lab.test"]}), None, ""),
        (none(), json!({"domains": ["LAB.test"]}), None, ""),
        (
            none(),
            json!({"domains": ["b.test", "c.test"]}),
            Some("domains that the CA allows: b.test, c.test"),
            "\"domains\"",
        ),
        // The whole domain has to match.
        (json!({"email": "x@evil-lab.test"}), json!({"domains": ["lab.test"]}), Some("none of the domains"), ""),
        (json!({"email": "x@lab.test@evil"}), json!({"domains": ["lab.test"]}), Some("none of the domains"), ""),
        // In an admin's address, case matters before the @.
        (none(), json!({"domains": ["b.test"], "admins": ["Jane.Doe@LAB.test"]}), None, ""),
        (none(), json!({"domains": ["b.test"], "admins": ["jane.doe@lab.test"]}), Some("none of the domains"), ""),
        (
            json!({"email": null}),
            json!({"domains": ["lab.test"]}),
            Some("no claim \"email\" (it has preferred_username, sub)"),
            "Force claims",
        ),
        (json!({"email": ""}), json!({"domains": ["lab.test"]}), Some("no claim \"email\""), ""),
        (none(), json!({"groups": ["admins"]}), None, ""),
        (
            json!({"groups": "admins"}),
            json!({"groups": ["admins"]}),
            Some("\"groups\" of the ID token is not a list"),
            "as a list",
        ),
        (
            json!({"email_verified": "true"}),
            none(),
            Some("\"email_verified\" of the ID token is not true or false"),
            "",
        ),
        (
            none(),
            json!({"groups": ["wheel"]}),
            Some("groups users, admins, and the CA allows only wheel"),
            "\"groups\"",
        ),
        (json!({"groups": null}), json!({"groups": ["wheel"]}), Some("no claim \"groups\""), "groups = groups"),
    ] {
        let found = token(&with(&claims)).unwrap().problem(&oidc(&provisioner), "sso (OIDC)", 1000);
        match (&found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => {
                assert!(found.cause.contains(expected) && found.next.contains(next), "{claims}: {found:?}");
            }
            _ => panic!("{claims}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn an_address_that_is_not_verified_is_known_and_a_missing_word_is_none() {
    for (verified, expected) in [
        (json!(false), true),
        (json!("false"), true),
        (json!("False"), true),
        (json!(true), false),
        (json!("true"), false),
        (json!(null), false),
        (json!(0), false),
    ] {
        assert_eq!(token(&with(&json!({"email_verified": verified}))).unwrap().is_unverified(), expected, "{verified}");
    }
    assert!(!token(&with(&json!({}))).unwrap().is_unverified());
}

#[test]
fn a_token_of_another_client_is_known() {
    for (claims, expected) in [
        (json!({}), false),
        (json!({"aud": "step-cli", "azp": null}), false),
        (json!({"aud": ["step-cli", "other"]}), false),
        (json!({"aud": ["step-cli", "other"], "azp": null}), true),
        (json!({"azp": "other"}), true),
    ] {
        assert_eq!(token(&with(&claims)).unwrap().is_of_another_client("step-cli"), expected, "{claims}");
    }
}

#[test]
fn what_is_no_id_token_is_said_to_be_none() {
    for (text, why) in [
        ("", "three parts"),
        ("a.b", "three parts"),
        ("a.!.c", "base64url"),
        ("a.e30x.c", "claims"),
        ("a.e30.c", "issuer"),
    ] {
        assert!(IdToken::read(text).unwrap_err().contains(why), "{text}");
    }
    let one_time = with(&json!({"iss": "admin", "step": {"ssh": {}}}));
    assert!(token(&one_time).unwrap_err().contains("--token-file"));
    assert!(!format!("{:?}", token(&with(&json!({}))).unwrap()).contains("c2ln"));
}
