//! A machine whose sshd is configured as on NethServer 7: a template engine builds the file from fragments.

use super::{
    client::ClientKnowledge,
    files::{Found, with_directories},
    machine::NAME,
    peer::Peer,
    run::Run,
    wait::{LONG, wait},
};
use std::{
    collections::BTreeMap,
    fs,
    ops::Deref,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The directory of NethServer's own fragments, and the one of those that replace or extend them.
pub(crate) const STOCK: &str = "/etc/e-smith/templates/etc/ssh/sshd_config";
pub(crate) const CUSTOM: &str = "/etc/e-smith/templates-custom/etc/ssh/sshd_config";

/// The relevant properties of NethServer's database.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Properties {
    /// `sshd`, `StrongEncryption`: a list of algorithms without certificates.
    pub(crate) strong: bool,
    /// `sssd`, `ShellOverrideStatus`: a `Match` for some users, closed by `Match All`.
    pub(crate) shell_override: bool,
}

/// The machine. Its engine and its events are stand-ins; its sshd is real.
#[derive(Debug)]
pub(crate) struct NethServer(Peer);

impl Deref for NethServer {
    type Target = Peer;
    fn deref(&self) -> &Peer {
        &self.0
    }
}

impl NethServer {
    /// A machine with OpenSSH from this release of Debian. `None` if this is not root and the test is skipped.
    pub(crate) fn start(suite: &str, properties: Properties) -> Option<Self> {
        let peer = Peer::prepared(suite, |peer| install(peer, properties))?;
        let machine = Self(peer);
        fs::write(machine.file("/etc/hosts"), format!("127.0.0.1 localhost {NAME}\n")).unwrap();
        machine.adds_policy("nethserver");
        Some(machine)
    }

    /// Changes the properties, and signals no event.
    pub(crate) fn sets(&self, properties: Properties) {
        set(&self.0, properties);
    }

    /// Adds a fragment of an administrator's.
    pub(crate) fn custom(&self, name: &str, text: &str) {
        fs::create_dir_all(self.file(CUSTOM)).unwrap();
        fs::write(self.file(CUSTOM).join(name), text).unwrap();
    }

    /// The file that the templates produce.
    pub(crate) fn product(&self) -> String {
        let argument = "--output_filename=/run/product";
        Run::of(self.command("/sbin/e-smith/expand-template").args([argument, "/etc/ssh/sshd_config"])).ends(0);
        fs::read_to_string(self.file("/run/product")).unwrap()
    }

    /// sshd's configuration as it is now.
    pub(crate) fn configuration(&self) -> String {
        fs::read_to_string(self.file("/etc/ssh/sshd_config")).unwrap()
    }

    /// Signals an event, as NethServer's own pages do.
    pub(crate) fn signals(&self, event: &str) -> Run {
        Run::of(self.command("/sbin/e-smith/signal-event").arg(event))
    }

    /// Whether sshd listens.
    pub(crate) fn listens(&self) -> bool {
        self.file("/run/sshd.pid").exists()
    }

    /// Signals an event, after which sshd has read its configuration and listens again.
    pub(crate) fn saves(&self) {
        // sshd rewrites the file when it listens again.
        let written =
            || fs::metadata(self.file("/run/sshd.pid")).ok().map(|found| (found.ino(), found.modified().unwrap()));
        let before = written();
        self.signals("nethserver-openssh-save").ends(0);
        wait("sshd listens again", LONG, || written().is_some_and(|now| Some(now) != before));
    }

    /// Clients that know the host keys of these types.
    pub(crate) fn pins(&self, kinds: &[&str]) -> Vec<ClientKnowledge> {
        let key = |kind: &&str| fs::read_to_string(self.file(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))).unwrap();
        kinds.iter().map(|kind| ClientKnowledge::Keys(key(kind))).collect()
    }

    /// Every file that a procedure may change, except Warded's own.
    pub(crate) fn tree(&self) -> BTreeMap<PathBuf, Found> {
        let directories = ["/etc/ssh", "/etc/e-smith", "/etc/backup-config.d", "/etc/cron.d", "/etc/systemd/system"];
        let there = directories.into_iter().map(|path| self.file(path)).filter(|path| path.exists());
        there.flat_map(|directory| with_directories(&directory)).collect()
    }
}

fn install(peer: &Peer, properties: Properties) {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let parts = checkout.join("tests/peers/nethserver");
    for directory in [STOCK, "/sbin/e-smith", "/var/lib/nethserver/db", "/etc/backup-config.d"] {
        fs::create_dir_all(peer.file(directory)).unwrap();
    }
    for entry in fs::read_dir(parts.join("templates")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), peer.file(STOCK).join(entry.file_name())).unwrap();
    }
    for name in ["expand-template", "signal-event"] {
        fs::copy(parts.join(name), peer.file("/sbin/e-smith").join(name)).unwrap();
    }
    for path in ["/etc/e-smith", "/sbin/e-smith", "/etc/backup-config.d"] {
        Run::of(peer.command("chmod").args(["-R", "go-w", path])).ends(0);
    }
    set(peer, properties);
    Run::of(peer.command("/sbin/e-smith/expand-template").arg("/etc/ssh/sshd_config")).ends(0);
}

fn set(peer: &Peer, properties: Properties) {
    let status = |is_on: bool| if is_on { "enabled" } else { "disabled" };
    let database = format!(
        "sshd=service|PermitRootLogin|yes|StrongEncryption|{}|TCPPort|22|status|enabled\n\
         sssd=service|ShellOverrideStatus|{}|status|enabled\n",
        status(properties.strong),
        status(properties.shell_override)
    );
    fs::write(peer.file("/var/lib/nethserver/db/configuration"), database).unwrap();
}
