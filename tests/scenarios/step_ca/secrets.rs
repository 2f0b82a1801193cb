//! Passwords, provisioners' keys and tokens appear in nothing that Warded writes or prints, and in no program's
//! arguments.

use crate::support::{
    Machine, Member, Run,
    machine::tree,
    step_ca::{PASSWORD, StepCa},
};
use std::fs;

#[test]
fn what_the_ca_is_asked_with_stays_in_memory() {
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let member = Member::of(machine, &ca);
    let password = ca.password_file();
    let made = [
        "token",
        "web1.example.org",
        "--host",
        "--count",
        "3",
        "--provisioner-password-file",
        password.to_str().unwrap(),
    ];
    let tokens = member.warded(&made).ends(0).stdout;
    let file = member.machine.path("tokens");
    fs::write(&file, &tokens).unwrap();
    let trace = member.machine.path("trace");
    let traced = |arguments: &[&str], password: Option<&str>| -> Run {
        let mut command = member.machine.command("strace");
        command.envs(password.map(|password| ("WARDED_PROVISIONER_PASSWORD", password)));
        member.machine.environment(&mut command);
        command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env("WARDED_CONFIG", member.config());
        command.args(["-f", "-v", "-A", "-s", "100000", "-e", "trace=execve", "-o"]).arg(&trace);
        Run::of(command.arg(env!("CARGO_BIN_EXE_warded")).args(arguments))
    };
    let certify = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"];
    let mut said = Vec::new();
    said.push(traced(&[&certify[..], &["--token-file", file.to_str().unwrap()]].concat(), None).ends(0));
    said.push(traced(&["renew", "--force"], None).ends(0));
    let other = ["apply", "certify-host", "--set", "principal=web2.example.org", "--yes", "--json"];
    said.push(
        traced(&[&other[..], &["--provisioner-password-file", password.to_str().unwrap()]].concat(), None).ends(0),
    );
    said.push(member.warded(&["audit", "log", "--json"]).ends(0));
    said.push(member.warded(&["doctor"]));

    let key: serde_json::Value = serde_json::from_slice(&fs::read(ca.key_file("admin")).unwrap()).unwrap();
    let mut secrets: Vec<String> = tokens.lines().map(|token| token.rsplit('.').next().unwrap().to_owned()).collect();
    secrets.extend([PASSWORD.to_owned(), key["d"].as_str().unwrap().to_owned()]);
    assert_eq!(secrets.len(), 5);
    let holds =
        |text: &[u8]| secrets.iter().any(|secret| text.windows(secret.len()).any(|window| window == secret.as_bytes()));
    assert!(holds(&fs::read(&file).unwrap()), "the search finds what is there");
    for run in said {
        assert!(!holds(run.stdout.as_bytes()) && !holds(run.stderr.as_bytes()), "{run:?}");
    }
    let executed = fs::read(&trace).unwrap();
    assert!(executed.windows(6).any(|window| window == b"execve"));
    assert!(!holds(&executed), "in the arguments or the environment of a program");
    for (path, (.., contents)) in tree(&member.machine.path("state")) {
        assert!(!holds(&contents), "{}", path.display());
    }

    // A password in the environment is in Warded's own environment, and is not passed on.
    fs::remove_file(&trace).unwrap();
    let third = ["apply", "certify-host", "--set", "principal=web3.example.org", "--yes"];
    traced(&third, Some(PASSWORD)).ends(0);
    let executed = fs::read_to_string(&trace).unwrap();
    assert!(executed.matches("execve(").count() > 5, "{executed}");
    assert_eq!(executed.matches(PASSWORD).count(), 1, "{executed}");
}
