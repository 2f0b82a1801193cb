//! A machine that is certified by an admin's ID token from single sign-on. The admin's machine gets the token; the
//! certified machine knows nothing about single sign-on.

use super::Member;
use crate::support::{Run, issuer::Visit, issuer::browse};
use serde_json::json;
use std::{fs, process::Stdio};

const NAME: &str = "web1.example.org";

impl Member {
    /// Runs `warded token` for a machine, with a person who signs in.
    fn token(&self, more: &[&str]) -> (Run, Vec<Visit>) {
        let make = ["token", NAME, "--host", "--provisioner", "sso"];
        let mut command = self.person.command(None, &[&make[..], more].concat());
        command.env("BROWSER", self.person.machine().path("browser"));
        let mut visits = Vec::new();
        let run = self.browsing(command, |member, address| visits = browse(&member.network(), address));
        (run, visits)
    }

    /// Certifies this machine with a token from standard input.
    fn certifies(&self, token: &str, more: &[&str]) -> Run {
        let file = self.person.machine().path("token");
        fs::write(&file, token).unwrap();
        let certify = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes", "--token-file", "-"];
        let mut command = self.person.command(None, &[&certify[..], more].concat());
        let stdin = fs::File::open(&file).unwrap();
        Run::ended(command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }
}

#[test]
fn an_admins_id_token_certifies_a_machine_once() {
    let Some(member) = Member::with(&json!({ "admins": ["boss@lab.test"] })) else { return };
    member.issuer.claims(&json!({ "email": "boss@Lab.Test" }));
    let (run, visits) = member.token(&[]);
    let run =
        run.ends(0).says(&["the ID token of boss@Lab.Test", "It names no machine", "within 5 min", "--token-file"]);
    assert!(visits.last().unwrap().body.contains("The terminal has the token for the machine"), "{visits:?}");
    let token = run.stdout.trim();
    assert!(token.lines().count() == 1 && token.split('.').count() == 3 && !run.stderr.contains(token));

    // One token is enough: the first key's certificate is the CA's reason to certify the other keys.
    member.certifies(token, &[]).ends(0);
    for name in ["ecdsa", "ed25519"] {
        let certificate = member.person.machine().path(&format!("ssh/ssh_host_{name}_key-cert.pub"));
        let shown = member.person.program("ssh-keygen", None, &["-L", "-f", certificate.to_str().unwrap()]).stdout;
        assert!(shown.contains("host certificate") && shown.contains("                web1.example.org\n"), "{shown}");
    }
    assert_eq!(member.person.asked(), 1);
    // Keys that had a certificate need a token each.
    member.certifies(&format!("{token}\n{token}"), &["--force"]).ends(1).says(&["A token serves once"]);
    member.person.machine().audit();

    let object = member.token(&["--json"]).0.ends(0).object("warded.token/1");
    assert_eq!(object["tokens"].as_array().unwrap().len(), 1);
}

/// If the CA would refuse the person, no token is made, and the CA is not asked.
#[test]
fn whom_the_ca_would_refuse_is_told_beforehand() {
    let Some(member) = Member::with(&json!({ "admins": ["boss@lab.test", "wheel"] })) else { return };
    let (run, visits) = member.token(&[]);
    let says = ["root@lab.test is no admin of the CA's provisioner sso", "\"admins\""];
    let run = run.ends(2).says(&says);
    assert_eq!(run.stdout, "");
    assert!(visits.last().unwrap().body.contains("That did not work"), "{visits:?}");

    let now = jiff::Timestamp::now().as_second();
    let boss = |changes: serde_json::Value| {
        let mut claims = json!({ "email": "boss@lab.test", "nonce": format!("{changes}") });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        member.issuer.token(&claims)
    };
    for (token, says) in [
        (member.issuer.token(&json!({ "nonce": "n1" })), "is no admin"),
        (boss(json!({ "exp": now - 100 })), "expired"),
        (boss(json!({ "email": "Boss@lab.test" })), "is no admin"),
        (boss(json!({ "aud": "other", "azp": "other" })), "for the client other, which no provisioner of the CA has"),
        (boss(json!({ "iat": now + 300 })), "ahead of the CA's"),
    ] {
        member.certifies(&token, &[]).ends(2).says(&[says]);
    }
    assert_eq!(member.person.asked(), 0);
    // The CA also takes the person for an admin by this group.
    member.issuer.claims(&json!({ "groups": ["users", "wheel"] }));
    let token = member.token(&[]).0.ends(0).stdout;
    member.certifies(token.trim(), &[]).ends(0);
    for more in [&["--valid", "60s"][..], &["--count", "21"]] {
        member.token(more).0.ends(2);
    }
    let user = ["token", "ann", "--user", "--provisioner", "sso"];
    member.person.warded(None, &user).ends(2).says(&["warded login"]);
}
