//! A provider with TLS: which roots this machine trusts, and what Warded says about a certificate that it does not
//! accept.

use super::Member;
use crate::support::{
    Run,
    issuer::{Issuer, browse_trusting},
    x509::Authority,
};
use serde_json::json;
use std::{fs, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_provider_is_trusted_as_a_browser_on_this_machine_trusts_it() {
    let authority = Authority::new("Web");
    let leaf = |name: &str| authority.leaf(&[name], DAY);
    let start = |network: &_, claims| Issuer::start_with_tls(network, claims, &leaf("127.0.0.1"));
    let Some(member) = Member::of(&json!({}), Some(authority.root()), start) else { return };
    let name = member.issuer.name();
    assert!(name.starts_with("https://"));

    // This machine does not know the root yet.
    let without = |says: &[&str]| Run::of(&mut member.command(&["root"])).ends(6).says(&[&name]).says(says);
    without(&["gives no usable answer", "was not issued by", "SSL_CERT_FILE"]);
    // Now it knows the root.
    let roots = member.person.machine().path("roots");
    fs::write(&roots, authority.root()).unwrap();
    let command = || {
        let mut command = member.command(&["root"]);
        command.env("SSL_CERT_FILE", &roots);
        command
    };
    let mut visits = Vec::new();
    let run = member.browsing(command(), |member, address| {
        visits = browse_trusting(&member.network(), address, &authority.root());
    });
    run.ends(0).prints(&["root@lab.test has a certificate"]);
    assert!(visits[1].url.starts_with("https://") && visits.last().unwrap().body.contains("You are logged in"));
    member.person.ssh(member.socket(), &[]).ends(0).prints(&["in"]);

    // A certificate of another root, one for another name, and an expired one.
    member.person.warded(member.socket(), &["logout"]).ends(0);
    for (leaf, says) in [
        (Authority::new("Other").leaf(&["127.0.0.1"], DAY), &["was not issued by", "SSL_CERT_FILE"][..]),
        (leaf("sso.test"), &["not for this name", "a name that the provider's certificate has"]),
        (authority.expired(&["127.0.0.1"]), &["is not valid at this machine's time", "clock"]),
    ] {
        member.issuer.shows(&leaf);
        Run::of(&mut command()).ends(6).says(says);
    }
    assert!(!member.told().exists(), "no browser is opened");
    assert_eq!(member.person.asked(), 1);
}
