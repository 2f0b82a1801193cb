//! A program in sshd's place, which does something at a certain moment of a run and is then the
//! real one: somebody's edit, a CA that goes away, an sshd that fails.

use super::Machine;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// When it does so.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ActionTime {
    /// The result is looked at, before the CA is asked: `sshd -T` of another file than the machine's.
    Candidate,
    /// The procedure asks about the configuration: `sshd -T` of the machine's own.
    Asked,
    /// The files are in place and sshd is about to be told: `sshd -t` of the machine's own, with the
    /// drop-in that `certify-host` leaves.
    Reload,
    /// The first handshake over a pipe: `sshd -i`.
    Proof,
}

/// Makes the program. Whenever the moment comes, it does this, in the language of sh(1); `$first`
/// is `yes` the first time.
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

/// The moment has come, and the program has done what it should.
#[track_caller]
pub(crate) fn was_asked(program: &Path) {
    assert!(is_asked(program), "the moment never came");
}
