//! Changes that would lock somebody out, or that are not Warded's to make. Warded refuses them before it touches
//! anything, and names the cause.

mod certificates;
mod configuration;
mod guests;
mod other_people;
mod reach;
mod ways_in;

use crate::support::{ClientKnowledge, Grants, Machine, Run};

/// Makes the bundled `demo` write a file under these grants.
pub(crate) fn write(machine: &Machine, grants: &[&str], path: &str, lines: &[&str]) -> Run {
    let path = format!("path={path}");
    let mut command = machine.warded_command(["apply", "write-file", "--policy", "writer", "--yes", "--set", &path]);
    Grants::of(grants).write_demo(&machine.path("policies"));
    if grants.iter().any(|grant| grant.starts_with("services.")) {
        command.args(["--set", "reload=yes"]);
    }
    for line in lines {
        command.args(["--set", &format!("text={line}")]);
    }
    Run::of(&mut command)
}

/// Writes a drop-in with these lines for sshd, with grants for these keywords.
fn drop_in(machine: &Machine, keywords: &str, lines: &[&str]) -> Run {
    let path = machine.path("ssh/sshd_config.d/60-test.conf");
    let grants = [
        "files.write = [\"{sshd}/sshd_config.d/60-test.conf\"]",
        "services.ssh = [\"reload\"]",
        &format!("sshd.keywords = {keywords}"),
    ];
    write(machine, &grants, path.to_str().unwrap(), lines)
}

/// Checks that a drop-in is refused for this reason, and that the machine is as it was.
#[track_caller]
fn refused(machine: &Machine, keywords: &str, lines: &[&str], says: &[&str]) {
    let before = machine.tree();
    drop_in(machine, keywords, lines).ends(5).says(&["refused: ", "nothing was changed"]).says(says);
    assert_eq!(before, machine.tree(), "{lines:?}");
}

/// Checks that clients that know one of sshd's keys can connect.
#[track_caller]
pub(super) fn serves(machine: &Machine) {
    machine.client(&ClientKnowledge::Keys(machine.host_key("ed25519"))).connects();
}
