//! Each thing that goes wrong has words of its own, and a next step; and nothing is left in the agent.

use super::Member;
use crate::support::issuer::{Wrong, browse, visit};
use serde_json::json;

#[test]
fn what_the_provider_does_wrong_is_told() {
    let Some(member) = Member::new() else { return };
    let name = member.issuer.name();
    for (wrong, code, page, says) in [
        (
            Wrong::Denied,
            1,
            "The sign-in was denied",
            &["denied by", "access_denied: The person said no", "sign in again"][..],
        ),
        (
            Wrong::UnknownClient,
            1,
            "The terminal says why",
            &["refused by", "invalid_client: as the test wants it", "\"clientSecret\"", "sso (OIDC)"],
        ),
        (Wrong::UnknownCode, 1, "The terminal says why", &["invalid_grant", "begin again"]),
        (Wrong::NoIdToken, 5, "The terminal says why", &["is not used", "there is none in its answer"]),
        (Wrong::AlgorithmNone, 5, "The terminal says why", &["is not used", "signature"]),
        (Wrong::SharedSecret, 5, "The terminal says why", &["is not used", "signature"]),
        (Wrong::OtherKey, 5, "The terminal says why", &["is not used", "signature"]),
        (Wrong::OtherNonce, 5, "The terminal says why", &["is not used", "nonce", "another login's"]),
        (Wrong::NoNonce, 5, "The terminal says why", &["is not used", "nonce"]),
        (Wrong::OtherIssuer, 5, "The terminal says why", &["it says that https://evil.test gave it", "was asked"]),
    ] {
        member.issuer.goes_wrong(wrong);
        let (run, visits) = member.sign_in(&["root"]);
        run.ends(code).says(says).says(&["next"]);
        assert!(visits.last().unwrap().body.contains(page), "{wrong:?}: {visits:?}");
    }
    // Before any browser is opened.
    for (wrong, code, says) in [
        (Wrong::OtherConfiguration, 1, ["it is the configuration of https://evil.test", "configurationEndpoint"]),
        (Wrong::Page, 1, ["no configuration of a single sign-on", "configurationEndpoint"]),
        (Wrong::Gone, 6, ["cannot be reached", "make sure that the provider runs"]),
    ] {
        member.issuer.goes_wrong(wrong);
        let (run, visits) = member.sign_in(&["root"]);
        run.ends(code).says(&says).says(&[&name]);
        assert!(visits.is_empty());
    }
    assert!(member.person.listed(&member.agent.socket).is_empty());
    assert_eq!(member.person.asked(), 0, "the CA was asked with none of these tokens");
}

#[test]
fn claims_that_do_not_count_are_told() {
    let now = jiff::Timestamp::now().as_second();
    let Some(member) = Member::with(&json!({ "domains": ["lab.test"], "groups": ["admins"] })) else { return };
    for (claims, says) in [
        (
            json!({ "email": "jane@other.test", "groups": ["admins"] }),
            [
                "\"jane@other.test\" is of none of the domains that the CA allows: lab.test",
                "\"domains\" of the provisioner sso",
            ],
        ),
        (
            json!({ "email": "root@lab.test", "groups": ["users"] }),
            ["in the groups users, and the CA allows only admins", "\"groups\" of the provisioner sso"],
        ),
        (json!({ "groups": null }), ["no claim \"groups\"", "groups = groups"]),
        (json!({ "groups": ["admins"], "iat": now + 600 }), ["the provider's clock is ahead of the CA's", "clock"]),
        (json!({ "iat": now, "exp": now - 3 }), ["is not used", "xpired"]),
        (json!({ "exp": now + 300, "aud": ["other"], "azp": null }), ["is not used", "audience"]),
        (json!({ "aud": ["step-cli", "other"], "azp": "other" }), ["is not used", "another client"]),
    ] {
        member.issuer.claims(&claims);
        let (run, _) = member.sign_in(&["root"]);
        // Where the token itself counts, it is the CA that refuses.
        run.ends(if says[0] == "is not used" { 5 } else { 1 }).says(&says);
    }
    assert!(member.person.listed(&member.agent.socket).is_empty());
}

/// A token from before the CA was last started is refused, and it does not say why: a fresh one is got at once.
#[test]
fn a_ca_that_was_restarted_meanwhile_gets_a_fresh_token() {
    let Some(mut member) = Member::new() else { return };
    let now = || jiff::Timestamp::now().as_second();
    member.issuer.claims(&json!({ "iat": now() - 30 }));
    // The provider gives an old one again: it ends.
    let (run, _) = member.sign_in(&["root"]);
    run.ends(1).says(&[
        "It may have been restarted in the meantime: trying again",
        "none from before the CA was last started",
    ]);
    assert_eq!(member.person.asked(), 2);
    let run = member.with_browser(&["root"], |member, address| {
        browse(&member.network(), address);
        member.issuer.claims(&json!({ "iat": now() }));
    });
    run.ends(0).says(&["trying again"]);
    member.person.ca.stop();
    let (run, visits) = member.sign_in(&["root", "--force"]);
    run.ends(6).says(&["cannot be reached"]);
    assert!(visits.is_empty());
    member.person.ca.serve();
}

#[test]
fn a_port_that_is_taken_is_told_before_a_browser_is_opened() {
    let Some(member) = Member::with(&json!({ "listenAddress": ":10008" })) else { return };
    let (run, _) = {
        let taken = member.network().on(|| std::net::TcpListener::bind("127.0.0.1:10008").unwrap());
        let ended = member.sign_in(&["root"]);
        drop(taken);
        ended
    };
    run.ends(1).says(&["127.0.0.1:10008", "another program listens there", "ss -ltnp", "warded login --device"]);
    assert!(!member.told().exists());
}

/// The second window of an earlier login, and a person who opens the address twice.
#[test]
fn a_wrong_window_says_so_and_the_right_one_goes_on() {
    let Some(member) = Member::new() else { return };
    let run = member.with_browser(&["root"], |member, address| {
        let network = member.network();
        let origin = address.split("/go/").next().unwrap();
        let earlier = visit(&network, &format!("{origin}/?code=old&state=old"));
        assert!(earlier.status == 400 && earlier.body.contains("wrong window"), "{earlier:?}");
        let first = visit(&network, address);
        let second = visit(&network, address);
        assert!(second.body.contains("was opened before"), "{second:?}");
        let provider = first.head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().to_owned();
        let visits = browse(&network, &provider);
        assert!(visits.last().unwrap().body.contains("You are logged in"));
    });
    run.ends(0);
}
