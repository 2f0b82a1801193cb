//! Trust in a CA: by its fingerprint, by a token, and from the files that `step` left.

use crate::support::{
    Machine, Member, Run, missing,
    step_ca::{Provisioner, Setup, StepCa},
};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

fn machine() -> Member {
    Member { machine: Machine::stopped() }
}

#[test]
fn a_ca_is_trusted_by_its_fingerprint_once_and_for_all() {
    let member = machine();
    let Some(ca) = StepCa::start(&member.machine.network()) else { return };
    let (url, fingerprint) = (ca.url(), ca.fingerprint());
    // The same fingerprint in another notation.
    let upper = fingerprint.to_uppercase();
    let pairs: Vec<&str> = (0..32).map(|at| &upper[2 * at..2 * at + 2]).collect();
    let object = member
        .warded(&["bootstrap", "--ca-url", &url, "--fingerprint", &pairs.join(":"), "--json"])
        .ends(0)
        .object("warded.bootstrap/1");
    assert_eq!(object["fingerprint"], fingerprint);
    assert_eq!(object["changed"], true);
    assert_eq!(fs::read_to_string(member.machine.path("root_ca.crt")).unwrap().trim(), ca.root().trim());
    let written = fs::read(member.config()).unwrap();

    let again = member.warded(&["bootstrap", "--ca-url", &url, "--fingerprint", &fingerprint, "--json"]).ends(0);
    assert_eq!(again.object("warded.bootstrap/1")["changed"], false);
    assert_eq!(fs::read(member.config()).unwrap(), written);

    let other = "00".repeat(32);
    // The typed fingerprint is wrong, so the error must not suggest --force.
    let refused = member.bootstrap(&url, &other).ends(5);
    let refused = refused.says(&[
        "has the fingerprint that was given",
        "trusts already",
        "root-fingerprint",
        &fingerprint,
        &other,
    ]);
    assert!(!refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(fs::read(member.config()).unwrap(), written);
    for (kind, option) in [("host", "--host"), ("user", "--user")] {
        let roots = member.warded(&["ca", "roots", option]).ends(0).stdout;
        let expected: Vec<String> =
            ca.authority(kind).split(' ').take(2).map(|field| field.trim().to_owned()).collect();
        assert_eq!(roots.trim(), expected.join(" "), "{kind}");
    }
    let root = ca.path("root.crt");
    fs::write(&root, ca.root()).unwrap();
    let printed = member.warded(&["root-fingerprint", root.to_str().unwrap()]).ends(0).stdout;
    assert_eq!(printed.trim(), fingerprint);
}

#[test]
fn what_is_not_that_ca_is_refused() {
    let member = machine();
    let Some(ca) = StepCa::start(&member.machine.network()) else { return };
    let unknown = "11".repeat(32);
    let refused = member.bootstrap(&ca.url(), &unknown).ends(1);
    let refused =
        refused.says(&["no root with that fingerprint", "that server says that its root is", "nobody has verified"]);
    assert!(!refused.stderr.contains(&ca.fingerprint()), "it could be typed: {}", refused.stderr);
    member.bootstrap("http://127.0.0.1", &unknown).ends(2).says(&["https only"]);
    member.bootstrap(&ca.url(), "abc").ends(2).says(&["64 hexadecimal digits"]);
    member.bootstrap("https://127.0.0.1:1", &unknown).ends(6).says(&["cannot be reached"]);
    assert!(!member.config().exists());
}

#[test]
fn the_set_up_of_step_is_used_as_it_is() {
    let member = machine();
    let Some(ca) = StepCa::start(&member.machine.network()) else { return };
    let step = member.machine.path("dot-step");
    fs::create_dir_all(step.join("config")).unwrap();
    fs::create_dir_all(step.join("certs")).unwrap();
    fs::write(step.join("certs/root_ca.crt"), ca.root()).unwrap();
    let root = step.join("certs/root_ca.crt");
    // The file that `step ca bootstrap` writes.
    let defaults = format!(
        "{{\n  \"ca-url\": \"{}\",\n  \"fingerprint\": \"{}\",\n  \"root\": \"{}\",\n  \"redirect-url\": \"\"\n}}\n",
        ca.url(),
        ca.fingerprint(),
        root.display()
    );
    fs::write(step.join("config/defaults.json"), defaults).unwrap();
    let warded = |arguments: &[&str]| Run::of(member.command(arguments).env("STEPPATH", &step));
    fs::write(member.config(), "").unwrap();
    let roots = warded(&["ca", "roots", "--host"]).ends(0).stdout;
    assert!(ca.authority("host").starts_with(roots.trim()), "{roots}");
    let imported = warded(&["bootstrap", "--json"]).ends(0).object("warded.bootstrap/1");
    assert_eq!(imported["fingerprint"], ca.fingerprint());
    // From now on Warded does not need step's files.
    member.warded(&["ca", "roots", "--host"]).ends(0);
}

#[test]
fn a_token_is_enough_to_begin_with() {
    let admin = machine();
    let Some(ca) = StepCa::start(&admin.machine.network()) else { return };
    let admin = Member::of(admin.machine, &ca);
    let password = ca.password_file();
    let tokens = admin
        .warded(&["token", "web1", "--host", "--provisioner-password-file", password.to_str().unwrap()])
        .ends(0)
        .stdout;
    assert_eq!(tokens.lines().count(), 1);
    let file = admin.machine.path("tokens");
    fs::write(&file, tokens).unwrap();
    fs::remove_file(admin.config()).unwrap();
    let trusted = admin
        .warded(&["bootstrap", "--token-file", file.to_str().unwrap(), "--json"])
        .ends(0)
        .object("warded.bootstrap/1");
    let token = fs::read_to_string(&file).unwrap();
    // Also from standard input, but not from a file that another user could have written.
    let mut by_input = admin.command(&["bootstrap", "--token-file", "-", "--json"]);
    by_input.stdin(fs::File::open(&file).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
    assert_eq!(Run::ended(by_input.spawn().unwrap()).ends(0).object("warded.bootstrap/1")["changed"], false);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    admin
        .warded(&["bootstrap", "--token-file", file.to_str().unwrap()])
        .ends(2)
        .says(&["could have been written by another user", "standard input (-)"]);
    let again = admin.warded(&["bootstrap", "--token", token.lines().next().unwrap(), "--json"]).ends(0);
    assert_eq!(again.object("warded.bootstrap/1")["changed"], false);
    admin.warded(&["bootstrap", "--token", "abc"]).ends(2).says(&["cannot bootstrap with that token", "three parts"]);
    assert_eq!((&trusted["fingerprint"], &trusted["url"]), (&ca.fingerprint().into(), &ca.url().into()));
}

#[test]
fn what_the_ca_can_do_is_shown_and_what_it_cannot_is_diagnosed() {
    let member = machine();
    let setup = Setup::of([
        Provisioner::jwk("admin"),
        Provisioner::jwk("tls").claim("enableSSHCA", false),
        Provisioner::sshpop("sshpop"),
        Provisioner::acme("acme"),
        Provisioner::unreachable("sso"),
    ]);
    let Some(ca) = StepCa::with(&member.machine.network(), &setup) else { return };
    let member = Member::of(member.machine, &ca);
    let shown = member.warded(&["ca", "show", "--json"]).ends(0).object("warded.ca/1");
    assert_eq!((&shown["health"], &shown["fingerprint"]), (&"ok".into(), &ca.fingerprint().into()));
    assert!(shown["clock_ahead"].as_f64().unwrap().abs() < 5.0, "{shown}");
    let of = |name: &str| {
        shown["provisioners"].as_array().unwrap().iter().find(|found| found["name"] == name).unwrap().clone()
    };
    assert_eq!(of("admin")["usable_for"], "hosts and people");
    assert_eq!(of("tls")["usable_for"], "not for SSH");
    assert_eq!(of("sshpop")["usable_for"], "renewals of hosts");
    assert_eq!(of("acme")["usable_for"], "not for SSH");
    assert!(of("sso")["state"].as_str().unwrap().contains("Uninitialized"), "{shown}");

    let doctor = member.warded(&["doctor", "--json"]).ends(4).object("warded.doctor/1");
    let sick: Vec<String> = doctor["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["state"] != "ok" && finding["state"] != "note")
        .map(|finding| finding["seen"].as_str().unwrap().to_owned())
        .collect();
    assert!(sick.len() == 1 && sick[0].contains("sso (OIDC) does not work"), "{sick:?}");
}

/// Another CA's root gets a file of its own, and only the configuration decides which one is used.
#[test]
fn another_ca_takes_its_place_only_where_that_is_said() {
    let machine = Machine::stopped();
    let (Some(first), Some(second)) = (StepCa::start(&machine.network()), StepCa::start(&machine.network())) else {
        return;
    };
    let member = Member::of(machine, &first);
    let mode = || fs::metadata(member.config()).unwrap().permissions().mode() & 0o777;
    fs::set_permissions(member.config(), fs::Permissions::from_mode(0o600)).unwrap();
    let root = fs::read(member.machine.path("root_ca.crt")).unwrap();
    let (url, fingerprint) = (second.url(), second.fingerprint());
    member.bootstrap(&url, &fingerprint).ends(5).says(&["trusts another CA", "has the root that was given", "--force"]);
    // The server has neither root, but a third one.
    let neither =
        member.bootstrap(&url, &"33".repeat(32)).ends(5).says(&["says that it has neither, but", "root-fingerprint"]);
    assert!(!neither.stderr.contains("--force"), "{}", neither.stderr);
    member.bootstrap("https://127.0.0.1:1", &fingerprint).ends(5).says(&["does not say which root it has"]);
    member.warded(&["bootstrap", "--ca-url", &url, "--fingerprint", &fingerprint, "--force"]).ends(0);
    assert_eq!(fs::read(member.machine.path("root_ca.crt")).unwrap(), root, "the first root stays as it was");
    assert_eq!(mode(), 0o600);
    let keys = member.warded(&["ca", "roots", "--host"]).ends(0).stdout;
    assert!(second.authority("host").starts_with(keys.trim()), "{keys}");

    // A configuration that does not exist yet names no other CA.
    let elsewhere = member.machine.path("elsewhere.toml");
    let named = ["bootstrap", "--config", elsewhere.to_str().unwrap(), "--ca-url"];
    member.warded(&[&named[..], &[&first.url(), "--fingerprint", &first.fingerprint()]].concat()).ends(0);
    assert!(fs::read_to_string(elsewhere).unwrap().contains(&first.fingerprint()));
    assert!(fs::read_to_string(member.config()).unwrap().contains(&fingerprint));
}

/// Commands that ask the CA report a broken setup of `step`. It does not affect other commands.
#[test]
fn a_broken_set_up_of_step_stops_only_what_asks_the_ca() {
    let member = machine();
    let step = member.machine.path("dot-step");
    fs::create_dir_all(step.join("config")).unwrap();
    fs::write(member.config(), "").unwrap();
    let warded = |arguments: &[&str]| Run::of(member.command(arguments).env("STEPPATH", &step));
    for (contents, why) in
        [("{", "defaults.json of step"), ("{\"ca-url\": \"http://ca\", \"fingerprint\": \"00\"}", "https only")]
    {
        fs::write(step.join("config/defaults.json"), contents).unwrap();
        warded(&["ca", "roots"]).ends(2).says(&[why]);
        for other in [&["audit", "verify"][..], &["recover"], &["confirm"], &["policy", "list"]] {
            warded(other).ends(0);
        }
    }
    fs::write(member.config(), "ca = '/nowhere'\n[step-ca]\nurl = 'ca'\nroot = '/r'\nfingerprint = '").unwrap();
    let both = fs::read_to_string(member.config()).unwrap() + &"00".repeat(32) + "'\n";
    fs::write(member.config(), both).unwrap();
    member.warded(&["ca", "roots"]).ends(2).says(&["there are two CAs"]);
}

/// Debian's umask for users, in a group that has other members.
#[test]
fn what_a_user_makes_with_the_umask_002_is_accepted_afterwards() {
    if missing::root() {
        return;
    }
    let member = machine();
    let Some(ca) = StepCa::start(&member.machine.network()) else { return };
    let (home, program) = (member.machine.path("home"), member.machine.path("warded"));
    Run::copies_warded(&program);
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    fs::set_permissions(member.machine.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let run = |umask: &str, arguments: &[&str]| {
        let mut command = member.machine.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c"]);
        command.arg(format!("umask {umask}; exec \"$@\"")).arg("sh").arg(&program).args(arguments);
        Run::of(command.env_clear().env("HOME", &home).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
    };
    let (url, fingerprint) = (ca.url(), ca.fingerprint());
    run("002", &["bootstrap", "--ca-url", &url, "--fingerprint", &fingerprint]).ends(0);
    for command in [&["ca", "roots"][..], &["doctor"], &["policy", "list"], &["bootstrap"]] {
        let ended = run("002", command);
        assert!(!ended.stderr.contains("could have been written"), "{command:?}: {}", ended.stderr);
    }
    run("002", &["ca", "roots"]).ends(0);
    // A directory that somebody else made like this is refused, with the command that repairs it.
    let config = home.join(".config");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o775)).unwrap();
    let refused = run("002", &["ca", "roots"]).ends(5);
    refused.says(&[&format!("chmod g-w {}", config.display())]);
}

/// Even with a careful administrator's umask, every user can read the configuration and the root.
#[test]
fn what_root_makes_with_the_umask_077_others_can_read() {
    if missing::root() {
        return;
    }
    let member = machine();
    let Some(ca) = StepCa::start(&member.machine.network()) else { return };
    let (program, etc) = (member.machine.path("program"), member.machine.path("etc/warded"));
    Run::copies_warded(&program);
    fs::set_permissions(member.machine.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let (config, url, fingerprint) = (etc.join("config.toml"), ca.url(), ca.fingerprint());
    let run = |user: &[&str], arguments: &[&str]| {
        let mut command = member.machine.command("env");
        command.args(user).args(["sh", "-c", "umask 077; exec \"$@\"", "sh"]).arg(&program).args(arguments);
        command.env_clear().env("HOME", "/nonexistent").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Run::of(command.env("WARDED_CONFIG", &config).env("WARDED_STATE", member.machine.path("state")))
    };
    run(&[], &["bootstrap", "--ca-url", &url, "--fingerprint", &fingerprint]).ends(0);
    for directory in [etc.as_path(), etc.parent().unwrap()] {
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, 0o755, "{}", directory.display());
    }
    let home = member.machine.path("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let state = format!("WARDED_STATE={}", home.join("state").display());
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env", &state];
    run(&nobody, &["ca", "roots"]).ends(0);
}
