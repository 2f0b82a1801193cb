//! Runs every command of the guide in its order, up to a login by certificate and the way back.

use super::day_one::{Page, commands_of, program};
use crate::support::{Run, agent::Agent, missing};
use std::fs;

const GUIDE: &str = include_str!("../../../docs/GUIDE.md");

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    if missing::root() {
        return;
    }
    let Some(page) = Page::new() else { return };
    let machine = &page.member.machine;
    let at = |name: &str| machine.path(name).display().to_string();
    let before = machine.tree();
    Run::copies_warded(&machine.path("bin/warded"));
    let _agent = Agent::openssh(machine, "agent");
    // Gives web1 a user ann, and makes that name resolve to this machine.
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write(machine.path("passwd"), format!("{passwd}ann:x:1500:1500::/:/bin/sh\n")).unwrap();
    fs::write(machine.path("hosts"), "127.0.0.1 localhost web1.example.org\n").unwrap();
    let mounts = format!("mount --bind {} /etc/passwd; mount --bind {} /etc/hosts", at("passwd"), at("hosts"));
    Run::of(machine.command("sh").args(["-ec", &mounts])).ends(0);
    let config = fs::read_to_string(machine.config()).unwrap();
    let port = config.lines().find_map(|line| line.strip_prefix("Port ")).unwrap();
    // Like a person's ssh except for the port: it asks nothing, knows no plain host key, and has only the agent's keys.
    program(
        &machine.path("bin/ssh"),
        &format!(
            "case $1 in root@*) shift; exec env -i {} \"$@\" ;; esac
             exec /usr/bin/ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=yes -p {port} \"$@\" 'echo logged in as \
             $(id -un)'",
            page.variables("web1").iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>(),
        ),
    );
    // The section about single sign-on needs a provider: `login::sso::portal` runs it.
    let (before_sso, rest) = GUIDE.split_once("## 7b. ").unwrap();
    let (_, after_sso) = rest.split_once("\n## ").unwrap();
    let commands = [commands_of(before_sso), commands_of(after_sso)].concat();
    assert!(commands.len() > 14, "{commands:?}");
    let mut code = String::new();
    for (host, command) in commands {
        let here = if command.contains("warded verify") {
            command.replace("web1.example.org", &format!("web1.example.org:{port}"))
        } else {
            command.to_owned()
        };
        let (ended, said) = page.runs(host, &here, &mut code);
        assert_eq!(ended, if command.contains("plan") { 3 } else { 0 }, "{host}$ {command}: {said}");
        if command.starts_with("ssh ") {
            assert!(said.contains("logged in as ann"), "{said}");
        }
    }
    assert_eq!(machine.tree(), before);
    Run::of(machine.command("sh").args(["-ec", "test ! -e /etc/ssh/ssh_known_hosts"])).ends(0);
}
