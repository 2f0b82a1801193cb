//! Runs each example of `--help` as it is written there.

use super::day_one::Page;
use crate::support::{Grants, Run, agent::Agent, policy, script::Script, terminal::Terminal};
use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, process::Command};

/// The help of a command, as the program prints it.
fn help(words: &[&str]) -> String {
    Run::of(Command::new(env!("CARGO_BIN_EXE_warded")).arg("help").args(words)).ends(0).stdout
}

fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Each example once: the help of a group repeats some of its commands' examples.
fn examples() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut texts = Vec::new();
    for name in subcommands(&help(&[])) {
        let text = help(&[&name]);
        texts.extend(subcommands(&text).iter().map(|inner| help(&[&name, inner])));
        texts.push(text);
    }
    for text in texts {
        let listed = text.lines().skip_while(|line| *line != "Examples:").skip(1);
        found.extend(listed.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()));
    }
    found
}

/// A step of this test: the machine, the example, and its exit code.
type Step = (&'static str, &'static str, i32);

/// The examples in an order in which each has what it needs.
const STEPS: &[Step] = &[
    ("ca", "warded root-fingerprint root_ca.crt", 0),
    ("ca", "warded root-fingerprint --json root_ca.crt", 0),
    ("ca", "warded ca init ~/lab-ca", 0),
    ("ca", "warded ca init --json ~/other-ca", 0),
    ("admin", "warded bootstrap --ca-url https://ca.example.org --fingerprint FINGERPRINT", 0),
    ("admin", "warded ca show", 0),
    ("admin", "warded --json ca show", 0),
    ("admin", "warded ca roots --user", 0),
    ("admin", "warded ca roots --known-hosts '*.example.org' >> ~/.ssh/known_hosts", 0),
    ("admin", "warded invite web1.example.org -n web1 --valid 1h", 0),
    ("admin", "warded invite web1.example.org", 0),
    ("web1", "sudo warded bootstrap --token-file token.txt", 0),
    ("web1", "sudo warded enrol", 0),
    ("admin", "warded invite web1.example.org | ssh root@web1.example.org warded enrol --yes", 0),
    ("web1", "warded config check", 0),
    ("web1", "sudo warded config check --json", 0),
    ("web1", "warded plan certify-host --set principal=web1.example.org", 0),
    ("web1", "warded plan trust-host-ca --set 'domain=*.example.org' --json", 3),
    ("admin", "warded token web1.example.org --host", 0),
    ("web1", "warded apply trust-host-ca --set 'domain=*.example.org' --yes", 0),
    ("web1", "sudo warded apply certify-host --set principal=web1.example.org --yes", 0),
    ("web1", "sudo warded renew", 0),
    ("web1", "sudo warded renew --force --plan", 3),
    ("web1", "sudo warded undo --plan", 3),
    ("web1", "sudo warded undo --yes", 0),
    ("web1", "warded status", 0),
    ("web1", "sudo warded status --json", 0),
    ("web1", "warded doctor", 0),
    ("web1", "sudo warded doctor --json", 0),
    ("web1", "sudo warded rekey --plan", 3),
    ("admin", "warded token web1.example.org --host | ssh root@web1 warded renew --token-file -", 0),
    ("web1", "sudo warded rekey --yes --accept-risk=replace-host-keys --confirm-within 10m", 0),
    // Nobody has logged in since.
    ("web1", "sudo warded confirm", 5),
    ("web1", "sudo warded confirm --same-login", 0),
    ("web1", "sudo warded history", 0),
    ("web1", "sudo warded history --json", 0),
    ("web1", "warded audit unix", 0),
    ("web1", "warded audit ./mine.wasm --fail-on over", 0),
    ("web1", "sudo warded audit log --last 20", 0),
    ("web1", "sudo warded audit log --denied --since 7d", 0),
    ("web1", "sudo warded audit verify", 0),
    ("web1", "sudo warded audit verify --json", 0),
    ("web1", "sudo warded audit export --since 7d > audit.jsonl", 0),
    ("web1", "sudo warded audit export --run 1", 0),
    ("web1", "warded policy list", 0),
    ("web1", "warded policy list --json", 0),
    ("web1", "warded policy show unix", 0),
    ("web1", "warded policy show unix --json", 0),
    ("web1", "warded policy new mine", 0),
    ("web1", "warded policy new --json other", 0),
    ("web1", "warded policy wit wit", 0),
    ("web1", "warded policy wit --json interfaces", 0),
    // In this test the compiler has no network.
    ("web1", "warded policy build mine", 1),
    ("web1", "warded policy build mine --json", 1),
    ("web1", "warded policy check mine.wasm", 0),
    ("web1", "warded policy check mine.wasm --json", 0),
    ("web1", "warded policy compile mine.wasm machine-code", 0),
    ("web1", "warded policy compile mine.wasm machine-code --json", 0),
    ("web1", "warded policy test mine", 0),
    ("web1", "warded policy test mine --scenario first --json", 0),
    ("web1", "warded policy sign mine.wasm --publisher ops@example.org --key ~/.ssh/id_ed25519", 0),
    ("web1", "sudo warded policy add mine.wasm", 0),
    ("web1", "warded policy replay appliance.rec mine.wasm", 0),
    ("web1", "warded policy replay --json appliance.rec mine.wasm", 0),
    // In this test no name resolves, and no registry listens: `publishing::registry` has one.
    ("web1", "warded policy push mine.wasm oci://registry.example.org/policies/mine:1.2.0", 1),
    ("web1", "warded policy push mine.wasm oci://127.0.0.1:5000/mine:1.2.0 --plain-http", 1),
    ("web1", "warded policy pull oci://registry.example.org/policies/mine:1.2.0", 1),
    ("web1", "warded policy pull oci://registry.example.org/policies/mine:1.2.0 -o mine.wasm", 1),
    ("web1", "warded policy sign mine.wasm --publisher ops@example.org --key ~/.ssh/id_ed25519 --json", 0),
    ("web1", "sudo warded policy update mine.wasm", 0),
    ("web1", "sudo warded policy update mine.wasm --json", 0),
    ("web1", "sudo warded policy rollback mine", 0),
    ("web1", "sudo warded policy add --lock /etc/warded/policies.lock", 0),
    ("web1", "sudo warded policy save policies.json", 0),
    ("web1", "sudo warded policy save policies.json --json", 0),
    ("web1", "sudo warded policy load policies.json", 0),
    ("web1", "sudo warded policy load policies.json --json", 0),
    ("web1", "sudo warded policy rollback mine --json", 0),
    ("web1", "sudo warded policy remove mine --yes", 0),
    // The policy is gone by now.
    ("web1", "sudo warded policy remove mine --yes --json", 5),
    ("admin", "warded login", 0),
    ("admin", "warded login ann --out ~/.ssh/id_warded", 0),
    ("admin", "warded ssh-config '*.example.org' >> ~/.ssh/config", 0),
    ("admin", "warded ssh-config '*.example.org' --json", 0),
    // In this test no name resolves; the file has an address.
    ("admin", "warded verify web1.example.org", 4),
    ("admin", "warded verify --hosts hosts.txt --expect-within 7d --json", 0),
    ("admin", "warded logout", 0),
    ("admin", "warded logout --out ~/.ssh/id_warded", 0),
    ("web1", "warded revoke /etc/ssh/ssh_host_ed25519_key-cert.pub --yes", 0),
    ("admin", "warded revoke 12345678901234567890 --reason 1 --yes", 0),
    ("web1", "sudo warded recover", 0),
    ("web1", "sudo warded recover --json", 0),
    ("web1", "sudo warded unenrol --yes", 0),
    // That sshd is no longer enrolled.
    ("web1", "sudo warded --sshd-config FILE unenrol --yes", 2),
    ("web1", "sudo warded remove --plan", 3),
    ("web1", "sudo warded remove --yes", 0),
    ("admin", "warded completions bash > warded.bash", 0),
    ("admin", "warded completions zsh > _warded", 0),
    ("admin", "sudo warded man /usr/local/share/man/man1", 0),
    ("admin", "warded man ~/man", 0),
    ("admin", "warded version", 0),
    ("admin", "warded version --json", 0),
];

/// Puts a component of this version into web1's home, in place of an earlier one.
fn component(page: &Page, version: &str) {
    let home = page.member.machine.path("web1");
    let made = home.join("made");
    fs::create_dir_all(&made).unwrap();
    Grants::of(&[]).write(&made, "mine", "go", &Script::new("/").component());
    policy::change(&made, "mine", "[service.ssh]", &format!("version = {version:?}\n[service.ssh]"));
    fs::rename(made.join("mine.wasm"), home.join("mine.wasm")).unwrap();
}

#[test]
fn every_example_of_the_help_works() {
    let mut shown = examples();
    // The examples of `warded demo` run in a stage of their own.
    shown.retain(|example| !example.contains("warded demo"));
    let mut stepped: Vec<String> = STEPS.iter().map(|(_, example, _)| (*example).to_owned()).collect();
    stepped.sort();
    assert_eq!(shown.into_iter().collect::<Vec<_>>(), stepped);

    let Some(page) = Page::new() else { return };
    let at = |name: &str| page.member.machine.path(name);
    Run::copies_warded(&at("bin/warded"));
    fs::write(at("bin/cargo"), "#!/bin/sh\nexit 101\n").unwrap();
    fs::set_permissions(at("bin/cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let agent = Agent::openssh(&page.member.machine, "agent");
    let (key, port) = (at("web1/.ssh/id_ed25519"), page.member.machine.config());
    Run::of(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key)).ends(0);
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    fs::write(at("web1/allowed_signers"), format!("ops@example.org {public}")).unwrap();
    let port = fs::read_to_string(port).unwrap();
    let port = port.lines().find_map(|line| line.strip_prefix("Port ")).unwrap().to_owned();
    fs::write(at("admin/hosts.txt"), format!("web1.example.org 127.0.0.1:{port}\n")).unwrap();
    component(&page, "1.0.0");
    let mut code = String::new();
    let mut others = Vec::new();
    for (host, example, expected) in STEPS {
        if *example == "warded policy test mine" {
            // The folder that `policy new` made, with this test's component and a scenario for it.
            fs::copy(at("web1/mine.wasm"), at("web1/mine/mine.wasm")).unwrap();
            fs::remove_dir_all(at("web1/mine/scenarios")).unwrap();
            fs::create_dir(at("web1/mine/scenarios")).unwrap();
            fs::write(at("web1/mine/scenarios/first.toml"), "summary = 'nothing'\nprocedure = 'go'\n").unwrap();
        }
        let before = |host: &str, line: &str| {
            let mut shell = page.member.machine.command("sh");
            page.prepare(host, &mut shell);
            Run::of(shell.args(["-ec", &page.here(host, line)])).ends(0);
        };
        if example.ends_with("--token-file token.txt") {
            let token = at("web1/token.txt");
            before("admin", &format!("warded token web1.example.org --host > {}", token.display()));
        }
        if *example == "warded policy replay appliance.rec mine.wasm" {
            before("web1", "sudo warded plan go --policy mine --record appliance.rec");
        }
        // A newer version to publish.
        if example.ends_with("id_ed25519 --json") {
            component(&page, "1.1.0");
        }
        let line = example
            .replace("/etc/ssh/", &format!("{}/", at("ssh").display()))
            .replace("/etc/warded/policies.lock", &at("web1/policies.lock").display().to_string())
            .replace("/usr/local/share/man/man1", &at("man1").display().to_string())
            .replace(" FILE ", &format!(" {} ", at("ssh/sshd_config").display()));
        let line = page.here(host, &line);
        let asks = [("sudo warded enrol", "it is not shown): "), ("sudo warded policy add mine.wasm", "")];
        let (ended, screen) = if let Some((_, first)) = asks.iter().find(|(asking, _)| asking == example) {
            let mut terminal = Terminal::run(&page.member.machine, 80, &line, |command| page.prepare(host, command));
            if !first.is_empty() {
                terminal.until(first).types(&code);
            }
            terminal.until("[y/N] ").types("y\n");
            terminal.ends()
        } else {
            let mut shell = page.member.machine.command("sh");
            page.prepare(host, &mut shell);
            let run = Run::of(shell.env("SSH_AUTH_SOCK", &agent.socket).args(["-ec", &line]));
            if example.contains("warded invite") {
                code.clone_from(&run.stdout);
            }
            (run.code.unwrap(), format!("{run:?}"))
        };
        if ended != *expected {
            others.push(format!("{example} ends with {ended}: {screen}"));
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert!(fs::read_to_string(at("man1/warded-policy-add.1")).unwrap().contains("Show who signed a component"));
}
