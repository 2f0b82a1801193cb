//! From a machine without any setup to a certified one with one code.

mod at_a_terminal;

use crate::support::{
    ClientKnowledge, Machine, Member, Run, missing,
    request::{claims, for_host, signing},
    step_ca::{Provisioner, Setup, StepCa},
    terminal::Terminal,
    wait::{LONG, wait},
};
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

const NAME: &str = "web1.example.org";
const NAMES: [&str; 4] = ["invite", NAME, "-n", "web1"];

/// A machine that knows no CA, and the machine of an admin who does.
pub(super) struct Site {
    pub(super) member: Member,
    pub(super) ca: StepCa,
}

impl Site {
    pub(super) fn new(machine: Machine, setup: &Setup) -> Option<Self> {
        let ca = StepCa::with(&machine.network(), setup)?;
        let site = Self { member: Member { machine }, ca };
        let fingerprint = site.ca.fingerprint();
        site.admin(&["bootstrap", "--ca-url", &site.ca.url(), "--fingerprint", &fingerprint]).ends(0);
        Some(site)
    }

    /// Runs Warded as on the admin's machine: with its own configuration and state.
    fn admin(&self, arguments: &[&str]) -> Run {
        let machine = &self.member.machine;
        let mut command = self.member.command(arguments);
        command
            .env("WARDED_CONFIG", machine.path("admin/config.toml"))
            .env("WARDED_STATE", machine.path("admin-state"));
        Run::of(command.env("WARDED_PROVISIONER_PASSWORD_FILE", self.ca.password_file()))
    }

    /// Makes a code, as `invite` prints it.
    pub(super) fn invites(&self, more: &[&str]) -> String {
        let run = self.admin(&[&NAMES[..], more].concat()).ends(0).says(&["sudo warded enrol", NAME, "web1"]);
        run.stdout
    }

    /// Enrols the machine with a code from standard input.
    pub(super) fn enrols(&self, code: &str, more: &[&str]) -> Run {
        let mut command = self.member.command(&[&["enrol", "--yes"], more].concat());
        fed(&mut command, code)
    }

    /// The public status: the CA, and whether a change waits for its confirmation.
    fn told(&self) -> (Option<String>, bool) {
        let file = fs::read(self.member.machine.path("state-status/status.json")).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&file).unwrap();
        (told["ca"].as_str().map(str::to_owned), told["change_waits"] == true)
    }

    fn requests(&self, path: &str) -> usize {
        self.ca.log().matches(&format!("\"path\":\"{path}\"")).count()
    }
}

fn fed(command: &mut Command, text: &str) -> Run {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Warded may have refused before it has read everything.
    drop(stdin.write_all(text.as_bytes()));
    drop(stdin);
    Run::ended(child)
}

/// A code with these tokens, as `host/lib/src/ca/step/code.rs` describes it.
fn code(tokens: &[String]) -> String {
    let tokens = tokens.join("~");
    let length = |digits: usize| "warded1:".len() + digits + 1 + tokens.len() + 1 + 8;
    let before = format!("warded1:{}:{tokens}", length(length(3).to_string().len()));
    let mut checksum = String::new();
    for byte in &Sha256::digest(&before)[..4] {
        write!(checksum, "{byte:02x}").unwrap();
    }
    format!("{before}:{checksum}")
}

#[test]
fn one_code_certifies_a_machine_and_undo_reverts_all_of_it() {
    let Some(site) = Site::new(Machine::start(), &Setup::default()) else { return };
    let machine = &site.member.machine;
    let before = machine.tree();
    let code = site.invites(&[]);
    assert_eq!(code.lines().count(), 1);
    assert!(code.len() < 900, "{} characters", code.len());
    // A plan shows everything, changes nothing, and uses up no token.
    let mut plans = site.member.command(&["enrol", "--plan", "--json"]);
    let plan = fed(&mut plans, &code).ends(3).object("warded.plan/1");
    let shown: Vec<&str> =
        plan["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    for path in [machine.path("root_ca.crt"), site.member.config(), machine.path("ssh/ssh_host_rsa_key-cert.pub")] {
        assert!(shown.contains(&path.to_str().unwrap()) && !path.exists(), "{} is not in {shown:?}", path.display());
    }
    fed(&mut site.member.command(&["enrol", "--plan"]), &code).ends(3).prints(&[NAME, "Nothing has been changed."]);
    assert_eq!((machine.tree(), site.requests("/ssh/sign")), (before.clone(), 0));
    // A mail program breaks lines, and adds no quote marks.
    let broken: Vec<&str> = code.trim().as_bytes().chunks(61).map(|part| str::from_utf8(part).unwrap()).collect();
    let done = site.enrols(&format!("\n  {} \r\n", broken.join(" \r\n")), &["--json"]).ends(0).object("warded.enrol/1");
    let paths: Vec<&str> =
        done["review"]["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    for path in [machine.path("root_ca.crt"), site.member.config()] {
        assert!(paths.contains(&path.to_str().unwrap()), "{} is not in {paths:?}", path.display());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644, "{}", path.display());
    }
    assert_eq!(done["certificates"].as_array().unwrap().len(), 3);
    // One token is used. With the first key's certificate the CA certifies the other keys, for the same names and time.
    assert_eq!((site.requests("/ssh/sign"), site.requests("/ssh/rekey")), (1, 2));
    for certificate in done["certificates"].as_array().unwrap() {
        assert_eq!(certificate["principals"], serde_json::json!([NAME, "web1"]));
        let life = |end: &str| certificate[end].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let hours = life("valid_before").duration_since(life("valid_after")).as_hours();
        assert_eq!(hours, 720);
    }
    // The line for clients, as the output has it.
    let line = done["known_hosts"][0].as_str().unwrap();
    let key: Vec<String> = site.ca.authority("host").split(' ').take(2).map(|field| field.trim().to_owned()).collect();
    assert_eq!(line, format!("@cert-authority {NAME},web1 {}", key.join(" ")));
    machine.client(&ClientKnowledge::Authority(site.ca.authority("host"))).connects();
    // All certificates can be renewed, including the first.
    site.member.warded(&["renew", "--force"]).ends(0);
    site.member.warded(&["status"]).ends(0);
    site.member.warded(&["undo", "--yes", "--down-to", "1"]).ends(0);
    assert_eq!(machine.tree(), before);
    assert!(!site.member.config().exists() && !machine.path("root_ca.crt").exists());
    machine.audit();
}

#[test]
fn a_code_that_did_not_arrive_whole_is_told_as_such() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::default()) else { return };
    let code = site.invites(&[]);
    let (code, whole) = (code.trim(), code.trim().len());
    let mut changed = code.to_owned();
    changed.replace_range(300..301, if &code[300..301] == "x" { "y" } else { "x" });
    for (text, cause) in [
        (&code[..400], format!("cut off: 400 of its {whole} characters")),
        (&code[..whole - 1], format!("cut off: {} of its {whole} characters", whole - 1)),
        (&code[20..], "its beginning is missing".to_owned()),
        (&format!("{code}{code}"), format!("{} characters instead of {whole}", 2 * whole)),
        (&changed, "a character was changed".to_owned()),
        ("", "there is no code".to_owned()),
    ] {
        site.enrols(text, &[]).ends(2).says(&["the code cannot be used", &cause, "nothing was changed"]);
    }
    // Everybody can see the command line. The error does not repeat what was shown there.
    let shown = site.member.warded(&["enrol", code]).ends(2).says(&["never given on the command line", "ps,"]);
    assert!(!shown.stderr.contains(&code[100..]) && !shown.stdout.contains(&code[100..]));
    // A code in a file that others can read is refused as well.
    let file = site.member.machine.path("code");
    fs::write(&file, code).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let from_file = ["enrol", "--yes", "--code-file", file.to_str().unwrap()];
    site.member.warded(&from_file).ends(2).says(&["other users of this machine can read", "chmod 600"]);
    assert_eq!(site.requests("/ssh/sign"), 0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    site.member.warded(&from_file).ends(0);
}

#[test]
fn everybody_is_told_of_an_enrolment_and_of_its_end() {
    if missing::root() {
        return;
    }
    let Some(site) = Site::new(Machine::start(), &Setup::default()) else { return };
    site.enrols(&site.invites(&[]), &[]).ends(0);
    assert_eq!(site.told(), (Some(site.ca.url()), false));
    // The undo also removes the configuration that the run wrote.
    site.member.warded(&["undo", "--yes"]).ends(0);
    assert_eq!(site.told(), (None, false));
    // Each key had a certificate before, so it needs a token of its own.
    site.enrols(&site.invites(&["--keys", "3"]), &["--confirm-within", "5s"]).ends(0);
    assert_eq!(site.told(), (None, true));
    wait("it is rolled back", LONG, || !site.member.config().exists());
    wait("everybody is told", LONG, || site.told() == (None, false));
}

#[test]
fn a_code_has_a_time_and_serves_once() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::default()) else { return };
    for valid in ["5s", "2h"] {
        site.admin(&[&NAMES[..], &["--valid", valid]].concat()).ends(2).says(&["from 10s to 1h"]);
    }
    let mut past = for_host(claims(&site.ca.https(), "admin", "sign"), &[NAME]);
    past["exp"] = (jiff::Timestamp::now().as_second() - 400).into();
    past["sha"] = site.ca.fingerprint().into();
    let past = code(&[site.ca.key("admin").token(&past)]);
    site.enrols(&past, &[]).ends(2).says(&["the code expired 6 min ago", "warded invite"]);
    let plan = fed(&mut site.member.command(&["enrol", "--plan"]), &past).ends(2);
    plan.says(&["the code expired 6 min ago", "warded invite"]);

    // Somebody else used the code first, which is not reported as a typing error.
    let used = site.invites(&[]);
    let token = used.split(':').nth(2).unwrap();
    let thief = crate::support::jwk::Jwk::random();
    let stolen = site.ca.https().post("/1.0/ssh/sign", &signing(token, &thief)).unwrap();
    assert_eq!(stolen.status, 201);
    let refused = site.enrols(&used, &[]).ends(1);
    refused.says(&[
        "the cause is not known",
        "another person may have used",
        "has given a certificate for web1.example.org, web1 before",
        "the lines of its log with \"/ssh/sign\"",
        "warded revoke SERIAL",
    ]);
    assert!(!site.member.config().exists() && !site.member.certificate_file("rsa").exists());
    // The CA's log has the lines for which the admin is told to look.
    let line =
        site.ca.log().lines().find(|line| line.contains("/ssh/sign") && line.contains("201")).unwrap().to_owned();
    assert!(line.contains("\"serial\"") && line.contains(NAME), "{line}");
}

#[test]
fn the_same_code_goes_on_with_what_the_ca_gave() {
    // The CA gives the first certificate a longer life than it allows for the other keys.
    let setup = Setup::of([
        Provisioner::jwk("admin").lasting("100h"),
        Provisioner::sshpop("sshpop").claim("maxHostSSHCertDuration", "50h"),
    ]);
    let Some(mut site) = Site::new(Machine::stopped(), &setup) else { return };
    let before = site.member.machine.tree();
    let code = site.invites(&[]);
    site.enrols(&code, &[]).ends(1).says(&["refused to certify", "nothing was changed"]);
    assert_eq!(site.member.machine.tree(), before);
    assert!(!site.member.config().exists());
    // The token is used up, and invalid since the CA's restart, but it is no longer needed.
    site.ca.reconfigure(|config| {
        config["authority"]["provisioners"][1]["claims"]["maxHostSSHCertDuration"] = "200h".into();
    });
    site.enrols(&code, &[]).ends(0);
    assert_eq!(site.requests("/ssh/sign"), 1);
    site.member.warded(&["renew", "--force"]).ends(0);
}

#[test]
fn a_ca_without_sshpop_takes_a_token_a_key() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::of([Provisioner::jwk("admin")])) else { return };
    let code = site.invites(&[]);
    assert_eq!(code.matches('~').count(), 2);
    // Many tokens take several lines: a terminal would cut off a longer one.
    assert!(site.invites(&["--keys", "9"]).lines().count() > 1);
    site.enrols(&code, &[]).ends(0);
    assert_eq!(site.requests("/ssh/sign"), 3);
}

#[test]
fn a_machine_with_another_ca_stays_with_it() {
    let Some(site) = Site::new(Machine::stopped(), &Setup::default()) else { return };
    let Some(other) = StepCa::start(&site.member.machine.network()) else { return };
    site.member.bootstrap(&other.url(), &other.fingerprint()).ends(0);
    let configured = fs::read(site.member.config()).unwrap();
    let code = site.invites(&[]);
    let refused = site.enrols(&code, &[]).ends(5).says(&[
        "trusts another CA",
        "says that it has the root that was given",
        "nothing was changed",
    ]);
    assert_eq!(fs::read(site.member.config()).unwrap(), configured);
    assert_eq!(site.requests("/ssh/sign"), 0);
    // The suggested command works: `bootstrap` replaces the first CA, and then the code can be used.
    let replace = format!(
        "sudo warded bootstrap --ca-url {} --fingerprint {} --force; and then: sudo warded enrol",
        site.ca.url(),
        site.ca.fingerprint()
    );
    assert!(refused.stderr.contains(&replace) && !refused.stderr.contains("--name"), "{}", refused.stderr);
    let (url, root) = (site.ca.url(), site.ca.fingerprint());
    site.member.warded(&["bootstrap", "--ca-url", &url, "--fingerprint", &root, "--force"]).ends(0);
    site.enrols(&code, &[]).ends(0);
}
