//! A machine that trusts a step-ca.

use super::{Machine, Run, clock, step_ca::StepCa};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The machine, with its own configuration file `step.toml`.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) machine: Machine,
}

impl Member {
    /// Makes a machine trust this CA.
    pub(crate) fn of(machine: Machine, ca: &StepCa) -> Self {
        let member = Self { machine };
        member.bootstrap(&ca.url(), &ca.fingerprint()).ends(0);
        member
    }

    /// Runs `warded bootstrap` on it, with this CA.
    pub(crate) fn bootstrap(&self, url: &str, fingerprint: &str) -> Run {
        self.warded(&["bootstrap", "--ca-url", url, "--fingerprint", fingerprint])
    }

    /// A command that runs Warded on it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.machine.warded_command([]);
        // Neither a local CA nor a set-up of `step` is found.
        command.env_remove("WARDED_CA").env("STEPPATH", "/nonexistent").env("WARDED_CONFIG", self.config());
        command.args(arguments);
        command
    }

    /// Runs Warded on it.
    pub(crate) fn warded(&self, arguments: &[&str]) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Runs Warded on it, with a clock that is wrong by so many seconds.
    pub(crate) fn warded_at(&self, seconds: i64, arguments: &[&str]) -> Run {
        let mut command = self.command(arguments);
        clock::shift(&mut command, seconds);
        Run::of(&mut command)
    }

    /// Certifies its host keys, with these additional arguments.
    pub(crate) fn certifies(&self, more: &[&str]) -> Run {
        let certify = ["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"];
        self.warded(&[&certify[..], more].concat())
    }

    /// Certifies its host keys with the provisioner's password.
    #[track_caller]
    pub(crate) fn certified(self, ca: &StepCa) -> Self {
        self.certifies(&["--provisioner-password-file", ca.password_file().to_str().unwrap()]).ends(0);
        self
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.machine.path("step.toml")
    }

    /// A host key's certificate, as a line.
    pub(crate) fn certificate(&self, name: &str) -> String {
        fs::read_to_string(self.certificate_file(name)).unwrap()
    }

    /// The file of a host key's certificate.
    pub(crate) fn certificate_file(&self, name: &str) -> PathBuf {
        self.machine.path(&format!("ssh/ssh_host_{name}_key-cert.pub"))
    }

    /// Installs certificates that the CA's own key signed, with these options of ssh-keygen.
    pub(crate) fn signed_by_hand(&self, ca: &StepCa, options: &[&str]) {
        self.signed_with(&ca.path("host_ca"), options);
    }

    /// Installs certificates that this key signed, with these options of ssh-keygen.
    pub(crate) fn signed_with(&self, private: &Path, options: &[&str]) {
        for name in super::machine::KEYS {
            let key = self.machine.path(&format!("ssh/ssh_host_{name}_key.pub"));
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-h", "-I", "web1.example.org", "-n", "web1.example.org", "-z", "77"]).args(options);
            Run::of(command.arg("-s").arg(private).arg(key)).ends(0);
        }
    }
}
