//! A login on another device (RFC 8628).

use super::{super::Person, Member};
use crate::support::{
    Run,
    agent::Agent,
    issuer::{CLIENT, CLOSED, ProviderFault},
    lemonldap::script,
    missing,
    oidc_provider::OidcProvider,
    step_ca::Provisioner,
    terminal::Terminal,
    wait::{LONG, wait},
};
use serde_json::json;
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

impl Member {
    /// Runs the login on a machine without a browser.
    fn on_device(&self, more: &[&str]) -> Run {
        let mut command = self.command(more);
        for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
            command.env_remove(name);
        }
        Run::of(&mut command)
    }
}

#[test]
fn a_machine_without_a_browser_shows_a_code() {
    let Some(member) = Member::new() else { return };
    member.issuer.has_devices(&["authorization_pending", "slow_down", "authorization_pending"]);
    let run = member.on_device(&["root"]).ends(0).prints(&["root@lab.test has a certificate"]);
    run.says(&["/activate and enter the code WDJB-MJHT (within 2 min)", "/activate?user_code=WDJB-MJHT"]);
    member.person.ssh(member.socket(), &[]).ends(0).prints(&["in"]);
    // `slow_down` adds five seconds to all later intervals.
    let polls: Vec<_> = member.issuer.log().into_iter().filter(|(_, asked)| asked == "POST /token").collect();
    let gaps: Vec<i64> = polls.windows(2).map(|two| two[1].0.duration_since(two[0].0).as_secs()).collect();
    assert!(matches!(gaps.as_slice(), [first, second, third] if *first < 5 && *second >= 6 && *third >= 6), "{gaps:?}");
}

/// A connection that breaks does not shorten the interval that the provider has set.
#[test]
fn polls_stay_as_slow_as_the_provider_wants_them() {
    let Some(member) = Member::new() else { return };
    member.issuer.has_devices(&["slow_down", "slow_down", CLOSED, "authorization_pending"]);
    member.on_device(&["root"]).ends(0).prints(&["root@lab.test has a certificate"]);
    let polls: Vec<_> = member.issuer.log().into_iter().filter(|(_, asked)| asked == "POST /token").collect();
    let gaps: Vec<i64> = polls.windows(2).map(|two| two[1].0.duration_since(two[0].0).as_secs()).collect();
    assert!(matches!(gaps.as_slice(), [_, _, third, fourth] if *third >= 11 && *fourth >= 11), "{gaps:?}");
    // The session with the provider is in the browser of another device.
    let mut logout = member.person.command(member.socket(), &["logout"]);
    logout.env("BROWSER", member.person.machine().path("browser"));
    Run::of(&mut logout).ends(0).prints(&["On the device where you signed in", "/logout"]);
    assert!(!member.told().exists(), "a browser was opened");
}

#[test]
fn a_device_is_chosen_by_name_and_its_refusals_are_told() {
    let Some(member) = Member::new() else { return };
    Run::of(&mut member.command(&["root", "--device"])).ends(1).says(&[
        "no login on another device",
        "device_authorization_endpoint",
        "ssh -L",
    ]);
    // The login ends when the code expires after two seconds, and does not wait for the interval of two minutes.
    member.issuer.has_devices(&[]);
    member.issuer.goes_wrong(ProviderFault::NeverOnDevice);
    let begun = Instant::now();
    let run = Run::of(&mut member.command(&["root", "--device"])).ends(1);
    run.says(&["the code was not used in time", "--device again"]);
    assert!(begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
    // If the provider does not answer a poll, the login does not say that the person was late.
    member.issuer.goes_wrong(ProviderFault::SilentAboutTokens);
    let run = Run::of(&mut member.command(&["root", "--device"])).ends(6).says(&["cannot be reached"]);
    assert!(!run.stderr.contains("in time"), "{}", run.stderr);
    member.issuer.goes_wrong(ProviderFault::Denied);
    Run::of(&mut member.command(&["root", "--device"])).ends(1).says(&["denied by", "access_denied"]);
    member.issuer.goes_wrong(ProviderFault::OtherKey);
    Run::of(&mut member.command(&["root", "--device"])).ends(5).says(&["signature"]);
    assert!(!member.told().exists(), "a browser was opened");
}

/// A provider that supports the grant itself, and a person with a browser on another device.
#[test]
fn a_real_provider_lets_a_person_in_by_a_code() {
    if missing::root()
        || missing::program("node", "nodejs")
        || missing::program("npm", "npm")
        || missing::program("chromium-headless-shell", "chromium-headless-shell")
    {
        return;
    }
    let mut provider = None;
    let person = Person::of(|network| {
        let started = OidcProvider::start(network);
        let sso = Provisioner::oidc("sso", &started.name(), CLIENT, &json!({}));
        provider = Some(started);
        vec![sso]
    });
    let (Some(person), Some(provider)) = (person, provider) else { return };
    let agent = Agent::openssh(person.machine(), "agent");
    let said = person.machine().path("said");
    let mut command = person.command(Some(&agent.socket), &["login", "root", "--device"]);
    let file = fs::File::create(&said).unwrap();
    let login = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file).spawn().unwrap();
    let whole = || {
        let said = fs::read_to_string(&said).unwrap();
        said.lines().find_map(|line| line.strip_prefix("or open ")).map(str::to_owned)
    };
    wait("the address is shown", LONG, || whole().is_some());
    let address = whole().unwrap();
    assert!(address.starts_with(&provider.name()) && address.contains("user_code="), "{address}");
    let mut browser = person.machine().network().command(script("browser"));
    Run::of(browser.args(["root", "any", &address])).ends(0).prints(&["Your sign-in was successful"]);
    Run::ended(login).ends(0).prints(&["root@lab.test has a certificate"]);
    person.ssh(Some(&agent.socket), &[]).ends(0).prints(&["in"]);
}

#[test]
fn a_camera_reads_the_address_off_a_terminal() {
    if missing::program("node", "nodejs") || missing::program("npm", "npm") {
        return;
    }
    let Some(member) = Member::new() else { return };
    member.issuer.has_devices(&[]);
    let login = member.command(&["root", "--device"]);
    let line = format!("{} login root --device", env!("CARGO_BIN_EXE_warded"));
    let terminal = Terminal::run(member.person.machine(), 120, &line, |command| {
        for (name, value) in login.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    });
    let (code, screen) = terminal.ends();
    assert_eq!(code, 0, "{screen}");
    let file = member.person.machine().path("screen");
    fs::write(&file, screen).unwrap();
    let mut camera = Command::new(script("read-qr"));
    camera.stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let read = Run::ended(camera.spawn().unwrap()).ends(0);
    assert_eq!(read.stdout.trim(), format!("{}/activate?user_code=WDJB-MJHT", member.issuer.name()));
}
