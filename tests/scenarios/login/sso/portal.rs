//! The real LemonLDAP::NG: what it says to a wrongly configured client, to other clients' codes, and at a logout; and
//! the guide's commands that set it up.

use super::{
    super::Person,
    lemonldap::{of_client, of_the_guide},
};
use crate::{
    scenarios::step_ca::commands_of,
    support::{
        Run,
        agent::Agent,
        issuer::visit,
        lemonldap::{LemonLdap, script},
        missing,
        step_ca::Provisioner,
        wait::{LONG, wait},
    },
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

const GUIDE: &str = include_str!("../../../../docs/GUIDE.md");
/// The address to which the browser comes back.
const BACK: &str = "http://127.0.0.1:10000";

/// A person with an account at the provider, and the CA with a provisioner for each of these clients.
struct Customer {
    person: Person,
    agent: Agent,
    _provider: LemonLdap,
}

impl Customer {
    fn of(clients: &[&str]) -> Option<Self> {
        if missing::root() || missing::program("jq", "jq") || missing::program("python3", "python3") {
            return None;
        }
        let mut provider = None;
        let person = Person::of(|network| {
            let Some(started) = LemonLdap::start(network, BACK) else { return Vec::new() };
            let all = clients.iter().map(|name| of_client(&started.name(), name)).collect();
            provider = Some(started);
            all
        });
        let (person, provider) = (person?, provider?);
        let agent = Agent::openssh(person.machine(), "agent");
        let customer = Self { person, agent, _provider: provider };
        let told = customer.told();
        customer.browses(&format!("printf %s \"$1\" > {0}.new && mv {0}.new {0}", told.display()));
        Some(customer)
    }

    fn told(&self) -> PathBuf {
        self.person.machine().path("address")
    }

    fn browser(&self) -> PathBuf {
        self.person.machine().path("browser")
    }

    fn browses(&self, line: &str) {
        fs::write(self.browser(), format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(self.browser(), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.person.command(Some(&self.agent.socket), words);
        command.env("BROWSER", self.browser());
        command
    }

    /// Runs `warded login` with this provisioner. `goes` gets the provider's address to which the browser is
    /// redirected.
    fn login(&self, provisioner: &str, goes: impl FnOnce(&str)) -> Run {
        drop(fs::remove_file(self.told()));
        let mut command = self.command(&["login", "dwho", "--force", "--provisioner", provisioner]);
        command.env("WARDED_TEST_PATIENCE", "20").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let login = command.spawn().unwrap();
        wait("the browser is started", LONG, || self.told().exists());
        let start = fs::read_to_string(self.told()).unwrap();
        let led = visit(&self.person.machine().network(), &start);
        let provider = led.head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap().to_owned();
        goes(&provider);
        Run::ended(login)
    }

    /// The page that a person sees after signing in at this address.
    fn signs_in(&self, address: &str, more: &[(&str, &str)]) -> String {
        let mut command = self.person.machine().network().command(script("sign-in"));
        Run::of(command.args(["dwho", "dwho", address]).envs(more.iter().copied())).ends(0).stdout
    }

    /// The address to which the provider redirects after the sign-in. The browser does not follow it.
    fn led_back(&self, address: &str) -> String {
        let said = self.signs_in(address, &[("STAY", BACK)]);
        said.lines().find_map(|line| line.strip_prefix("stayed ")).unwrap_or_else(|| panic!("{said}")).to_owned()
    }

    fn comes_back(&self, address: &str) {
        let path = address.strip_prefix(BACK).unwrap().trim_start_matches('/');
        assert_eq!(visit(&self.person.machine().network(), &format!("{BACK}/{path}")).status, 303);
    }
}

fn value<'a>(address: &'a str, name: &str) -> &'a str {
    let mut parts = address.split(['?', '&']);
    parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')).unwrap()
}

#[test]
fn a_code_serves_once_and_its_own_client_alone() {
    let Some(customer) = Customer::of(&["sso"]) else { return };
    let mut used = String::new();
    let run = customer.login("sso", |provider| {
        let back = customer.led_back(provider);
        value(&back, "code").clone_into(&mut used);
        customer.comes_back(&back);
    });
    run.ends(0).prints(&["dwho@badwolf.org has a certificate"]);
    let asked = customer.person.asked();

    // The code of the earlier login, in an answer that otherwise belongs to this login.
    let run = customer.login("sso", |provider| {
        customer.comes_back(&format!("{BACK}/?code={used}&state={}", value(provider, "state")));
    });
    run.ends(1).says(&["the sign-in was refused by", "invalid_grant", "begin again"]);
    // A code that another client got, for this login's verifier and nonce.
    let run = customer.login("sso", |provider| {
        let other = provider.replace("client_id=step-cli", "client_id=bare");
        assert_ne!(other, provider);
        customer.comes_back(&customer.led_back(&other));
    });
    run.ends(1).says(&["the sign-in was refused by", "invalid_grant"]);
    assert_eq!(customer.person.asked(), asked, "the CA was asked with neither");
}

/// Each fault ends in a page of the provider with a number, which the person reads. The terminal says what it means.
#[test]
fn what_the_provider_shows_the_browser_alone_is_told() {
    let Some(customer) = Customer::of(&["unregistered", "ruled", "elsewhere"]) else { return };
    for (client, number, says) in [
        ("unregistered", "107", ["does not know the client unregistered", "register the client unregistered"]),
        ("ruled", "84", ["the provider knows the client ruled", "84 or 90: its rules"]),
        (
            "elsewhere",
            "108",
            ["the provider knows the client elsewhere", "exactly this redirect URI: http://127.0.0.1:10000"],
        ),
    ] {
        let mut page = String::new();
        let run = customer.login(client, |provider| page = customer.signs_in(provider, &[]));
        let numbers = page.lines().find_map(|line| line.strip_prefix("messages")).unwrap_or_default();
        assert!(numbers.split(' ').any(|one| one == number), "{client}: {page}");
        run.ends(1).says(&["the browser did not come back"]).says(&says);
    }
}

/// `logout` opens the provider's page, where the person confirms, and the session ends.
#[test]
fn a_logout_ends_the_session_with_the_provider() {
    let Some(customer) = Customer::of(&["sso"]) else { return };
    let cookies = customer.person.machine().path("cookies");
    let jar = [("COOKIES", cookies.to_str().unwrap())];
    let has_session = || fs::read_to_string(&cookies).unwrap().contains("lemonldap=");
    customer.login("sso", |provider| drop(customer.signs_in(provider, &jar))).ends(0);
    assert!(has_session());
    let page = customer.person.machine().path("page");
    let (sign_in, shown) = (script("sign-in"), page.display());
    customer.browses(&format!(
        "COOKIES={} AGREES=1 {} dwho dwho \"$1\" > {shown}.new 2>&1; mv {shown}.new {shown}",
        cookies.display(),
        sign_in.display()
    ));
    Run::of(&mut customer.command(&["logout"])).ends(0).prints(&["The browser opens the page", "/oauth2/logout"]);
    wait("the browser shows the last page", LONG, || page.exists());
    assert!(!has_session(), "{}", fs::read_to_string(&page).unwrap());
}

/// Every command of section 7b: at the provider, at the CA, and on the person's machine.
#[test]
fn every_command_of_the_guides_single_sign_on_does_what_it_says() {
    if missing::root() || missing::program("jq", "jq") || missing::program("python3", "python3") {
        return;
    }
    let section = GUIDE.split_once("## 7b. ").unwrap().1.split_once("\n## ").unwrap().0;
    let commands = commands_of(section);
    let at = |host: &'static str| commands.iter().filter(move |(at, _)| *at == host).map(|(_, command)| *command);
    let Some(mut person) = Person::of(|_| vec![Provisioner::jwk("admin")]) else { return };
    let file = person.machine().path("commands");
    fs::write(&file, at("sso").map(|command| format!("{}\n", command.replace("sudo ", ""))).collect::<String>())
        .unwrap();
    let Some(provider) = LemonLdap::after(&person.machine().network(), &file) else { return };
    fs::write(person.ca.path("sso.json"), of_the_guide(&provider.name()).to_string()).unwrap();
    for command in at("ca") {
        if command.contains("systemctl restart") {
            person.ca.stop();
            person.ca.serve();
        } else {
            Run::of(Command::new("sh").args(["-ec", command]).current_dir(person.ca.path(""))).ends(0);
        }
    }
    let agent = Agent::openssh(person.machine(), "agent");
    let browser = person.machine().path("browser");
    let line = format!("#!/bin/sh\nexec {} dwho dwho \"$1\" >/dev/null\n", script("sign-in").display());
    fs::write(&browser, line).unwrap();
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
    let mut ran = 0;
    for command in at("laptop") {
        // LemonLDAP's demonstration user is called dwho.
        let run = if let Some(words) = command.strip_prefix("warded ") {
            let words = words.replace("ann", "dwho");
            let mut command = person.command(Some(&agent.socket), &words.split(' ').collect::<Vec<_>>());
            Run::of(command.env("BROWSER", &browser))
        } else {
            assert!(command.starts_with("ssh ann@"), "{command}");
            person.ssh(Some(&agent.socket), &[])
        };
        run.ends(0);
        ran += 1;
    }
    assert_eq!((ran, commands.len()), (2, 14));
    assert_eq!(person.asked(), 1);
}
