//! Enables and disables the recovery script at boot under sysvinit or OpenRC, with the program that the init system has
//! for that.

use super::{ReloadFault, ReloadResult, unknown};
use crate::{
    error::{Error, Result},
    machine::{
        exec::{self, Program},
        schedule::{SCRIPT, SCRIPT_NAME, ScriptInit},
    },
    text::neutral_lines,
};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long that program may take: insserv(8) reads every script.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same while the machine goes down.
const SHORT: Duration = Duration::from_secs(5);
/// The programs that start the scripts of a sysvinit runlevel, as children of process 1.
const RC: [&str; 2] = ["rc", "rcS"];

/// Whether the machine runs or goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Running,
    GoingDown,
}

pub(super) fn reconcile(init: ScriptInit, moment: Moment) -> Result<ReloadResult, ReloadFault> {
    let by = init.program();
    let name = || vec![SCRIPT_NAME.to_owned()];
    if Path::new(SCRIPT).is_file() {
        if !is_linked(Path::new("/"), init) {
            enable(init, moment)?;
        }
        return Ok(ReloadResult::Scheduled { by, enabled: name(), disabled: Vec::new() });
    }
    // insserv renumbers the links of other scripts. If rc starts one script after another, it goes through the links by
    // number, and would skip a script whose number has become lower: sshd's, for example.
    let root = Path::new("/");
    if init == ScriptInit::Sysvinit && moment == Moment::Running && is_linked(root, init) && starts_scripts(root) {
        return Ok(ReloadResult::DisabledLater { name: SCRIPT_NAME.to_owned() });
    }
    disable(init, moment)?;
    Ok(ReloadResult::Scheduled { by, enabled: Vec::new(), disabled: name() })
}

/// Whether the init system has a link that starts the script at boot, even a dangling one.
pub(super) fn is_linked(root: &Path, init: ScriptInit) -> bool {
    !links(root, init).is_empty()
}

/// Whether a link to the script is left although the script is gone.
pub(super) fn is_left(init: ScriptInit) -> bool {
    links(Path::new("/"), init).iter().any(|link| !link.exists())
}

fn enable(init: ScriptInit, moment: Moment) -> Result<(), ReloadFault> {
    let arguments = match init {
        ScriptInit::Sysvinit => [SCRIPT_NAME, "defaults"].to_vec(),
        ScriptInit::Openrc => ["add", SCRIPT_NAME, "default"].to_vec(),
    };
    run(init, &arguments, moment, |links| !links.is_empty())
}

fn disable(init: ScriptInit, moment: Moment) -> Result<(), ReloadFault> {
    let links = links(Path::new("/"), init);
    if links.is_empty() {
        return Ok(());
    }
    if init == ScriptInit::Sysvinit {
        return run(init, &[SCRIPT_NAME, "remove"], moment, <[PathBuf]>::is_empty);
    }
    let levels = links.iter().filter_map(|link| link.parent()?.file_name()?.to_str());
    for level in levels {
        let is_gone = |links: &[PathBuf]| !links.iter().any(|link| link.parent().is_some_and(|of| of.ends_with(level)));
        run(init, &["delete", SCRIPT_NAME, level], moment, is_gone)?;
    }
    Ok(())
}

/// Runs the init system's program, and checks that it had the wanted effect.
fn run(
    init: ScriptInit,
    arguments: &[&str],
    moment: Moment,
    is_done: impl Fn(&[PathBuf]) -> bool,
) -> Result<(), ReloadFault> {
    let program = init.program();
    let path = exec::find(program).ok_or_else(|| Error::failed(format!("there is no {program} on this machine")))?;
    let patience = if moment == Moment::Running { PATIENCE } else { SHORT };
    let output = Program::new(path).args(arguments).timeout(patience).run()?;
    if output.succeeded() && is_done(&links(Path::new("/"), init)) {
        return Ok(());
    }
    let said = neutral_lines(output.complaint().trim());
    let words = format!("{program} {}", arguments.join(" "));
    let next = format!("run `{words}`, and see what it says");
    Err(unknown(Error::failed(format!("{words} failed")).cause(said).next(next)))
}

/// The links by which the init system starts the script.
fn links(root: &Path, init: ScriptInit) -> Vec<PathBuf> {
    let is_numbered = |name: &str| {
        let number = name.strip_prefix(['S', 'K']).and_then(|rest| rest.strip_suffix(SCRIPT_NAME));
        number.is_some_and(|number| number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit()))
    };
    let below = |directory: PathBuf| fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> = match init {
        ScriptInit::Sysvinit => {
            let levels = ["S", "0", "1", "2", "3", "4", "5", "6"].map(|level| root.join(format!("etc/rc{level}.d")));
            let links = levels.into_iter().flat_map(below);
            links.filter(|link| link.file_name().to_str().is_some_and(is_numbered)).map(|link| link.path()).collect()
        }
        ScriptInit::Openrc => {
            let links = below(root.join("etc/runlevels")).map(|level| level.path().join(SCRIPT_NAME));
            links.filter(|link| link.symlink_metadata().is_ok()).collect()
        }
    };
    found.sort_unstable();
    found
}

/// Whether sysvinit is starting or stopping the scripts of a runlevel.
fn starts_scripts(root: &Path) -> bool {
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().filter_map(Result::ok);
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    stats.into_iter().any(|stat| is_rc(&stat))
}

/// proc_pid_stat(5): pid, name in parentheses, state, parent.
fn is_rc(stat: &str) -> bool {
    let Some((name, rest)) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")) else { return false };
    RC.contains(&name) && rest.split(' ').nth(1) == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_found_in_every_runlevel() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for level in ["rcS.d", "rc2.d", "rc5.d", "runlevels/boot", "runlevels/default"] {
            fs::create_dir_all(at("etc").join(level)).unwrap();
        }
        assert!(
            links(root.path(), ScriptInit::Sysvinit).is_empty() && links(root.path(), ScriptInit::Openrc).is_empty()
        );
        for link in ["rc2.d/S01warded-recover", "rc5.d/K09warded-recover", "rc5.d/S01my-warded-recover", "rcS.d/README"]
        {
            symlink("../init.d/warded-recover", at("etc").join(link)).unwrap();
        }
        symlink("/etc/init.d/warded-recover", at("etc/runlevels/default/warded-recover")).unwrap();
        symlink("/etc/init.d/cron", at("etc/runlevels/boot/cron")).unwrap();
        let sysvinit = ["etc/rc2.d/S01warded-recover", "etc/rc5.d/K09warded-recover"].map(at);
        assert_eq!(links(root.path(), ScriptInit::Sysvinit), sysvinit);
        assert_eq!(links(root.path(), ScriptInit::Openrc), [at("etc/runlevels/default/warded-recover")]);
    }

    #[test]
    fn a_machine_that_starts_is_told_by_its_process() {
        for (stat, expected) in [
            ("312 (rc) S 1 312 312 0 -1", true),
            ("40 (rcS) S 1 40 40 0 -1", true),
            ("312 (rc) S 298 312 312 0 -1", false),
            ("312 (rc) (x) S 1 312", false),
            ("312 (sshd) S 1 312", false),
            ("", false),
        ] {
            assert_eq!(is_rc(stat), expected, "{stat}");
        }
    }
}
