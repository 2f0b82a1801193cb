//! The whole login with the real LemonLDAP::NG and the real step-ca, set up as docs/LOGIN.md says.

use super::super::Person;
use crate::support::{
    Run,
    agent::Agent,
    lemonldap::{LemonLdap, script},
    missing,
    step_ca::Provisioner,
    wait::{LONG, wait},
};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _};

/// The provisioner that the guide puts into ca.json, for this provider and the domain of its people.
pub(super) fn of_the_guide(provider: &str) -> Value {
    let guide = include_str!("../../../../docs/LOGIN.md");
    let block = guide.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let block = block.replace("https://auth.example.org", provider).replace("example.org", "badwolf.org");
    serde_json::from_str(&block).unwrap()
}

/// The same provisioner for another client.
pub(super) fn of_client(provider: &str, name: &str) -> Provisioner {
    let mut entry = of_the_guide(provider);
    if entry["name"] != name {
        entry["name"] = name.into();
        entry["clientID"] = name.into();
    }
    Provisioner::entry(&entry)
}

#[test]
fn the_guides_set_up_lets_a_person_in() {
    if missing::root()
        || missing::program("jq", "jq")
        || missing::program("python3", "python3")
        || missing::program("chromium-headless-shell", "chromium-headless-shell")
    {
        return;
    }
    let mut provider = None;
    let person = Person::of(|network| {
        let Some(started) = LemonLdap::start(network, "http://127.0.0.1:10000") else { return Vec::new() };
        let all = ["sso", "bare", "asking"].map(|name| of_client(&started.name(), name));
        provider = Some(started);
        all.to_vec()
    });
    let (Some(person), Some(provider)) = (person, provider) else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let (browser, seen) = (person.machine().path("browser"), person.machine().path("seen"));
    // Makes this program the person's browser.
    let uses = |program: &str| {
        let (script, page) = (script(program), seen.display());
        let sign_in =
            format!("#!/bin/sh\n{} dwho dwho \"$1\" > {page}.new 2>&1\nmv {page}.new {page}\n", script.display());
        fs::write(&browser, sign_in).unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    };
    uses("sign-in");
    let login = |more: &[&str]| {
        let mut command = person.command(Some(&agent.socket), &[&["login", "dwho"][..], more].concat());
        Run::of(command.env("BROWSER", &browser))
    };
    // When the login has ended, the browser may still be loading the last page.
    let page = || {
        wait("the browser shows the last page", LONG, || seen.exists());
        let page = fs::read_to_string(&seen).unwrap();
        fs::remove_file(&seen).unwrap();
        page
    };

    let run = login(&["--provisioner", "sso"]);
    let last_page = page();
    assert_eq!(run.code, Some(0), "{run:?}: {last_page}");
    run.prints(&["dwho@badwolf.org has a certificate", "\"dwho\", \"dwho@badwolf.org\""]);
    assert!(last_page.contains("You are logged in"), "{last_page}");
    // On this machine dwho may log in as root.
    person.ssh(Some(&agent.socket), &[]).ends(0).prints(&["in"]);

    // A real browser; the program fills in the portal's form by the keyboard.
    uses("browser");
    let run = login(&["--provisioner", "sso", "--force"]);
    let last_page = page();
    assert_eq!(run.code, Some(0), "{run:?}: {last_page}");
    assert!(last_page.contains("You are logged in"), "{last_page}");
    let history: Vec<&str> = last_page.lines().filter(|line| line.starts_with("history ")).collect();
    assert!(history.len() >= 2 && history.iter().all(|line| !line.contains("code=")), "{last_page}");
    // Nor is the code in the files that the browser keeps of its pages. The provider allows the browser to keep the
    // redirect with the code, which is valid only once and for this login.
    let searched = last_page.lines().find_map(|line| line.strip_prefix("searched ")).unwrap_or_default();
    assert!(searched.split_once(' ').is_some_and(|(_, seen)| seen != "0"), "{last_page}");
    let led_back = format!(" of {}/oauth2/authorize", provider.name());
    assert!(
        last_page.lines().filter(|line| line.starts_with("kept ")).all(|line| line.ends_with(&led_back)),
        "{last_page}"
    );
    assert!(last_page.contains("\nwidth 320\n"), "on a narrow screen nothing lies beside it: {last_page}");
    person.ssh(Some(&agent.socket), &[]).ends(0).prints(&["in"]);
    uses("sign-in");

    // A relying party without the option that the guide requires: the token lacks the e-mail address.
    let run = login(&["--provisioner", "bare", "--force"]);
    let last_page = page();
    assert_eq!(run.code, Some(1), "{run:?}: {last_page}");
    run.says(&["no claim \"email\"", "Force claims", "the client bare"]);
    assert!(last_page.contains("That did not work"), "{last_page}");

    // A person who does not give consent.
    let run = login(&["--provisioner", "asking", "--force"]);
    let last_page = page();
    assert_eq!(run.code, Some(1), "{run:?}: {last_page}");
    run.says(&["the sign-in was denied by", "consent_required: consent not given", "sign in again and agree"]);
    assert!(!last_page.contains("You are logged in"), "{last_page}");
}
