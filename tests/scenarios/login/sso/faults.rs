//! Each fault has its own message and its own next step, and leaves nothing in the agent.

use super::Member;
use crate::support::issuer::{ProviderFault, browse, visit};
use serde_json::json;

#[test]
fn what_the_provider_does_wrong_is_told() {
    let Some(member) = Member::new() else { return };
    let name = member.issuer.name();
    for (wrong, code, page, says) in [
        (
            ProviderFault::Denied,
            1,
            "The sign-in was denied",
            &["denied by", "access_denied: The person said no", "sign in again"][..],
        ),
        (
            ProviderFault::UnknownClient,
            1,
            "The terminal says why",
            &["refused by", "invalid_client: as the test wants it", "\"clientSecret\"", "sso (OIDC)"],
        ),
        (ProviderFault::UnknownCode, 1, "The terminal says why", &["invalid_grant", "begin again"]),
        (ProviderFault::NoIdToken, 5, "The terminal says why", &["is not used", "there is none in its answer"]),
        (ProviderFault::AlgorithmNone, 5, "The terminal says why", &["is not used", "signature"]),
        (ProviderFault::SharedSecret, 5, "The terminal says why", &["is not used", "signature"]),
        (ProviderFault::OtherKey, 5, "The terminal says why", &["is not used", "signature"]),
        (ProviderFault::OtherNonce, 5, "The terminal says why", &["is not used", "nonce", "another login's"]),
        (ProviderFault::NoNonce, 5, "The terminal says why", &["is not used", "nonce"]),
        (
            ProviderFault::OtherIssuer,
            5,
            "The terminal says why",
            &["it says that https://evil.test gave it", "was asked"],
        ),
        (ProviderFault::NoIssuer, 5, "The terminal says why", &["it does not say who gave it", "RFC 9207"]),
    ] {
        member.issuer.goes_wrong(wrong);
        let (run, visits) = member.sign_in(&["root"]);
        run.ends(code).says(says).says(&["next"]);
        assert!(visits.last().unwrap().body.contains(page), "{wrong:?}: {visits:?}");
    }
    // These faults are found before a browser is opened.
    for (wrong, code, says) in [
        (
            ProviderFault::OtherConfiguration,
            1,
            ["it is the configuration of https://evil.test", "configurationEndpoint"],
        ),
        (ProviderFault::Page, 1, ["no configuration of a single sign-on", "configurationEndpoint"]),
        (ProviderFault::Gone, 6, ["cannot be reached", "make sure that the provider runs"]),
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
        // Warded refuses a token that is wrong in itself, with exit code 5. The CA refuses the others.
        run.ends(if says[0] == "is not used" { 5 } else { 1 }).says(&says);
    }
    assert!(member.person.listed(&member.agent.socket).is_empty());
}

/// The CA refuses a token from before its last start, and does not say why. The login gets a fresh one at once.
#[test]
fn a_ca_that_was_restarted_meanwhile_gets_a_fresh_token() {
    let Some(mut member) = Member::new() else { return };
    let now = || jiff::Timestamp::now().as_second();
    member.issuer.claims(&json!({ "iat": now() - 30 }));
    // The provider returns an old token again, so the login fails.
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
    let run = run.ends(1).says(&["127.0.0.1:10008", "another program listens there", "ss -ltnp"]);
    // The advice does not mention `--device`, which the provider does not support.
    assert!(!run.stderr.contains("--device") && !member.told().exists(), "{}", run.stderr);
    member.issuer.has_devices(&[]);
    let taken = member.network().on(|| std::net::TcpListener::bind("127.0.0.1:10008").unwrap());
    member.sign_in(&["root"]).0.ends(1).says(&["or warded login --device"]);
    drop(taken);
}

/// The provider shows the error only to the browser. Its token endpoint tells whether it knows the client.
#[test]
fn a_browser_that_does_not_come_back_is_explained() {
    let Some(member) = Member::with(&json!({ "listenAddress": ":10011" })) else { return };
    member.issuer.knows_only("http://127.0.0.1:1");
    let sign_in = || {
        let mut command = member.command(&["root"]);
        command.env("WARDED_TEST_PATIENCE", "2");
        member.browsing(command, |member, address| {
            let visits = browse(&member.network(), address);
            assert!(visits.last().unwrap().body.contains("not known"), "{visits:?}");
        })
    };
    sign_in().ends(1).says(&[
        "the browser did not come back",
        "nothing came to http://127.0.0.1:10011 within 2 s",
        "the provider knows the client step-cli",
        "84 or 90",
        "exactly this redirect URI: http://127.0.0.1:10011\n",
    ]);
    member.issuer.goes_wrong(ProviderFault::UnknownClient);
    sign_in().ends(1).says(&["does not know the client step-cli", "token endpoint says so", "\"clientSecret\""]);
    // If the token endpoint does not answer, the message says nothing about the client.
    member.issuer.goes_wrong(ProviderFault::SilentAboutTokens);
    let run = sign_in().ends(1).says(&["the browser did not come back", "107"]);
    assert!(!run.stderr.contains("knows the client") && !run.stderr.contains("does not know"), "{}", run.stderr);
}

/// If an ID token has expired, the usual cause is a wrong clock.
#[test]
fn an_expired_token_is_told_with_the_clocks() {
    let Some(member) = Member::new() else { return };
    let now = jiff::Timestamp::now().as_second();
    member.issuer.claims(&json!({ "iat": now - 600, "exp": now - 300 }));
    member.sign_in(&["root"]).0.ends(5).says(&["is not used", "xpired"]);
    member.issuer.clock(-600);
    member.sign_in(&["root"]).0.ends(5).says(&[
        "is not used",
        "xpired",
        "the provider's clock is 10 min behind this machine's",
    ]);
    member.issuer.clock(0);
    let run = member.sign_in(&["root"]).0.ends(5).says(&["xpired"]);
    assert!(!run.stderr.contains("the provider's clock is"), "{}", run.stderr);
}

/// The second window of an earlier login, and a person who opens the address twice.
#[test]
fn a_wrong_window_says_so_and_the_right_one_goes_on() {
    let Some(member) = Member::new() else { return };
    let run = member.with_browser(&["root"], |member, address| {
        let network = member.network();
        let origin = address.split("/go/").next().unwrap();
        let earlier = browse(&network, &format!("{origin}/?code=old&state=old")).pop().unwrap();
        assert!(earlier.status == 400 && earlier.body.contains("wrong window"), "{earlier:?}");
        assert_eq!(earlier.url, format!("{origin}/wrong-window"), "no code stays in the address bar");
        let first = visit(&network, address);
        let second = visit(&network, address);
        assert!(second.body.contains("was opened before"), "{second:?}");
        let provider = first.head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().to_owned();
        let visits = browse(&network, &provider);
        assert!(visits.last().unwrap().body.contains("You are logged in"));
    });
    run.ends(0);
}
