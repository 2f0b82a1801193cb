//! `warded login` with single sign-on: a small real identity provider of the tests, the real step-ca, and a browser
//! that follows every redirect.

mod attacks;
mod device;
mod faults;
mod https;
mod lemonldap;
mod machines;
mod names;
mod on_demand;
mod pages;
mod portal;
mod several;

use super::Person;
use crate::support::{
    Run,
    agent::Agent,
    issuer::{CLIENT, Issuer, Visit, browse},
    missing,
    network::Network,
    step_ca::{Provisioner, Setup},
    wait::{LONG, wait},
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// A person with an account at a provider, which the CA knows as its provisioner `sso`.
struct Member {
    person: Person,
    issuer: Issuer,
    agent: Agent,
}

impl Member {
    /// A member whose provisioner has these further settings.
    fn with(more: &Value) -> Option<Self> {
        Self::of(more, None, Issuer::start)
    }

    /// A member with this provider. `web_root` is the root of the provider's certificate.
    fn of(more: &Value, web_root: Option<String>, start: impl FnOnce(&Network, Value) -> Issuer) -> Option<Self> {
        let mut issuer = None;
        let person = Person::with(|network| {
            let started = start(network, json!({ "email": "root@lab.test", "groups": ["users"] }));
            let sso = Provisioner::oidc("sso", &started.name(), CLIENT, more);
            issuer = Some(started);
            let setup = Setup::of([Provisioner::jwk("admin"), Provisioner::sshpop("sshpop"), sso]);
            Setup { web_root, ..setup }
        })?;
        let agent = Agent::openssh(person.machine(), "agent");
        let browser = person.machine().path("browser");
        let told = person.machine().path("address");
        let script = format!("#!/bin/sh\nprintf %s \"$1\" > {0}.new && mv {0}.new {0}\n", told.display());
        fs::write(&browser, script).unwrap();
        fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Self { person, issuer: issuer.unwrap(), agent })
    }

    fn new() -> Option<Self> {
        Self::with(&json!({}))
    }

    fn network(&self) -> Network {
        self.person.machine().network()
    }

    fn socket(&self) -> Option<&Path> {
        Some(&self.agent.socket)
    }

    fn told(&self) -> PathBuf {
        self.person.machine().path("address")
    }

    /// The file with the address with which the browser was last started.
    fn opened(&self) -> PathBuf {
        self.person.machine().path("opened")
    }

    /// `warded login` on a machine with a browser.
    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.person.command(self.socket(), &[&["login"][..], more].concat());
        command.env("BROWSER", self.person.machine().path("browser"));
        command
    }

    /// Runs the login. `browser` gets each address with which the browser is started.
    fn with_browser(&self, more: &[&str], browser: impl FnMut(&Self, &str)) -> Run {
        self.browsing(self.command(more), browser)
    }

    fn browsing(&self, mut command: Command, mut browser: impl FnMut(&Self, &str)) -> Run {
        drop(fs::remove_file(self.told()));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        loop {
            let until = Instant::now() + LONG;
            while !self.told().exists() && child.try_wait().unwrap().is_none() {
                if Instant::now() > until {
                    child.kill().unwrap();
                    panic!("neither is the browser started nor has the login ended: {:?}", Run::ended(child));
                }
                sleep(Duration::from_millis(2));
            }
            let Ok(address) = fs::read_to_string(self.told()) else { return Run::ended(child) };
            fs::rename(self.told(), self.opened()).unwrap();
            browser(self, &address);
        }
    }

    /// Runs the login with a person who signs in. Returns also what the browser saw.
    fn sign_in(&self, more: &[&str]) -> (Run, Vec<Visit>) {
        let mut visits = Vec::new();
        let run = self.with_browser(more, |member, address| visits = browse(&member.network(), address));
        (run, visits)
    }
}

#[test]
fn a_person_signs_in_and_gets_in() {
    let Some(member) = Member::new() else { return };
    let (run, visits) = member.sign_in(&["root"]);
    let run = run.ends(0).says(&["Sign in at", &member.issuer.name(), "in the browser that opens now"]);
    run.prints(&["root@lab.test has a certificate", "\"root\", \"root@lab.test\"", "forgets it then"]);
    // The browser visits the listener, the provider, the listener, and then a page whose address does not contain the
    // code.
    let last = visits.last().unwrap();
    assert!(last.body.contains("You are logged in") && !last.url.contains('?'), "{visits:?}");
    assert!(last.head.contains("no-store") && last.head.contains("default-src 'none'"), "{}", last.head);
    assert!(visits[1].url.contains("&redirect_uri=http%3A%2F%2F127.0.0.1%3A"), "{}", visits[1].url);
    member.person.ssh(member.socket(), &[]).ends(0).prints(&["in"]);

    // A second login does nothing, and asks nobody.
    let (asked, signs) = (member.issuer.log().len(), member.person.asked());
    let again = member.person.warded(member.socket(), &["login", "root", "--json"]).ends(0).object("warded.login/1");
    assert_eq!(again["status"], "unchanged");
    assert_eq!((member.issuer.log().len(), member.person.asked()), (asked, signs));
    // A new certificate replaces the first, and then the logout.
    let (forced, _) = member.sign_in(&["root", "--force", "--json"]);
    let forced = forced.ends(0).object("warded.login/1");
    assert_eq!((&forced["status"], &forced["key_id"]), (&"new".into(), &"root@lab.test".into()));
    assert_eq!(member.person.listed(&member.agent.socket).len(), 1);
    let mut logout = member.person.command(member.socket(), &["logout"]);
    drop(fs::remove_file(member.told()));
    let logout = Run::of(logout.env("BROWSER", member.person.machine().path("browser"))).ends(0);
    let end = format!("{}/logout", member.issuer.name());
    logout.prints(&["The browser opens the page on which you end your session with the provider", &end]);
    wait("the browser is opened where the session is ended", LONG, || {
        fs::read_to_string(member.told()).is_ok_and(|at| at == end)
    });
    assert!(!member.person.warded(member.socket(), &["logout"]).ends(0).stdout.contains("session"));
    assert_eq!(fs::read_dir(member.person.home(".ssh")).unwrap().count(), 0);
    assert!(member.person.listed(&member.agent.socket).is_empty());
}

/// If the password of a provisioner is given, it is used as before; if a provisioner of single sign-on is named, that
/// one is used.
#[test]
fn another_credential_goes_first() {
    let Some(member) = Member::new() else { return };
    member.person.login(member.socket(), &[]).ends(0).prints(&["root has a certificate"]);
    let mut named = member.command(&["root", "--force", "--provisioner", "admin"]);
    Run::of(&mut named).ends(2).says(&["the password of the provisioner admin is needed"]);
    let password = member.person.ca.password_file();
    let mut variable = member.command(&["root", "--force"]);
    variable.env("WARDED_PROVISIONER_PASSWORD", fs::read_to_string(password).unwrap());
    Run::of(&mut variable).ends(0);
    assert!(member.issuer.log().iter().all(|(_, asked)| !asked.contains("authorize")));
    let mut none = member.command(&["root", "--force", "--provisioner", "admin", "--device"]);
    Run::of(&mut none).ends(2).says(&["there is no single sign-on to use"]);
    let (run, _) = member.sign_in(&["root", "--force", "--provisioner", "sso"]);
    run.ends(0);
}

/// The login listens on the provisioner's port and on no other.
#[test]
fn the_provisioners_port_is_listened_at() {
    let Some(member) = Member::with(&json!({ "listenAddress": ":10007" })) else { return };
    member.issuer.knows_only("http://127.0.0.1:10007");
    let (run, visits) = member.sign_in(&["root"]);
    run.ends(0);
    assert!(visits[0].url.starts_with("http://127.0.0.1:10007/go/"), "{visits:?}");
}

/// If there is no browser here, the login prints the address, and how to reach it from elsewhere.
#[test]
fn without_a_browser_the_address_is_printed() {
    let Some(member) = Member::new() else { return };
    let mut command = member.command(&["root"]);
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
        command.env_remove(name);
    }
    let said = member.person.machine().path("said");
    let file = fs::File::create(&said).unwrap();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
    let address = || {
        let said = fs::read_to_string(&said).unwrap();
        said.split_whitespace()
            .find(|word| word.contains("/go/"))
            .filter(|_| said.contains("THIS-MACHINE"))
            .map(str::to_owned)
    };
    wait("the address is printed", LONG, || address().is_some());
    assert!(fs::read_to_string(&said).unwrap().contains("ssh -L "));
    browse(&member.network(), &address().unwrap());
    Run::ended(child).ends(0);
}

/// A person who has an ID token passes it on standard input: it must not be on a command line.
#[test]
fn an_id_token_is_taken_from_standard_input() {
    let Some(member) = Member::new() else { return };
    let with = |token: &str| {
        let file = member.person.machine().path("token");
        fs::write(&file, token).unwrap();
        let mut command = member.command(&["root", "--token", "--force"]);
        let child = command.stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Run::ended(child.unwrap())
    };
    let token = member.issuer.token(&json!({ "nonce": "n1" }));
    with(&token).ends(0).prints(&["root@lab.test has a certificate"]);
    // The CA accepts a token once.
    let again = with(&token).ends(1).says(&["serves once", "sign in again"]);
    assert!(!again.stderr.contains(&token));
    let now = jiff::Timestamp::now().as_second();
    for (changes, says) in [
        (json!({ "exp": now - 100 }), &["the ID token expired 10", "warded login"][..]),
        (json!({ "iat": now + 300, "nonce": "n2" }), &["the provider's clock is ahead of the CA's"]),
        (json!({ "aud": "other", "azp": "other" }), &["for the client other, other, and the CA's is step-cli"]),
    ] {
        with(&member.issuer.token(&changes)).ends(1).says(says);
    }
    with("").ends(2).says(&["there is no ID token on standard input"]);
    with("a.b.c").ends(2).says(&["base64url"]);
    let one_time = member.person.warded(
        None,
        &["token", "root", "--user", "--provisioner-password-file", member.person.ca.password_file().to_str().unwrap()],
    );
    with(one_time.ends(0).stdout.trim()).ends(2).says(&["--token-file"]);
}

/// A real browser has its own rules of what it prefetches, which headers it sends, and what it remembers of an address.
#[test]
fn a_real_browser_comes_back() {
    if missing::program("chromium-headless-shell", "chromium-headless-shell") {
        return;
    }
    let Some(member) = Member::new() else { return };
    let browser = member.person.machine().path("browser");
    let (page, profile) = (member.person.machine().path("page"), member.person.machine().path("profile"));
    let script = format!(
        "#!/bin/sh\nexec chromium-headless-shell --no-sandbox --disable-gpu --user-data-dir={} --dump-dom \"$1\" >{} 2>/dev/null\n",
        profile.display(),
        page.display()
    );
    fs::write(&browser, script).unwrap();
    let run = Run::of(&mut member.command(&["root"])).ends(0).prints(&["root@lab.test has a certificate"]);
    wait("the browser shows the page", LONG, || fs::read_to_string(&page).is_ok_and(|page| page.contains("</html>")));
    assert!(fs::read_to_string(&page).unwrap().contains("<h1>You are logged in</h1>"));
    let times = member.issuer.log().iter().filter(|(_, asked)| asked == "GET /authorize").count();
    assert_eq!(times, 1, "{}", run.stderr);
}
