//! Two CAs with single sign-on: `ssh` logs in with the CA of the host to which it connects.

use super::Member;
use crate::support::{
    Run,
    issuer::CLIENT,
    step_ca::{self, Provisioner, StepCa},
    wait::{LONG, wait},
};
use serde_json::json;
use std::fs;

fn asked(ca: &StepCa) -> usize {
    ca.log().matches("\"/ssh/sign\"").count()
}

#[test]
fn on_demand_each_ca_is_for_its_own_hosts_and_waits_for_no_other() {
    let Some(mut member) = Member::on_demand() else { return };
    let sso = Provisioner::oidc("sso", &member.issuer.name(), CLIENT, &json!({}));
    let Some(mut work) = StepCa::with(&member.network(), &step_ca::Setup::of([sso])) else { return };
    let trust = ["bootstrap", "--ca-url", &work.url(), "--fingerprint", &work.fingerprint(), "--name", "work"];
    member.person.warded(None, &trust).ends(0);
    let own = member.person.warded(None, &["ssh-config", "*.lab.test"]).ends(0).stdout;
    let of_work = member.person.warded(None, &["ssh-config", "--ca", "work", "*.work.test"]).ends(0).stdout;
    member.configure(&[own, of_work].concat());
    let look = |member: &Member, name: &str| Run::of(&mut member.program("ssh", &["-G", name])).ends(0);

    look(&member, "web1.lab.test");
    assert_eq!((member.person.asked(), asked(&work)), (1, 0));
    look(&member, "web1.work.test");
    assert_eq!((member.person.asked(), asked(&work)), (1, 1));
    assert_eq!(member.person.listed(&member.agent.socket).len(), 2);
    for name in ["web1.lab.test", "web1.work.test"] {
        look(&member, name);
    }
    assert_eq!((member.person.asked(), asked(&work)), (1, 1), "both are there");

    // A failed login with one CA does not delay a login with the other.
    member.person.warded(member.socket(), &["logout"]).ends(0);
    member.issuer.claims(&json!({ "email": null }));
    look(&member, "web1.lab.test").says(&["no claim \"email\""]);
    member.issuer.claims(&json!({ "email": "root@lab.test" }));
    look(&member, "web1.lab.test");
    assert_eq!(member.person.asked(), 2, "it rests for a minute");
    look(&member, "web1.work.test");
    assert_eq!(asked(&work), 2);

    // A CA that accepts connections and does not answer does not delay a login with the other.
    member.person.warded(member.socket(), &["logout"]).ends(0);
    let port: u16 = work.url().rsplit(':').next().unwrap().parse().unwrap();
    work.stop();
    let silent = member.network().on(|| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    let mut hung = member.command(&["--on-demand", "--ca", "work"]).spawn().unwrap();
    wait("it asks the silent CA", LONG, || member.network().on(|| silent.accept().is_ok()));
    look(&member, "web1.lab.test");
    assert_eq!(member.person.asked(), 3);
    assert!(hung.try_wait().unwrap().is_none(), "the other one still waits");
    hung.kill().unwrap();
    hung.wait().unwrap();
    let state = |name: &str| fs::metadata(member.person.home(".ssh").join(name)).is_ok();
    assert!(state("warded-login") && state("warded-login-work"));
    drop(silent);
    member.person.ca.stop();
}
