//! Warded finds the process that listens on sshd's port, by whatever name it was started. Otherwise it reports an
//! unknown listener, and calls nothing healthy.

use crate::support::{
    ClientKnowledge, Machine, Run,
    enclosure::{child, command_of},
    machine::NAME,
    missing,
};
use std::{fs, os::unix::fs::symlink, path::PathBuf, process::Command};

const CERTIFY: [&str; 4] = ["apply", "certify-host", "--yes", "--set"];

fn certify(machine: &Machine) -> Run {
    let mut command = machine.warded_command(CERTIFY);
    Run::of(command.arg(format!("principal={NAME}")))
}

/// A command that starts sshd by a path in this machine's directory.
fn sshd_by(machine: &Machine, program: &str) -> Command {
    let mut sshd = machine.command(machine.path(program).to_str().unwrap());
    sshd.args(["-D", "-f"]).arg(machine.config());
    sshd
}

/// A copy of sshd's program.
fn copy(machine: &Machine, name: &str) -> PathBuf {
    let program = machine.path(name);
    fs::copy("/usr/sbin/sshd", &program).unwrap();
    program
}

/// Certifies, renews, and undoes both.
#[track_caller]
fn through(machine: &Machine) {
    let before = machine.tree();
    let certified = certify(machine).ends(0);
    assert!(certified.stdout.contains("Seen live: 3 certificates served"), "{}", certified.stdout);
    machine.serves_certificates();
    let status = machine.warded(["status", "--json"]).ends(0).object("warded.status/1");
    assert_eq!(status["listening"], true, "{status}");
    machine.warded(["renew", "--force"]).ends(0);
    machine.serves_certificates();
    machine.warded(["undo", "--yes"]).ends(0);
    machine.warded(["undo", "--yes"]).ends(0);
    assert!(before == machine.tree());
}

/// Checks that nothing is changed, and that `status` reports the same problem and does not call the machine healthy.
#[track_caller]
fn refused(machine: &Machine, words: &[&str]) {
    let before = machine.tree();
    certify(machine).ends(5).says(words).says(&["nothing was changed"]);
    assert!(before == machine.tree());
    let status = machine.warded(["status"]).ends(4);
    assert!(!status.stdout.contains("problems     none"), "{}", status.stdout);
}

#[test]
fn an_sshd_with_another_name_is_found() {
    for (program, link) in [("sshd.pam", None), ("sshd-real", Some("sftpd"))] {
        let mut machine = Machine::stopped();
        let copied = copy(&machine, program);
        if let Some(link) = link {
            symlink(copied, machine.path(link)).unwrap();
        }
        let sshd = sshd_by(&machine, link.unwrap_or(program));
        machine.serve_by(sshd);
        through(&machine);
    }
}

#[test]
fn a_program_with_a_name_of_its_own_has_to_be_named() {
    let mut machine = Machine::stopped();
    let program = copy(&machine, "login-server");
    let sshd = sshd_by(&machine, "login-server");
    machine.serve_by(sshd);
    let named = program.to_str().unwrap();
    refused(&machine, &["(login-server) listens on", "is not known to be sshd", "--sshd", named]);
    let mut command = machine.warded_command(["--sshd", named, "apply", "certify-host", "--yes", "--set"]);
    Run::of(command.arg(format!("principal={NAME}"))).ends(0);
    machine.serves_certificates();
    machine.warded(["--sshd", named, "status"]).ends(0);
}

/// sshd has changed its directory to `/` since it read the file, so a reload would end it.
#[test]
fn an_sshd_with_a_relative_file_is_not_told() {
    let mut machine = Machine::stopped();
    let mut shell = machine.command("sh");
    shell.args(["-c", "cd $0 && exec /usr/sbin/sshd -D -f ssh/sshd_config $@"]).arg(machine.path(""));
    machine.serve_by(shell);
    refused(&machine, &["`-f ssh/sshd_config`, a relative path", "an absolute path"]);
    machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();

    // Relative to `/` the path still leads to the file.
    let mut machine = Machine::stopped();
    let mut shell = machine.command("sh");
    shell.args(["-c", "cd / && exec /usr/sbin/sshd -D -f $0 $@"]).arg(machine.config().strip_prefix("/").unwrap());
    machine.serve_by(shell);
    through(&machine);
}

/// An sshd without an environment has no room for its process title, so only a part of its command line can be seen.
#[test]
fn an_sshd_without_an_environment_is_found_by_what_is_seen() {
    let start = |line: &str| {
        let mut machine = Machine::stopped();
        let mut shell = machine.command("sh");
        shell.args(["-c", &format!("exec env -i /usr/sbin/sshd {line}")]).arg(machine.config());
        machine.serve_by(shell);
        machine
    };
    through(&start("-D $@ -f $0"));
    // The rest of the command line may name another file.
    let machine = start("-D $@ -f $0");
    let other = machine.config().with_file_name("sshd_konfig");
    fs::copy(machine.config(), &other).unwrap();
    refused(&machine, &["shows a command line that is cut off"]);
    // Here the part that is cut off may contain an option.
    let machine = start("-f $0 -D $@");
    refused(&machine, &["shows a command line that is cut off", "env -i PATH=", "--accept-risk=unknown-listener"]);
    let mut command = machine.warded_command(CERTIFY);
    Run::of(command.arg(format!("principal={NAME}")).arg("--accept-risk=unknown-listener")).ends(4);
    machine.warded(["undo", "--yes", "--accept-risk=unknown-listener"]).ends(4);
}

/// The title does not show where an argument ends.
#[test]
fn an_sshd_whose_file_has_a_blank_in_its_name_is_found() {
    let mut machine = Machine::stopped();
    let config = machine.path("my  conf/sshd config");
    fs::create_dir(config.parent().unwrap()).unwrap();
    fs::copy(machine.config(), &config).unwrap();
    let mut sshd = machine.command("/usr/sbin/sshd");
    sshd.args(["-D", "-f"]).arg(&config);
    machine.serve_by(sshd);
    let config = config.to_str().unwrap();
    let principal = format!("principal={NAME}");
    let certify = ["--sshd-config", config, "apply", "certify-host", "--yes", "--set", &principal];
    let certified = machine.warded(certify).ends(0);
    assert!(certified.stdout.contains("Seen live: 3 certificates served"), "{}", certified.stdout);
    machine.serves_certificates();
    machine.warded(["--sshd-config", config, "renew", "--force"]).ends(0);
    machine.warded(["--sshd-config", config, "undo", "--yes"]).ends(0);
}

#[test]
fn an_sshd_that_reads_another_file_is_named_with_it() {
    let mut machine = Machine::stopped();
    let other = machine.path("ssh/other_config");
    fs::copy(machine.config(), &other).unwrap();
    let mut sshd = machine.command("/usr/sbin/sshd");
    sshd.args(["-D", "-f"]).arg(&other);
    machine.serve_by(sshd);
    refused(&machine, &["reads", "--sshd-config", other.to_str().unwrap()]);
}

#[test]
fn an_sshd_whose_program_is_gone_is_not_told() {
    let mut machine = Machine::stopped();
    let link = machine.path("sftpd");
    symlink("/usr/sbin/sshd", &link).unwrap();
    let sshd = sshd_by(&machine, "sftpd");
    machine.serve_by(sshd);
    fs::remove_file(&link).unwrap();
    let before = machine.tree();
    certify(&machine).ends(5).says(&["cannot be told to reload: it would end", "is gone", "nothing was changed"]);
    assert!(before == machine.tree());
    machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();
}

/// A container whose first process is sshd.
#[test]
fn process_1_is_reloaded_by_sighup() {
    if missing::root() {
        return;
    }
    let mut machine = Machine::stopped();
    let container = "mount -t proc proc /proc && exec /usr/sbin/sshd -D -f $0 $@";
    let mut sshd = machine.command("unshare");
    sshd.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", container]).arg(machine.config());
    machine.serve_by(sshd);
    // nsenter(1), unshare(1), and the container's first process.
    let first = child(machine.starter().to_string()).and_then(child).unwrap();
    let inside = |words: &[&str]| {
        let mut command = command_of(&first, env!("CARGO_BIN_EXE_warded"));
        Run::of(machine.environment(&mut command).args(words))
    };
    let principal = format!("principal={NAME}");
    let applied = inside(&[&CERTIFY[..], &[&principal]].concat()).ends(0);
    assert!(applied.stdout.contains("Seen live: 3 certificates served"), "{}", applied.stdout);
    machine.serves_certificates();
    let log = inside(&["audit", "log"]).ends(0).stdout;
    assert!(log.contains("SIGHUP to process 1\n"), "{log}");
    inside(&["renew", "--force"]).ends(0);
    machine.serves_certificates();
}
