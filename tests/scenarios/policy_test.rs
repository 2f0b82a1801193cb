//! `warded policy test`: runs policies on described machines, and reports what differs from the expectation.

mod judged;

use crate::support::{
    Grants, Machine, Run, appliance,
    script::{
        Argument::{Settings, Text},
        Script,
    },
};
use serde_json::{Value, json};
use std::{fmt::Write as _, fs, path::Path, process::Command};
use warded_lib::digest::Digest;

fn tried(directory: &Path, more: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warded"));
    // Hides this machine's configuration, state and CA.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/nonexistent").env("TMPDIR", "/tmp");
    let state = directory.join("state");
    let run = Run::of(command.env("WARDED_STATE", &state).args(["policy", "test"]).arg(directory).args(more));
    assert!(!state.exists(), "this machine's state is left alone");
    run
}

/// Each shipped policy does on each described machine what its author expects.
#[test]
fn each_policy_does_what_its_scenarios_say() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let unix = "debian ubuntu-socket rhel-8 rhel-9 rhel-10 fedora arch opensuse alpine void runit sysv proxmox proxmox-rekey \
                nixos nixos-prepared dropbear";
    let truenas = "scale scale-match community community-empty another-version middleware-hangs remove";
    for (name, platforms) in [
        ("unix", unix),
        ("nethserver", "certify renew remove another-sshd another-user-ca no-engine"),
        ("truenas", truenas),
        ("truenas-core", "core freenas-11-1 freenas-11-2 remove"),
        ("bsd", "freebsd opnsense opnsense-before-25-1 opnsense-remove pfsense pfsense-match"),
    ] {
        let component = checkout.join(format!("policies/{name}.wasm"));
        let folder = checkout.join("guests").join(name);
        let run = tried(&folder, &["--component", component.to_str().unwrap(), "--json"]).ends(0);
        let object = run.object("warded.policy-test/1");
        let scenarios = object["scenarios"].as_array().unwrap();
        let tried: Vec<&str> = scenarios.iter().filter_map(|scenario| scenario["scenario"].as_str()).collect();
        for platform in platforms.split_whitespace() {
            assert!(tried.contains(&platform), "{name} has no scenario {platform}: {tried:?}");
        }
    }
}

/// The page shows the scenario that `policy new` writes, and that the stage `author` runs.
#[test]
fn the_page_shows_the_scenario_of_a_new_policy() {
    const PAGE: &str = include_str!("../../docs/TESTING-A-POLICY.md");
    const SCENARIO: &str = include_str!("../../host/src/cli/policy/template/two-lines.toml");
    assert!(PAGE.contains(&format!("```toml\n{SCENARIO}```\n")), "docs/TESTING-A-POLICY.md lacks {SCENARIO}");
}

/// Which grants of the shipped policies no described machine needs. Each policy passes its scenarios without these
/// grants.
#[test]
fn scenarios_pass_with_the_suggested_grants() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let machine = Machine::stopped();
    let mut taken = String::new();
    for name in ["unix", "nethserver", "truenas", "truenas-core", "bsd"] {
        let component = checkout.join(format!("policies/{name}.wasm"));
        let component = component.to_str().unwrap();
        let folder = checkout.join("guests").join(name);
        let object = tried(&folder, &["--component", component, "--suggest", "--json"]).ends(0);
        let suggestion = &object.object("warded.policy-test/1")["suggestion"];
        for change in suggestion["changes"].as_array().unwrap() {
            let [procedure, grant] = ["procedure", "grant"].map(|what| change[what].as_str().unwrap());
            let instead: Vec<&str> = change["instead"].as_array().unwrap().iter().flat_map(Value::as_str).collect();
            let instead = if instead.is_empty() { String::new() } else { format!(" -> {}", instead.join(", ")) };
            writeln!(taken, "{name} {procedure}: {grant}{instead}").unwrap();
        }
        let file = machine.path(&format!("{name}-suggested.toml"));
        let file = file.to_str().unwrap();
        fs::write(file, suggestion["policy"].as_str().unwrap()).unwrap();
        tried(&folder, &["--component", component, "--grants", file]).ends(0);
        // No other policy may have the bundled one's name.
        if name != "unix" {
            let digest = Digest::of(&fs::read(component).unwrap()).to_string();
            let accept = ["--grants", file, "--yes", "--digest", &digest, "--accept-risk", "unsigned-policy"];
            Run::of(machine.warded_command([]).args([&["policy", "add", component], &accept[..]].concat())).ends(0);
        }
    }
    insta::assert_snapshot!(taken, @r"
    unix certify-host: keys {sshd}/ssh_host_rsa_key
    unix certify-host: keys {sshd}/ssh_host_ecdsa_key
    unix certify-host: keys {sshd}/ssh_host_ed25519_key
    unix rekey-host: authority roots host
    unix rekey-host: authority rekey host
    unix rekey-host: keys sshd-host-keys
    unix rekey-host: certificates beside-key
    unix rekey-host: sshd.effective
    unix rekey-host: services.ssh reload
    unix renew-host: authority issue host
    unix revoke-users: files.read /etc/ssh/sshd_config.d/* -> /etc/ssh/sshd_config.d/50-warded-revoke-users.conf, /etc/ssh/sshd_config.d/50-warded.conf
    unix revoke-users: files.write {sshd}/warded-revoked.krl
    unix revoke-users: files.write {sshd}/sshd_config.d/50-warded-revoke-users.conf
    unix revoke-users: files.write {sshd}/sshd_config.d/50-warded.conf
    unix trust-user-ca: files.read /etc/ssh/sshd_config.d/* -> /etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf
    unix trust-user-ca: files.read {sshd}/*.pub
    unix trust-user-ca: files.read /etc/ssh/*.pub -> /etc/ssh/warded-user-ca.pub
    unix trust-user-ca: files.write {sshd}/warded-user-ca.pub
    unix trust-user-ca: files.write {sshd}/sshd_config.d/50-warded-trust-user-ca.conf
    nethserver remove: files.write {sshd}/*-cert.pub -> {sshd}/ssh_host_ed25519_key-cert.pub
    nethserver renew-host: authority issue host
    nethserver trust-user-ca: files.write {sshd}/warded-user-ca.pub
    nethserver trust-user-ca: files.write /etc/backup-config.d/custom.include
    nethserver trust-user-ca: services.ssh reload
    nethserver trust-user-ca: actions expand-sshd-config
    truenas certify-host: certificates {home}/warded-*-cert.pub -> {home}/warded-ssh_host_ed25519_key-cert.pub, {home}/warded-ssh_host_rsa_key-cert.pub
    truenas remove: actions renewal-job
    truenas-core certify-host: certificates {home}/warded-*-cert.pub -> {home}/warded-ssh_host_ed25519_key-cert.pub
    truenas-core remove: actions renewal-job
    bsd remove: files.read /etc/platform
    bsd remove: files.write /etc/sshd_extra
    bsd remove: files.write {sshd}/*-cert.pub
    bsd remove: files.write /conf/sshd/*-cert.pub -> /conf/sshd/ssh_host_ed25519_key-cert.pub
    bsd renew-host: authority issue host
    bsd trust-user-ca: files.read /usr/local/opnsense/version/core
    bsd trust-user-ca: files.write {sshd}/warded-user-ca.pub
    bsd trust-user-ca: files.write {sshd}/sshd_config.d/50-warded.conf
    bsd trust-user-ca: files.write /etc/sshd_extra
    bsd trust-user-ca: services.ssh reload
    ");
}

/// The suggestion is printed in a form that can be redirected to a file. If a scenario fails, nothing is suggested.
#[test]
fn the_smallest_grants_are_printed() {
    let scenario = format!("{SCENARIO}\n[expect.files]\n'/etc/motd' = \"new\\n\"\n");
    let folder = folder(&scenario);
    let printed = tried(folder.path(), &["--suggest"]).ends(0).stdout;
    let lead = "# mine, as far as it was used by 1 scenario.\n";
    assert!(printed.starts_with(lead), "{printed}");
    let grants = folder.path().join("less.toml");
    fs::write(&grants, &printed).unwrap();
    tried(folder.path(), &["--grants", grants.to_str().unwrap()]).ends(0);
    fs::write(folder.path().join("scenarios/first.toml"), scenario.replace("new\\n", "other\\n")).unwrap();
    let run = tried(folder.path(), &["--suggest"]).ends(1);
    assert!(run.stdout.contains("FAILED first") && !run.stdout.contains("[procedure"), "{}", run.stdout);
}

/// A folder with a component that writes one file, and one scenario.
fn folder(scenario: &str) -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let mut script = Script::new("");
    script.writes("/etc/motd", "new\n");
    let grants = Grants::of(&["files.write = [\"/etc/motd\"]", "log = [\"info\"]"]);
    grants.write(scratch.path(), "mine", "go", &script.component());
    fs::create_dir(scratch.path().join("scenarios")).unwrap();
    fs::write(scratch.path().join("scenarios/first.toml"), scenario).unwrap();
    scratch
}

const SCENARIO: &str = "# A note.\nsummary = 'the file is written'\nprocedure = 'go'\n\n\
                        [machine.files]\n'/etc/motd' = \"old\\n\"\n";

/// Runs the same scenarios with narrower grants.
#[test]
fn a_scenario_is_tried_with_other_grants() {
    let folder = folder(&format!("{SCENARIO}\n[expect.files]\n'/etc/motd' = \"new\\n\"\n"));
    tried(folder.path(), &[]).ends(0);
    let grants = folder.path().join("less.toml");
    let request = fs::read_to_string(folder.path().join("mine.toml")).unwrap();
    let request = request.lines().filter(|line| !line.starts_with("component = ")).collect::<Vec<_>>().join("\n");
    fs::write(&grants, request.replace("/etc/motd", "/etc/issue")).unwrap();
    let words = ["--grants", grants.to_str().unwrap()];
    tried(folder.path(), &words).ends(5).says(&["grants what its component does not ask for"]);
    fs::write(&grants, request.replace("files.write", "# files.write")).unwrap();
    tried(folder.path(), &words).ends(1).prints(&["FAILED first", "files.write"]);
}

#[test]
fn a_difference_is_shown_and_blessed() {
    let folder = folder(SCENARIO);
    let file = folder.path().join("scenarios/first.toml");
    let run = tried(folder.path(), &[]).ends(1);
    for words in ["FAILED first: the file is written", "expected -, got +", "+\"/etc/motd\"", "1 not as expected"] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), SCENARIO);
    tried(folder.path(), &["--bless"]).ends(0);
    let blessed = fs::read_to_string(&file).unwrap();
    assert!(blessed.starts_with(SCENARIO) && blessed.contains("[expect.files]"), "{blessed}");
    tried(folder.path(), &[]).ends(0);
    tried(folder.path(), &["--scenario", "first"]).ends(0);
    tried(folder.path(), &["--scenario", "second"]).ends(2).says(&["there is no scenario second"]);
    fs::write(&file, blessed.replace("new\\n", "other\\n").replace("new\n", "other\n")).unwrap();
    let object = tried(folder.path(), &["--json"]).ends(1).object("warded.policy-test/1");
    assert_eq!(object["scenarios"][0]["passed"], json!(false), "{object}");
    assert_eq!(object["scenarios"][0]["got"]["files"]["/etc/motd"], "new\n", "{object}");
}

/// A file keeps its mode; a new one in sshd_config.d gets the mode of sshd's main file.
#[test]
fn modes_are_given_and_expected() {
    let scratch = tempfile::tempdir().unwrap();
    let mut script = Script::new("");
    let paths = ["/etc/motd", "/etc/issue", "/etc/ssh/sshd_config.d/a.conf", "/etc/ssh/sshd_config.d/b.conf"];
    for path in paths {
        script.writes(path, "# new\n");
    }
    let write = format!("files.write = {paths:?}");
    Grants::of(&[&write]).write(scratch.path(), "mine", "go", &script.component());
    fs::create_dir(scratch.path().join("scenarios")).unwrap();
    let file = scratch.path().join("scenarios/first.toml");
    let scenario = |main: &str, more: &str| {
        let files =
            "[machine.files]\n'/etc/motd' = 'old'\n'/etc/ssh/sshd_config' = ''\n'/etc/ssh/sshd_config.d/b.conf' = ''\n";
        let text = format!(
            "summary = 'x'\nprocedure = 'go'\n\n{files}[machine.modes]\n'/etc/ssh/sshd_config' = '{main}'\n\
             '/etc/motd' = '0600'\n{more}"
        );
        fs::write(&file, text).unwrap();
    };
    for (main, new) in [("0600", Some("0600")), ("0640", Some("0640")), ("0664", None), ("0400", Some("0600"))] {
        scenario(main, "");
        let object = tried(scratch.path(), &["--json"]).ends(1).object("warded.policy-test/1");
        let got = &object["scenarios"][0]["got"];
        let modes = new.map(|new| json!({ "/etc/ssh/sshd_config.d/a.conf": new }));
        assert_eq!(got["modes"], json!(modes), "{main}: {object}");
        tried(scratch.path(), &["--bless"]).ends(0);
        tried(scratch.path(), &[]).ends(0);
    }
    scenario("0600", "'/etc/issue' = '0600'\n");
    tried(scratch.path(), &[]).ends(2).says(&["cannot give /etc/issue the mode 0600", "machine.files"]);
    scenario("600", "");
    tried(scratch.path(), &[]).ends(2).says(&["first.toml:9:", "a mode is four octal digits", "not \"600\""]);
}

const CHANGES: &str = "summary = 'a setting of an appliance'\nprocedure = 'go'\n\n[machine.queries]\nshow = '{\"options\": \"old\"}'\n\
                       [expect]\nqueue = ['run set']\n[expect.documents]\nshow = '{\"options\":\"mine\"}'\n";

/// An appliance's program changes what its query prints. If the policy's own undo does not restore that, the test
/// reports it.
#[test]
fn a_program_that_fails_is_rolled_back() {
    let scratch = tempfile::tempdir().unwrap();
    let mut script = Script::new("");
    script.does("actions.change", &[Text(b"set"), Settings(&[(b"options", b"mine")])]);
    let component = script.component();
    fs::create_dir(scratch.path().join("scenarios")).unwrap();
    fs::write(scratch.path().join("scenarios/first.toml"), CHANGES).unwrap();
    let tables = appliance::tables().replace("{dir}", "/usr/lib/appliance");
    let tries = |tables: &str, arguments: &[&str]| {
        let grants = Grants::of(&["actions = [\"show\", \"set\"]"]).with_actions(tables);
        grants.write(scratch.path(), "mine", "go", &component);
        tried(scratch.path(), arguments)
    };
    tries(&tables, &[]).ends(0);
    let wrong = tables.replacen(
        "undo = { action = \"set\", options = \"{before}\" }",
        "undo = { action = \"set\", options = \"x\" }",
        1,
    );
    assert_ne!(wrong, tables);
    tries(&wrong, &[]).ends(1).prints(&[
        "`run set` was not rolled back: set succeeded, and show does not show that",
        "because `run set` did its work and failed, these are not as they were: show",
    ]);
    // The query must print JSON that can hold the state of a change.
    fs::write(scratch.path().join("scenarios/first.toml"), CHANGES.replace("{\"options\": \"old\"}", "nonsense"))
        .unwrap();
    tries(&tables, &[]).ends(1).prints(&["neither an object nor a list of objects as JSON"]);
}

/// A change that fails as the scenario says has no effect, and what was done before it is rolled back.
#[test]
fn a_change_fails_as_the_scenario_says() {
    let scratch = tempfile::tempdir().unwrap();
    let mut script = Script::new("");
    script.writes("/etc/motd", "new\n");
    script.does("actions.change", &[Text(b"set"), Settings(&[(b"options", b"mine")])]);
    let tables = appliance::tables().replace("{dir}", "/usr/lib/appliance");
    let grants = Grants::of(&["actions = [\"show\", \"set\"]", "files.write = [\"/etc/motd\"]"]);
    grants.with_actions(&tables).write(scratch.path(), "mine", "go", &script.component());
    fs::create_dir(scratch.path().join("scenarios")).unwrap();
    let (machine, _) = CHANGES.split_once("[expect]").unwrap();
    let write = |failing: &str| {
        let text = format!("{machine}[machine.files]\n'/etc/motd' = 'old'\n[machine.failing]\n{failing}\n");
        fs::write(scratch.path().join("scenarios/first.toml"), text).unwrap();
    };
    for (failing, words) in [
        ("set = 'hangs'", "did not end within"),
        ("set = { status = 3, says = 'the disk is full' }", "the disk is full"),
        ("set = { fails = 'somebody has it locked' }", "somebody has it locked"),
    ] {
        write(failing);
        let object = tried(scratch.path(), &["--json"]).ends(1).object("warded.policy-test/1");
        let scenario = &object["scenarios"][0];
        assert_eq!((&scenario["got"]["exit"], &scenario["broken"]), (&json!(1), &json!([])), "{object}");
        assert!(scenario["got"]["error"].as_str().unwrap().contains(words), "{object}");
        tried(scratch.path(), &["--bless"]).ends(0);
        tried(scratch.path(), &[]).ends(0);
    }
    write("set = { status = 0 }");
    tried(scratch.path(), &[]).ends(1).prints(&["set succeeded, and show does not show that"]);
    for (wrong, words) in [
        ("set = { ends = 3 }", "a program fails by \"hangs\""),
        ("set = { status = 3, words = 'x' }", "a program fails by \"hangs\""),
    ] {
        write(wrong);
        tried(scratch.path(), &[]).ends(2).says(&[words]);
    }
}

/// A call that is not granted ends the run, and an invalid scenario is reported with its place.
#[test]
fn a_denial_and_a_wrong_file_are_told() {
    let folder = folder(SCENARIO);
    fs::write(folder.path().join("scenarios/second.toml"), "summary = 'x'\nprocedure = 'go'\nmachines = 1\n").unwrap();
    tried(folder.path(), &[]).ends(2).says(&["scenarios/second.toml:3:1: unknown field `machines`"]);
    // A link cannot lead out of the scratch directory.
    let outside = tempfile::tempdir().unwrap();
    let link = format!("links.'/srv' = '{}'\nfiles.'/srv/x' = 'x'\n", outside.path().display());
    let text = format!("summary = 'x'\nprocedure = 'go'\n[machine]\n{link}");
    fs::write(folder.path().join("scenarios/second.toml"), text).unwrap();
    tried(folder.path(), &[]).ends(2).says(&["/srv/x lies below /srv, which is a link"]);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    fs::remove_file(folder.path().join("scenarios/second.toml")).unwrap();
    let mut script = Script::new("");
    script.writes("/etc/motd", "new\n").reads("/etc/shadow");
    let component = script.component();
    Grants::of(&["files.write = [\"/etc/motd\"]"]).write(folder.path(), "mine", "go", &component);
    let object = tried(folder.path(), &["--json"]).ends(1).object("warded.policy-test/1");
    let got = &object["scenarios"][0]["got"];
    assert_eq!(got["exit"], 5, "{object}");
    assert!(got["error"].as_str().unwrap().contains("/etc/shadow"), "{object}");
    assert_eq!(object["scenarios"][0]["broken"], json!([]), "{object}");
}
