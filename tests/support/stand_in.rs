//! A program in sshd's place. At a certain moment of a run it does something, and then runs the real sshd: it simulates
//! somebody's edit, a CA that goes away, an sshd that fails.

use super::Machine;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// When it does that.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ActionTime {
    /// When the result is checked, before the CA is asked: `sshd -T` of another file than the machine's own.
    Candidate,
    /// When the procedure asks about the configuration: `sshd -T` of the machine's own file.
    Asked,
    /// When the files are in place and sshd is about to be told: `sshd -t` of the machine's own file, with the drop-in
    /// that `certify-host` writes.
    Reload,
    /// At the first handshake over a pipe: `sshd -i`.
    Proof,
}

/// Makes the program. Whenever the moment comes, it runs `what` in sh(1); `$first` is `yes` the first time.
pub(crate) fn stand_in(machine: &Machine, when: ActionTime, what: &str) -> PathBuf {
    let config = machine.config();
    let moment = match when {
        ActionTime::Candidate => format!("case \" $* \" in *' {} '*) ;; *' -T '*) act ;; esac", config.display()),
        ActionTime::Asked => format!("case \" $* \" in *' -T '*' {} '*) act ;; esac", config.display()),
        ActionTime::Reload => format!(
            "case \" $* \" in *' -t '*' {} '*) test ! -e {} || act ;; esac",
            config.display(),
            machine.path("ssh/sshd_config.d/50-warded.conf").display()
        ),
        ActionTime::Proof => "case \" $* \" in *' -i '*) act ;; esac".to_owned(),
    };
    let done = machine.path("stand-in.done");
    let text = format!(
        "#!/bin/sh\nact() {{\nfirst=no; mkdir {} 2>/dev/null && first=yes\n{what}\n}}\n{moment}\nexec /usr/sbin/sshd \"$@\"\n",
        done.display()
    );
    let program = machine.path("stand-in");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// Whether the moment has come.
pub(crate) fn is_asked(program: &Path) -> bool {
    program.with_extension("done").exists()
}

/// Asserts that the moment has come.
#[track_caller]
pub(crate) fn was_asked(program: &Path) {
    assert!(is_asked(program), "the moment never came");
}
