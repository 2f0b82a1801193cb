//! What has nothing to do with sshd: help, wrong usage, completions, and readers that close the pipe.

use crate::support::{Machine, Peer, Run, machine::Setup, missing};
use std::fs;

#[test]
fn wrong_usage_is_2() {
    let machine = Machine::stopped();
    let wrong: &[&[&str]] = &[
        &["--no-such-flag"],
        &[],
        &["aply"],
        &["apply"],
        &["apply", "certify-host", "--set", "principal"],
        &["apply", "certify-host", "--set", "colour=blue", "--yes"],
        &["apply", "certify-host", "--yes"],
        &["apply", "no-such-procedure", "--yes"],
        &["apply", "certify-host", "--policy", "nobodys", "--yes"],
        &["plan", "certify-host", "--set", "principal=*.example.org"],
        &["plan", "certify-host", "--set", "principal="],
        &["plan", "certify-host", "--set", "principal=web1:22"],
        &["policy", "show", "nobodys"],
        &["completions", "tcsh"],
        &["renew"],
        &["plan", "certify-host", "--set", "principal=web1", "--sshd", "/nowhere"],
        &["apply", "certify-host", "--set", "principal=web1", "--yes", "--sshd", "/nowhere"],
        &["apply", "certify-host", "--set", "principal=web1", "--yes", "--accept-risk=all"],
    ];
    for arguments in wrong {
        let run = Run::of(machine.warded_command([]).args(*arguments)).ends(2);
        assert!(run.stdout.is_empty() && !run.stderr.is_empty(), "{arguments:?}: {run:?}");
        // A program that asks for JSON gets an object, whatever is wrong.
        let run = Run::of(machine.warded_command(["--json"]).args(*arguments)).ends(2);
        let object = run.object("warded.error/1");
        assert!(object["exit"] == 2 && !object["message"].as_str().unwrap().contains('\n'), "{arguments:?}: {run:?}");
    }
    machine.warded(["--help"]).ends(0);
    let version = machine.warded(["--version"]).ends(0);
    assert_eq!(version.stdout, format!("warded {}\n", env!("CARGO_PKG_VERSION")));
    let error = machine.warded(["plan", "no-such-procedure", "--json"]).ends(2).object("warded.error/1");
    assert_eq!(error["exit"], 2);
}

/// A monitoring account, possibly without a home, on a machine that follows the CIS benchmark.
#[test]
fn an_ordinary_user_is_told_what_needs_root() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let prepare = format!(
        "mount -t tmpfs -o mode=755 none /var/lib; mkdir -m 755 /run/bin /run/mon; cp {} /run/bin/warded; chown games /run/mon; mkdir -p /run/ssh; cp {} /run/ssh; \
         chmod 600 /run/ssh/sshd_config",
        env!("CARGO_BIN_EXE_warded"),
        machine.config().display()
    );
    Run::of(machine.command("sh").args(["-ec", &prepare])).ends(0);
    let warded = |home: &str, words: &[&str]| {
        let mut command = machine.command("setpriv");
        command.args(["--reuid=games", "--regid=games", "--clear-groups", "/run/bin/warded"]).args(words).env_clear();
        command.env("HOME", home).env("PATH", "/usr/bin:/bin").env("WARDED_SSHD_CONFIG", "/run/ssh/sshd_config");
        Run::of(command.current_dir("/"))
    };
    let plan = ["plan", "certify-host", "--set", "principal=web1.example.org"];
    for home in ["/run/mon", "/nonexistent"] {
        let policies = warded(home, &["policy", "list"]).ends(0);
        assert!(policies.stdout.contains("certify-host"), "{home}: {}", policies.stdout);
        let status = warded(home, &["status"]).ends(0);
        assert!(status.stdout.contains("sudo warded status"), "{home}: {}", status.stdout);
        assert!(matches!(warded(home, &plan).code, Some(1 | 7)), "{home}");
    }
    warded("/nonexistent", &plan).says(&["could not make /nonexistent/.local/state/warded", "--state DIR"]);
}

#[test]
fn a_ca_is_made_once() {
    let machine = Machine::stopped();
    let directory = machine.path("another");
    let made = machine.warded(["ca", "init", directory.to_str().unwrap(), "--json"]).ends(0).object("warded.ca-init/1");
    let key = fs::read_to_string(directory.join("host_ca.pub")).unwrap();
    assert!(key.starts_with(made["host_ca"].as_str().unwrap().split(' ').next().unwrap()), "{made}");
    machine
        .warded(["ca", "init", directory.to_str().unwrap()])
        .ends(5)
        .says(&["exists already", "nothing was changed"]);
    assert_eq!(fs::read_to_string(directory.join("host_ca.pub")).unwrap(), key);
}

#[test]
fn completions_are_what_each_shell_takes() {
    let machine = Machine::stopped();
    for (shell, mark) in
        [("bash", "-F _clap_complete_warded warded"), ("zsh", "#compdef warded"), ("fish", "--command warded")]
    {
        let script = machine.warded(["completions", shell]).ends(0).stdout;
        assert!(script.contains(mark), "{shell}: {script}");
        if shell == "bash" {
            let file = machine.path("completions");
            fs::write(&file, script).unwrap();
            Run::of(machine.command("bash").arg("-n").arg(&file)).ends(0);
        }
    }
}

/// `| head -1` is not a failure, and Warded prints nothing about it.
#[test]
fn a_reader_that_goes_away() {
    let machine = Machine::stopped();
    for arguments in
        ["policy show unix", "plan certify-host --set principal=web1", "completions bash", "policy list --json"]
    {
        let program = env!("CARGO_BIN_EXE_warded");
        let script = format!("{{ {program} {arguments}; echo $? >&2; }} | head -c 1 >/dev/null");
        let mut command = machine.command("bash");
        let run = Run::of(machine.environment(&mut command).args(["-c", &script])).ends(0);
        let code: i32 = run.stderr.trim().parse().unwrap_or_else(|_| panic!("{arguments}: {}", run.stderr));
        assert!(code == 0 || code == 3, "{arguments}: {code}");
    }
}

#[test]
fn the_demo_as_an_object() {
    let machine = Machine::stopped();
    let demo = machine.warded(["demo", "--json"]).ends(0).object("warded.demo/1");
    let steps: Vec<&str> =
        demo["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    let all =
        ["plan", "apply", "handshake", "keys-kept", "second-apply", "renew", "rollback", "denial", "undo", "audit"];
    assert_eq!(steps, all);
    assert!(
        demo["steps"].as_array().unwrap().iter().all(|step| step["ok"] == true && step["skipped"] == false),
        "{demo}"
    );
}

/// This release's ssh prefers another host key, and its sshd does not know the keyword that the demo rolls back.
#[test]
fn the_demo_with_openssh_8_4() {
    let Some(peer) = Peer::start("bullseye", "") else { return };
    // A run copies sshd's program, for which there may not be enough room.
    Run::of(peer.command("mount").args(["-t", "tmpfs", "none", "/tmp"])).ends(0);
    let demo = peer.warded(&["demo", "--json"]).ends(0).object("warded.demo/1");
    let skipped = demo["steps"].as_array().unwrap().iter().filter(|step| step["skipped"] == true);
    let skipped: Vec<&str> = skipped.map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(skipped, ["rollback"], "{demo}");
}

/// With `--quiet` a command prints only how it failed; with `--verbose` also every program that it starts.
#[test]
fn a_command_says_as_much_as_it_is_told_to() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    let set = ["--set", "principal=web1.example.org"];
    let warded = |words: &[&str]| Run::of(machine.warded_command([]).args(words));
    let quiet = warded(&[&["-q", "apply", "certify-host", "--yes"], &set[..]].concat()).ends(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let refused = warded(&["-q", "undo", "7", "--yes"]).ends(2);
    assert!(refused.stdout.is_empty() && refused.stderr.starts_with("error: run 7 cannot be undone\n"), "{refused:?}");
    // `--quiet` does not suppress the output that the command is for.
    warded(&["--quiet", "history"]).ends(0).prints(&["certify-host"]);
    let verbose = warded(&["-v", "renew", "--force"]).ends(0);
    verbose.says(&["» looking at sshd as it is\n", "» proving the result\n", "\n$ /usr/sbin/sshd -T", "» changing\n"]);
    warded(&["-v", "-q", "renew"]).ends(2);
    for (when, is_coloured) in [("always", true), ("never", false), ("auto", false)] {
        let plan = warded(&[&["plan", "certify-host", "--force", "--color", when], &set[..]].concat()).ends(3);
        assert_eq!(plan.stdout.contains("\x1b["), is_coloured, "{when}: {plan:?}");
    }
    let object = warded(&["version", "--json"]).ends(0).object("warded.version/1");
    assert_eq!(object["policies"][0]["name"], "unix");
    warded(&["help", "audit", "log"])
        .ends(0)
        .prints(&["Print the records", "Examples:\n  sudo warded audit log --last 20\n"]);
}

/// `config check` shows each value and where it comes from, and creates nothing.
#[test]
fn a_configuration_is_checked() {
    let machine = Machine::stopped();
    let check = |words: &[&str]| {
        let state = machine.path("no-state");
        let run = Run::of(machine.warded_command(["config", "check"]).env("WARDED_STATE", &state).args(words));
        assert!(!state.exists());
        run
    };
    let file = machine.path("config.toml");
    fs::write(&file, "renew-after = 40\n").unwrap();
    check(&[]).ends(0).prints(&[
        "config.toml is valid.\n",
        "renew-after  40 percent of a certificate's life   (the file)\n",
        "renew-every  24 hours   (the default)\n",
        "(an option, or its variable)\n",
    ]);
    let object = check(&["--json"]).ends(0).object("warded.config/1");
    assert_eq!((&object["exists"], object["values"].as_array().unwrap().len()), (&true.into(), 7));
    fs::write(&file, "renew-after = 40\nrenew-evry = 3\n").unwrap();
    check(&[]).ends(2).says(&["config.toml:2:1: unknown field `renew-evry`"]);
}

/// The completions that a shell asks for while a person types.
#[test]
fn a_shell_completes_procedures_settings_policies_and_runs() {
    let machine = Machine::with(&Setup { without_rsa: true, ..Setup::default() });
    machine.certify();
    let script = machine.warded(["completions", "bash"]).ends(0).stdout;
    fs::create_dir(machine.path("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_warded"), machine.path("bin/warded")).unwrap();
    fs::write(machine.path("warded.bash"), script).unwrap();
    let complete = |words: &str| {
        let line = format!(
            "PATH={}:$PATH; . {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}}-1)); COMP_TYPE=9; \
             _clap_complete_warded warded \"${{COMP_WORDS[COMP_CWORD]}}\" x; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            machine.path("bin").display(),
            machine.path("warded.bash").display()
        );
        let mut shell = machine.command("bash");
        Run::of(machine.environment(&mut shell).args(["-c", &line])).ends(0).stdout
    };
    for (words, expected) in [
        ("warded apply ''", "certify-host"),
        ("warded apply cert", "certify-host"),
        ("warded apply certify-host --set ''", "principal="),
        ("warded policy show ''", "unix"),
        ("warded undo ''", "1"),
        ("warded stat", "status"),
    ] {
        let found = complete(words);
        assert!(found.lines().any(|line| line.trim() == expected), "{words}: {found}");
    }
}
