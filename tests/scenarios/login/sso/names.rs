//! Tokens of many shapes for the real CA: for which names the certificate is valid, and what Warded says.

use super::Member;
use serde_json::{Value, json};

#[test]
fn names_are_what_the_ca_makes_of_an_address_and_are_compared_by_letter() {
    let Some(member) = Member::new() else { return };
    for (claims, code, principals, says) in [
        (json!({ "email": "root@lab.test" }), 0, json!(["root", "root@lab.test"]), &[][..]),
        (
            json!({ "email": "jane.doe@lab.test" }),
            4,
            json!(["janedoe", "jane.doe", "jane.doe@lab.test"]),
            &["it does not hold for \"root\", which was asked for"],
        ),
        (json!({ "email": "Root@Lab.Test" }), 0, json!(["root", "Root", "Root@Lab.Test"]), &[]),
        (json!({ "email": "ROOT.@lab.test" }), 0, json!(["root", "ROOT.", "ROOT.@lab.test"]), &[]),
        (
            json!({ "email": "jane doe,root@lab.test" }),
            4,
            json!(["jane_doe_root", "jane doe,root", "jane doe,root@lab.test"]),
            &["does not hold for \"root\""],
        ),
        (json!({ "email": "-oProxyCommand=x@lab.test" }), 4, Value::Null, &["does not hold for \"root\""]),
        (json!({ "email": "r\u{f6}\u{f6}t@lab.test" }), 4, Value::Null, &["does not hold for \"root\""]),
        (json!({ "email": "root+tag@lab.test" }), 4, Value::Null, &["does not hold for \"root\""]),
        (json!({ "email": "root@lab.test", "email_verified": true }), 0, Value::Null, &[]),
        (
            json!({ "email": "root@lab.test", "email_verified": false }),
            0,
            Value::Null,
            &["warning: the provider says that \"root@lab.test\" is not verified"],
        ),
        (json!({ "email": "root@lab.test", "email_verified": null, "groups": null }), 0, Value::Null, &[]),
        (json!({ "email": "root@lab.test", "sub": "other", "hd": "lab.test" }), 0, Value::Null, &[]),
        (json!({ "email": "root@lab.test", "preferred_username": "jane" }), 0, json!(["root", "root@lab.test"]), &[]),
    ] {
        member.issuer.claims(&claims);
        let (run, visits) = member.sign_in(&["root", "--force", "--json"]);
        let run = run.ends(code).says(says);
        assert_eq!(run.stderr.contains("warning"), !says.is_empty(), "{claims}: {}", run.stderr);
        let object = run.object("warded.login/1");
        assert!(principals.is_null() || object["principals"] == principals, "{claims}: {}", object["principals"]);
        assert!(visits.last().unwrap().body.contains("You are logged in"));
    }
}

/// If one claim has the wrong type, the CA refuses the whole token, and does not say why.
#[test]
fn claims_of_an_odd_type_are_told() {
    let Some(member) = Member::new() else { return };
    for (claims, says) in [
        (json!({ "groups": "one" }), "\"groups\" of the ID token is not a list"),
        (
            json!({ "groups": null, "email_verified": "true" }),
            "\"email_verified\" of the ID token is not true or false",
        ),
    ] {
        member.issuer.claims(&claims);
        member.sign_in(&["root"]).0.ends(1).says(&[says]);
    }
}

#[test]
fn a_certificate_that_names_nobody_is_thrown_away() {
    let Some(member) = Member::new() else { return };
    for claims in [json!({ "email": null, "preferred_username": "jane" }), json!({ "email": "" })] {
        member.issuer.claims(&claims);
        let (run, visits) = member.sign_in(&["root"]);
        let says = [
            "has no names",
            "no claim \"email\" (it has preferred_username, sub)",
            "email = mail",
            "Force claims",
            "the client step-cli",
        ];
        run.ends(1).says(&says);
        assert!(visits.last().unwrap().body.contains("The terminal says why"));
        assert!(member.person.listed(&member.agent.socket).is_empty());
        assert!(!member.person.home(".ssh/warded-root-cert.pub").exists());
    }
}

/// The CA lets its admins choose the names. It ignores the names that others ask for, and uses their own.
#[test]
fn another_persons_names_are_not_got_and_that_is_said() {
    let Some(member) = Member::with(&json!({ "admins": ["boss@lab.test"] })) else { return };
    member.issuer.claims(&json!({ "email": "jane@lab.test" }));
    let (run, _) = member.sign_in(&["root", "-n", "root", "-n", "jane", "--json"]);
    let run = run.ends(4).says(&["it does not hold for \"root\", which was asked for", "its admins"]);
    assert_eq!(run.object("warded.login/1")["principals"], json!(["jane", "jane@lab.test"]));
    member.issuer.claims(&json!({ "email": "boss@lab.test" }));
    let (run, _) = member.sign_in(&["root", "-n", "root", "-n", "jane", "--force", "--json"]);
    let object = run.ends(0).object("warded.login/1");
    assert_eq!((&object["principals"], &object["key_id"]), (&json!(["root", "jane"]), &json!("boss@lab.test")));
    member.person.ssh(member.socket(), &[]).ends(0).prints(&["in"]);
}

/// Warded shows the restrictions that sshd will apply.
#[test]
fn critical_options_are_shown() {
    let template = r#"{"type": "{{ .Type }}", "keyId": "{{ .KeyID }}", "principals": ["root"],
        "extensions": {"permit-pty": ""}, "criticalOptions": {"source-address": "10.0.0.0/8,127.0.0.1/32", "force-command": "echo held"}}"#;
    let Some(member) = Member::with(&json!({ "options": { "ssh": { "template": template } } })) else { return };
    let (run, _) = member.sign_in(&["root"]);
    run.ends(0)
        .prints(&["held to     source-address \"10.0.0.0/8,127.0.0.1/32\"", "held to     force-command \"echo held\""]);
    member.person.ssh(member.socket(), &[]).ends(0).prints(&["held"]);
}
