//! The examples at the end of each command's help. A test runs every one of them, in this order.

use clap::Command;

/// The words of a command, and its examples.
const EXAMPLES: &[(&str, &[&str])] = &[
    ("root-fingerprint", &["warded root-fingerprint root_ca.crt", "warded root-fingerprint --json root_ca.crt"]),
    (
        "bootstrap",
        &[
            "warded bootstrap --ca-url https://ca.example.org --fingerprint FINGERPRINT",
            "sudo warded bootstrap --token-file token.txt",
        ],
    ),
    ("ca show", &["warded ca show", "warded --json ca show"]),
    ("ca roots", &["warded ca roots --known-hosts '*.example.org' >> ~/.ssh/known_hosts", "warded ca roots --user"]),
    ("ca init", &["warded ca init ~/lab-ca", "warded ca init --json ~/other-ca"]),
    ("config check", &["warded config check", "sudo warded config check --json"]),
    ("invite", &["warded invite web1.example.org -n web1 --valid 1h", "warded invite web1.example.org"]),
    ("enrol", &["sudo warded enrol", "warded invite web1.example.org | ssh root@web1.example.org warded enrol --yes"]),
    (
        "token",
        &[
            "warded token web1.example.org --host",
            "warded token web1.example.org --host | ssh root@web1 warded renew --token-file -",
        ],
    ),
    (
        "plan",
        &[
            "warded plan certify-host --set principal=web1.example.org",
            "warded plan trust-host-ca --set 'domain=*.example.org' --json",
        ],
    ),
    (
        "apply",
        &[
            "sudo warded apply certify-host --set principal=web1.example.org --yes",
            "warded apply trust-host-ca --set 'domain=*.example.org' --yes",
        ],
    ),
    ("renew", &["sudo warded renew", "sudo warded renew --force --plan"]),
    (
        "rekey",
        &["sudo warded rekey --plan", "sudo warded rekey --yes --accept-risk=replace-host-keys --confirm-within 10m"],
    ),
    ("unenrol", &["sudo warded unenrol --yes", "sudo warded --sshd-config FILE unenrol --yes"]),
    ("confirm", &["sudo warded confirm", "sudo warded confirm --same-login"]),
    ("status", &["warded status", "sudo warded status --json"]),
    ("doctor", &["warded doctor", "sudo warded doctor --json"]),
    ("history", &["sudo warded history", "sudo warded history --json"]),
    ("audit", &["warded audit unix", "warded audit ./mine.wasm --fail-on over"]),
    ("audit log", &["sudo warded audit log --last 20", "sudo warded audit log --denied --since 7d"]),
    ("audit verify", &["sudo warded audit verify", "sudo warded audit verify --json"]),
    ("audit export", &["sudo warded audit export --since 7d > audit.jsonl", "sudo warded audit export --run 1"]),
    ("policy list", &["warded policy list", "warded policy list --json"]),
    ("policy show", &["warded policy show unix", "warded policy show unix --json"]),
    ("policy new", &["warded policy new mine", "warded policy new --json other"]),
    ("policy wit", &["warded policy wit wit", "warded policy wit --json interfaces"]),
    (
        "policy push",
        &[
            "warded policy push mine.wasm oci://registry.example.org/policies/mine:1.2.0",
            "warded policy push mine.wasm oci://127.0.0.1:5000/mine:1.2.0 --plain-http",
        ],
    ),
    (
        "policy pull",
        &[
            "warded policy pull oci://registry.example.org/policies/mine:1.2.0",
            "warded policy pull oci://registry.example.org/policies/mine:1.2.0 -o mine.wasm",
        ],
    ),
    (
        "policy replay",
        &["warded policy replay appliance.rec mine.wasm", "warded policy replay --json appliance.rec mine.wasm"],
    ),
    ("policy test", &["warded policy test mine", "warded policy test mine --scenario first --json"]),
    ("policy build", &["warded policy build mine", "warded policy build mine --json"]),
    ("policy check", &["warded policy check mine.wasm", "warded policy check mine.wasm --json"]),
    (
        "policy compile",
        &["warded policy compile mine.wasm machine-code", "warded policy compile mine.wasm machine-code --json"],
    ),
    (
        "policy sign",
        &[
            "warded policy sign mine.wasm --publisher ops@example.org --key ~/.ssh/id_ed25519",
            "warded policy sign mine.wasm --publisher ops@example.org --key ~/.ssh/id_ed25519 --json",
        ],
    ),
    ("policy add", &["sudo warded policy add mine.wasm", "sudo warded policy add --lock /etc/warded/policies.lock"]),
    ("policy save", &["sudo warded policy save policies.json", "sudo warded policy save policies.json --json"]),
    ("policy load", &["sudo warded policy load policies.json", "sudo warded policy load policies.json --json"]),
    ("policy update", &["sudo warded policy update mine.wasm", "sudo warded policy update mine.wasm --json"]),
    ("policy rollback", &["sudo warded policy rollback mine", "sudo warded policy rollback mine --json"]),
    ("policy remove", &["sudo warded policy remove mine --yes", "sudo warded policy remove mine --yes --json"]),
    ("login", &["warded login", "warded login ann --out ~/.ssh/id_warded"]),
    ("verify", &["warded verify web1.example.org", "warded verify --hosts hosts.txt --expect-within 7d --json"]),
    ("ssh-config", &["warded ssh-config '*.example.org' >> ~/.ssh/config", "warded ssh-config '*.example.org' --json"]),
    ("logout", &["warded logout", "warded logout --out ~/.ssh/id_warded"]),
    (
        "revoke",
        &[
            "warded revoke /etc/ssh/ssh_host_ed25519_key-cert.pub --yes",
            "warded revoke 12345678901234567890 --reason 1 --yes",
        ],
    ),
    ("recover", &["sudo warded recover", "sudo warded recover --json"]),
    ("undo", &["sudo warded undo --plan", "sudo warded undo --yes"]),
    ("remove", &["sudo warded remove --plan", "sudo warded remove --yes"]),
    ("demo", &["warded demo", "warded demo --json"]),
    ("completions", &["warded completions bash > warded.bash", "warded completions zsh > _warded"]),
    ("man", &["sudo warded man /usr/local/share/man/man1", "warded man ~/man"]),
    ("version", &["warded version", "warded version --json"]),
];

/// Adds the examples to the command's help, and to that of each of its subcommands.
pub(super) fn added(command: Command) -> Command {
    below(command, "")
}

fn below(command: Command, words: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let words = if words.is_empty() { name.clone() } else { format!("{words} {name}") };
        command.mut_subcommand(name, |inner| below(inner, &words))
    });
    let examples = of(&command, words);
    if examples.is_empty() { command } else { command.after_help(format!("Examples:\n  {}", examples.join("\n  "))) }
}

/// The examples of a command. For a group of commands: the first example of each of its first two.
fn of(command: &Command, words: &str) -> Vec<&'static str> {
    if let Some((_, examples)) = EXAMPLES.iter().find(|(of, _)| *of == words) {
        return examples.to_vec();
    }
    let inner = command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(Command::get_name);
    let of_inner = |name: &str| {
        let words = format!("{words} {name}");
        EXAMPLES.iter().find(|(of, _)| *of == words.trim_start())?.1.first().copied()
    };
    inner.filter_map(of_inner).take(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, definition};
    use clap::CommandFactory as _;

    /// The words of each command that is not a group.
    fn commands(command: &Command, words: &str, found: &mut Vec<String>) {
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            let words = format!("{words} {}", inner.get_name());
            if !inner.is_subcommand_required_set() {
                found.push(words.trim().to_owned());
            }
            commands(inner, &words, found);
        }
    }

    #[test]
    fn every_command_has_two_examples_that_it_takes() {
        let mut expected = Vec::new();
        commands(&Cli::command(), "", &mut expected);
        let mut named: Vec<String> = EXAMPLES.iter().map(|(words, _)| (*words).to_owned()).collect();
        expected.sort();
        named.sort();
        assert_eq!(named, expected);
        for (words, examples) in EXAMPLES {
            assert_eq!(examples.len(), 2, "{words}");
            assert!(examples.iter().all(|example| example.contains(words)), "{words}");
        }
        for (group, example) in
            [("ca", "warded ca show"), ("policy", "warded policy list"), ("config", "warded config check")]
        {
            let help = definition().find_subcommand_mut(group).unwrap().render_help().to_string();
            assert!(help.contains(&format!("Examples:\n  {example}\n")), "{help}");
        }
        let help = definition().find_subcommand_mut("audit").unwrap().render_help().to_string();
        assert!(help.contains("Examples:\n  warded audit unix\n"), "{help}");
    }
}
