//! Which principals can log in as which users, with the real sshd of several releases.

use super::{APPLY, DROP_IN, FILE, ROOT, Server};
use crate::support::{Run, attributes::wholes};
use std::{fs, os::unix::fs::PermissionsExt as _};

const DIRECTORY: &str = "/etc/ssh/warded-principals";
const ANN: &str = "/etc/ssh/warded-principals/ann";

impl Server {
    /// Adds a person with the principal `ops`.
    fn with_ops(self) -> Self {
        self.sh(
            "ssh-keygen -q -t ed25519 -N '' -f /people/ops; ssh-keygen -q -s /root/ca/user_ca -I ops -n ops /people/ops.pub",
        );
        self
    }

    fn maps(&self, principals: &[&str], more: &[&str]) -> Run {
        self.told(&APPLY, principals, more)
    }

    fn told(&self, command: &[&str], principals: &[&str], more: &[&str]) -> Run {
        let values: Vec<String> = principals.iter().map(|value| format!("principals={value}")).collect();
        let settings = values.iter().flat_map(|value| ["--set", value]);
        self.warded(&command.iter().copied().chain(settings).chain(more.iter().copied()).collect::<Vec<_>>())
    }

    /// Which logins by certificate work: ops as ann and as root, ann as ann, root as root.
    fn opened(&self) -> [bool; 4] {
        [("ops", "ann"), ("ops", "root"), ("ann", "ann"), ("root", "root")]
            .map(|(who, user)| self.gets_in(&format!("/people/{who}"), user))
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.file(path)).unwrap().permissions().mode() & 0o7777
    }
}

/// Principals are mapped, used, applied again, mapped differently, and undone step by step.
#[test]
fn principals_log_in_as_the_users_that_they_are_mapped_to() {
    for suite in ["bookworm", "trixie"] {
        let Some(server) = Server::start(suite, "").map(Server::with_ops) else { return };
        let before = wholes(&server.file("/etc/ssh"));
        let plan = server.told(&["plan", "trust-user-ca"], &["ann=ops"], &[]).ends(3);
        let plan = plan.prints(&[
            "Certificates for ops log in as ann.",
            "Every other login is closed to certificates, root too",
            "sshd would let in ann (principal ops)",
            "root: /etc/ssh/warded-principals/root is not there, so no principal logs in",
            "ann logged in by a certificate",
        ]);
        assert!(!plan.stdout.contains("From then on") && !plan.stdout.contains(ROOT), "{}", plan.stdout);
        assert_eq!(wholes(&server.file("/etc/ssh")), before, "{suite}");
        // Root has no principals, so there is no risk to accept.
        server.maps(&["ann=ops"], &[]).ends(0).prints(&["sshd lets in ann (principal ops)"]);
        assert_eq!((server.opened(), server.by_key()), ([true, false, false, false], [true; 2]), "{suite}");
        assert_eq!((server.mode(DIRECTORY), server.mode(ANN)), (0o755, 0o644), "{suite}");
        let line = format!("AuthorizedPrincipalsFile {DIRECTORY}/%u\n");
        assert!(server.text(ANN).ends_with("\nops\n") && server.text(DROP_IN).ends_with(&line), "{suite}");
        let mapped = wholes(&server.file("/etc/ssh"));
        server.maps(&["ann=ops"], &[]).ends(0).prints(&["Nothing to do."]);
        // An apply without the setting opens nothing.
        server.warded(&APPLY).ends(0).prints(&["stay as they are: ann (ops).", "Nothing to do."]);
        let run = server.maps(&["root=ops,admins"], &[]).ends(0);
        run.prints(&[
            "ann has no principals any more",
            "root (principals ops, admins)",
            "root logged in by a certificate",
        ]);
        assert_eq!(server.opened(), [false, true, false, false], "{suite}");
        assert!(!server.exists(ANN), "{suite}");
        server.warded(&["undo", "--plan"]).ends(3).prints(&["Nothing has been changed."]);
        server.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(wholes(&server.file("/etc/ssh")), mapped, "{suite}");
        assert_eq!(server.opened(), [true, false, false, false], "{suite}");
        server.warded(&["undo", "--yes"]).ends(0);
        assert_eq!((server.opened(), server.by_key()), ([false; 4], [true; 2]), "{suite}");
        assert_eq!(wholes(&server.file("/etc/ssh")), before, "{suite}");
    }
}

/// A mapping that is added closes what was open. If it is removed, that is open again, which for root is a risk to
/// accept again.
#[test]
fn a_mapping_comes_and_goes() {
    let Some(server) = Server::start("trixie", "").map(Server::with_ops) else { return };
    let before = wholes(&server.file("/etc/ssh"));
    server.applies().ends(0);
    assert_eq!(server.opened(), [false, false, true, true]);
    server.maps(&["ann=ops", "ann=ann,ops"], &[]).ends(0).prints(&["sshd lets in ann (principals ops, ann)"]);
    assert_eq!((server.opened(), server.by_key()), ([true, false, true, false], [true; 2]));
    let refused = server.maps(&["none"], &[]).ends(5);
    refused.says(&["a certificate with the principal root would log in as root", ROOT, "nothing was changed"]);
    assert_eq!(server.opened(), [true, false, true, false]);
    server.maps(&["none"], &[ROOT]).ends(0).prints(&["not mapped to logins any more"]);
    assert!(!server.exists(DIRECTORY) && server.exists(FILE));
    assert_eq!(server.opened(), [false, false, true, true]);
    server.maps(&["ann=ops"], &[]).ends(0);
    server.warded(&["remove", "--yes", "--accept-risk=lose-ssh"]).ends(0);
    assert_eq!(wholes(&server.file("/etc/ssh")), before);
}

/// Each refusal says what to do.
#[test]
fn principals_that_cannot_be_are_refused() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n").map(Server::with_ops) else { return };
    for (value, says) in [
        ("ann", "has no `=`"),
        ("../root=ops", "is not a login name"),
        ("ann=", "it is empty"),
        ("ann=no-pty ops", "reads the text before a blank as options"),
        ("ann=\"ops\"", "a quote"),
        ("ann=*", "letter by letter"),
    ] {
        server.maps(&[value], &[]).ends(2).says(&["setting principals of trust-user-ca", says, "LOGIN=PRINCIPAL"]);
    }
    server.maps(&["ann=ops", "none"], &[]).ends(1).says(&["invalid-principals", "none cannot be combined"]);
    let two = ["plan", "trust-user-ca", "--set", "principals=ann=ops", "--set", "principals=nobody-here=ops"];
    server.warded(&two).ends(3).prints(&["This machine has no user nobody-here"]);
    // Nobody could log in by it.
    server
        .maps(&["nobody-here=ops"], &[])
        .ends(5)
        .says(&["nobody in by a certificate", "ann: /etc/ssh/warded-principals/ann"]);
    let theirs = server.file("/etc/ssh/sshd_config.d/10-theirs.conf");
    for (line, says) in [
        ("AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u\n", "/etc/ssh/auth_principals/%u"),
        ("AuthorizedPrincipalsFile none\n", "`AuthorizedPrincipalsFile none`"),
    ] {
        fs::write(&theirs, line).unwrap();
        server.maps(&["ann=ops"], &[]).ends(1).says(&["other-principals", says, "take that line out"]);
    }
    fs::write(&theirs, "Match User ann\n  AuthorizedPrincipalsFile /etc/ssh/auth_principals/%u\n").unwrap();
    let run = server.maps(&["ann=ops"], &[]).ends(5);
    let all = run.stdout + &run.stderr;
    for says in
        ["10-theirs.conf names other files", "ann: AuthorizedPrincipalsFile /etc/ssh/auth_principals/ann: No such"]
    {
        assert!(all.contains(says), "{says}: {all}");
    }
    fs::remove_file(&theirs).unwrap();
    assert!(!server.exists(FILE) && !server.exists(DIRECTORY));
    // A file that somebody else can change, and that a run would activate.
    server.sh(&format!("mkdir {DIRECTORY}; echo eve >{DIRECTORY}/ann; chown 1500 {DIRECTORY}/ann"));
    server.maps(&["ann=ops"], &[]).ends(5).says(&["others can change it", "nothing was changed"]);
    assert!(!server.exists(FILE));
}

/// Faults that hide from sshd the principals that the operator named, or give it others. Each message says what to do.
#[test]
fn status_tells_what_is_wrong_with_the_files_of_principals() {
    let Some(server) = Server::start("trixie", "").map(Server::with_ops) else { return };
    server.maps(&["ann=ops", "root=admins"], &[]).ends(0);
    server.maps(&["ann=ops"], &[]).ends(0);
    let told = |script: &str, words: &[&str], [ops, eve]: [bool; 2]| {
        server.sh(&format!("cp -a {DIRECTORY} /before; {script}"));
        assert_eq!(
            [("ops", "ann"), ("eve", "ann")].map(|(who, user)| server.gets_in(&format!("/people/{who}"), user)),
            [ops, eve],
            "{script}"
        );
        let said = server.warded(&["status"]);
        assert_eq!(said.code == Some(4), !words.is_empty(), "{script}: {said:?}");
        let all = said.stdout + &said.stderr;
        assert!(words.iter().all(|word| all.contains(word)), "{script}: {all}");
        assert_eq!(all.contains("principals"), !words.is_empty(), "{script}: {all}");
        server.sh(&format!("rm -rf {DIRECTORY}; mv /before {DIRECTORY}"));
    };
    server.sh("ssh-keygen -q -s /root/ca/user_ca -I eve -n eve /people/eve.pub");
    told("true", &[], [true, false]);
    for (script, words, opened) in [
        ("chmod 664 ann", &["others can write", "chmod g-w /etc/ssh/warded-principals/ann"][..], [false, false]),
        ("chmod 600 ann", &["cannot read", "chmod o+r /etc/ssh/warded-principals/ann"], [false, false]),
        ("chown 1234 ann", &["belongs to another user", "chown root /etc/ssh/warded-principals/ann"], [false, false]),
        ("chmod 777 .", &["others can write /etc/ssh/warded-principals", "chmod go-w"], [false, false]),
        ("chmod 700 .", &["cannot read /etc/ssh/warded-principals", "chmod o+x"], [false, false]),
        ("rm ann", &["ann is gone: no certificate logs in as ann", "--set principals="], [false, false]),
        ("rm -r $PWD", &["warded-principals is gone: nobody logs in by a certificate"], [false, false]),
        ("echo eve >>ann", &["somebody changed who logs in as ann"], [true, true]),
        (
            "echo eve >root",
            &["root was not named to Warded", "log in as root", "rm /etc/ssh/warded-principals/root"],
            [true, false],
        ),
        ("ln -sf /etc/passwd bob", &["bob is no regular file"], [true, false]),
    ] {
        told(&format!("cd {DIRECTORY}; {script}"), words, opened);
    }
    // A mapping that was undone is not reported as missing.
    server.warded(&["undo", "--yes"]).ends(0);
    let all = server.warded(&["status"]).ends(0).stdout;
    assert!(!all.contains("is gone"), "{all}");
}
