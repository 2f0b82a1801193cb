//! `trust-user-ca`, with the real sshd and ssh of several releases: root and an ordinary user log in by certificates of
//! the CA and of another one, and by plain keys.

mod principals;
mod refused;

use crate::support::{Peer, Run, attributes::wholes};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
};

const FILE: &str = "/etc/ssh/warded-user-ca.pub";
const DROP_IN: &str = "/etc/ssh/sshd_config.d/50-warded-trust-user-ca.conf";
const APPLY: [&str; 3] = ["apply", "trust-user-ca", "--yes"];
const ROOT: &str = "--accept-risk=root-by-certificate";

/// A machine with an ordinary user, and the keys of people outside.
struct Server(Peer);

impl Server {
    fn start(suite: &str, lines: &str) -> Option<Self> {
        Self::prepared(suite, |peer| {
            let config = peer.file("/etc/ssh/sshd_config");
            let stock = fs::read_to_string(&config).unwrap();
            fs::write(config, format!("{stock}{lines}")).unwrap();
        })
    }

    fn prepared(suite: &str, prepare: impl FnOnce(&Peer)) -> Option<Self> {
        let peer = Peer::prepared(suite, |peer| {
            for (file, line) in [
                ("/etc/passwd", "ann:x:1500:1500::/home/ann:/bin/sh\n"),
                ("/etc/group", "ann:x:1500:\n"),
                ("/etc/shadow", "ann:*:19000:0:99999:7:::\n"),
            ] {
                let path = peer.file(file);
                let known = fs::read_to_string(&path).unwrap_or_default();
                fs::write(path, known + line).unwrap();
            }
            prepare(peer);
        })?;
        let server = Self(peer);
        server.sh(
            "mkdir -p /home/ann/.ssh /people; chmod 700 /home/ann/.ssh; cp /root/.ssh/authorized_keys /home/ann/.ssh/; \
             chown -R 1500:1500 /home/ann; ssh-keygen -q -t ed25519 -N '' -f /people/other_ca; \
             for name in ann root eve; do ssh-keygen -q -t ed25519 -N '' -f /people/$name; done; \
             ssh-keygen -q -s /root/ca/user_ca -I ann -n ann /people/ann.pub; \
             ssh-keygen -q -s /root/ca/user_ca -I root -n root /people/root.pub; \
             ssh-keygen -q -s /people/other_ca -I eve -n ann,root /people/eve.pub",
        );
        Some(server)
    }

    fn sh(&self, script: &str) -> Run {
        Run::of(self.0.command("sh").args(["-ec", script])).ends(0)
    }

    fn warded(&self, arguments: &[&str]) -> Run {
        self.0.warded(arguments)
    }

    fn applies(&self) -> Run {
        self.warded(&[&APPLY[..], &[ROOT]].concat())
    }

    fn reloads(&self) {
        self.0.reloads_sshd();
    }

    fn file(&self, path: &str) -> PathBuf {
        self.0.file(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.file(path)).unwrap()
    }

    /// The CA's user key: its type and Base64.
    fn key(&self) -> String {
        self.text("/root/ca/user_ca.pub").split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// Whether somebody with a key, and a certificate if there is one, can log in as a user.
    fn gets_in(&self, who: &str, user: &str) -> bool {
        let mut command = self.0.command("ssh");
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i", who, "-l", user]);
        // Each login comes from another address, since sshd penalizes addresses.
        static ADDRESS: AtomicU16 = AtomicU16::new(0);
        let [high, low] = ADDRESS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        command.args(["-b", &format!("127.79.{high}.{}", low.max(1))]);
        Run::of(command.args(["127.0.0.1", "true"])).code == Some(0)
    }

    /// Whether ann and root can log in by the CA's certificate, and by another CA's.
    fn by_certificate(&self) -> [bool; 4] {
        [("ann", "ann"), ("root", "root"), ("eve", "ann"), ("eve", "root")]
            .map(|(who, user)| self.gets_in(&format!("/people/{who}"), user))
    }

    /// Whether both can log in by their plain keys.
    fn by_key(&self) -> [bool; 2] {
        let key = self.0.shared().join("client/key");
        ["ann", "root"].map(|user| self.gets_in(key.to_str().unwrap(), user))
    }

    fn exists(&self, path: &str) -> bool {
        Path::new(&self.file(path)).exists()
    }
}

/// Planned, refused because of root, applied, used, repeated and undone, each time beside `certify-host`.
#[test]
fn people_log_in_by_certificates_of_the_ca() {
    for suite in ["bookworm", "trixie"] {
        let Some(server) = Server::start(suite, "") else { return };
        server.warded(&["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]).ends(0);
        let before = wholes(&server.file("/etc/ssh"));
        assert_eq!((server.by_certificate(), server.by_key()), ([false; 4], [true; 2]), "{suite}");
        let plan = server.warded(&["plan", "trust-user-ca"]).ends(3);
        plan.prints(&[
            "From then on, whoever has",
            "sshd would let in root, ann",
            ROOT,
            "ann logged in by a certificate",
        ]);
        assert!(!server.exists(FILE), "{suite}");
        let refused = server.warded(&APPLY).ends(5);
        refused.says(&["a certificate with the principal root would log in as root", ROOT, "nothing was changed"]);
        assert!(!server.exists(FILE) && !server.exists(DROP_IN), "{suite}");
        server.applies().ends(0).prints(&["by certificates of this CA sshd lets in root, ann"]);
        assert_eq!(server.text(FILE), server.key() + "\n", "{suite}");
        assert!(server.text(DROP_IN).ends_with(&format!("TrustedUserCAKeys {FILE}\n")), "{suite}");
        assert_eq!((server.by_certificate(), server.by_key()), ([true, true, false, false], [true; 2]), "{suite}");
        server.applies().ends(0).prints(&["Nothing to do."]);
        assert!(!server.warded(&["status"]).stdout.contains("user key"), "{suite}");
        server.warded(&["undo", "--yes"]).ends(0);
        assert_eq!((server.by_certificate(), server.by_key()), ([false; 4], [true; 2]), "{suite}");
        assert_eq!(wholes(&server.file("/etc/ssh")), before, "{suite}");
        server.warded(&["audit", "verify"]).ends(0);
    }
}

/// Root may not log in, so there is no risk to accept; the ordinary user's login is proved.
#[test]
fn ordinary_users_are_proved_where_root_is_out() {
    for suite in ["bookworm", "trixie"] {
        let Some(server) = Server::start(suite, "PermitRootLogin no\nAllowUsers ann nobody\n") else { return };
        let run = server.warded(&APPLY).ends(0);
        run.prints(&["sshd lets in ann.", "ann logged in", "Not let in by a certificate: root: PermitRootLogin no"]);
        assert_eq!((server.by_certificate(), server.by_key()), ([true, false, false, false], [true, false]), "{suite}");
        server.warded(&["undo", "--yes"]).ends(0);
        assert_eq!((server.by_certificate(), server.by_key()), ([false; 4], [true, false]), "{suite}");
    }
}

/// The CA rotates its key. `status` reports that, and the next apply of the procedure brings the new key.
#[test]
fn a_new_key_of_the_ca_is_told_and_brought() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    server.warded(&APPLY).ends(0);
    let old = server.key();
    server.sh("cp -a /root/ca /root/old; rm /root/ca/user_ca*; ssh-keygen -q -t ed25519 -N '' -f /root/ca/user_ca; \
         cp /people/ann /people/new; cp /people/ann.pub /people/new.pub; \
         ssh-keygen -q -s /root/ca/user_ca -I ann -n ann /people/new.pub");
    assert!(server.gets_in("/people/ann", "ann") && !server.gets_in("/people/new", "ann"));
    server.warded(&["status"]).ends(4).prints(&[
        "does not have the CA's user key SHA256:",
        "which the CA dropped",
        "warded apply trust-user-ca",
    ]);
    let run = server.warded(&APPLY).ends(0);
    run.prints(&["1 user key(s) that", "1 key(s) that the CA has dropped", "sshd lets in ann."]);
    assert!(!server.text(FILE).contains(&old) && server.text(FILE).contains(&server.key()));
    assert!(!server.gets_in("/people/ann", "ann") && server.gets_in("/people/new", "ann"));
    server.warded(&["status"]).ends(0);
    // An undo would trust a key again that the CA has dropped: a way to log in that the operator has to accept.
    let new = server.text(FILE);
    for command in [["undo", "--plan"], ["undo", "--yes"]] {
        server.warded(&command).ends(5).says(&[
            "trust user CA keys again",
            "ssh-ed25519 SHA256:",
            "--accept-risk=admit-logins",
            "nothing was changed",
        ]);
        assert_eq!(server.text(FILE), new);
    }
    server.warded(&["undo", "--plan", "--accept-risk=admit-logins"]).ends(3);
    server.warded(&["undo", "--yes", "--accept-risk=admit-logins"]).ends(0);
    assert!(server.gets_in("/people/ann", "ann") && !server.gets_in("/people/new", "ann"));
}

/// Faults of the list that sshd does not report.
#[test]
fn a_list_that_is_gone_or_damaged_is_told() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    server.warded(&APPLY).ends(0);
    let good = server.text(FILE);
    fs::remove_file(server.file(FILE)).unwrap();
    assert_eq!(server.by_certificate(), [false; 4]);
    server
        .warded(&["status"])
        .ends(4)
        .prints(&["is gone: nobody logs in by a certificate", "warded apply trust-user-ca"]);
    server.warded(&APPLY).ends(0);
    assert_eq!((server.text(FILE), server.by_certificate()[0]), (good.clone(), true));
    for (damage, says, lets_in) in [
        (format!("<html>\n{good}"), "has HTML in line 1", false),
        (format!("\u{feff}{good}"), "begins with a byte order mark", false),
        (format!("cert-authority {good}"), "has options before the key in line 1", false),
        (format!("@cert-authority * {good}"), "has a line of known_hosts in line 1", false),
        (good.replace('\n', "\r\n"), "has a carriage return", true),
        (good.trim_end().to_owned(), "has no end of line", true),
    ] {
        fs::write(server.file(FILE), &damage).unwrap();
        // sshd itself decides which damage it tolerates.
        assert_eq!(server.by_certificate()[0], lets_in, "{damage:?}");
        let status = server.warded(&["status"]).ends(4).prints(&[says]);
        assert_eq!(status.stdout.contains("trusted by sshd's list"), lets_in, "{}", status.stdout);
        server.warded(&APPLY).ends(1).says(&["damaged-user-ca", says, &format!("mv {FILE} {FILE}.old")]);
        assert_eq!(server.text(FILE), damage);
    }
    server.sh(&format!("mv {FILE} {FILE}.old"));
    server.warded(&APPLY).ends(0);
    assert!(server.by_certificate()[0]);
}

/// A drop-in that sshd reads before Warded's names another list.
#[test]
fn a_list_that_another_one_hides_is_told() {
    let Some(server) = Server::start("bookworm", "PermitRootLogin no\n") else { return };
    server.warded(&APPLY).ends(0);
    let theirs = "/etc/ssh/sshd_config.d/01-theirs.conf";
    fs::write(server.file(theirs), "TrustedUserCAKeys /people/other_ca.pub\n").unwrap();
    server.reloads();
    assert_eq!(server.by_certificate(), [false, false, true, false]);
    let told =
        ["/people/other_ca.pub by /etc/ssh/sshd_config.d/01-theirs.conf line 1", "nobody logs in by a certificate"];
    for command in ["status", "doctor"] {
        server.warded(&[command]).ends(4).prints(&told);
    }
    fs::write(server.file(theirs), "TrustedUserCAKeys /people/gone.pub\n").unwrap();
    server.warded(&["status"]).ends(4).prints(&["/people/gone.pub cannot be read", "nobody logs in by a certificate"]);
    fs::remove_file(server.file(theirs)).unwrap();
    server.reloads();
    server.warded(&["status"]).ends(0);
}

/// Without an `Include` both procedures have a block in the main file, and each can be undone alone.
#[test]
fn blocks_stand_side_by_side() {
    let server = Server::prepared("bookworm", |peer| {
        let config = peer.file("/etc/ssh/sshd_config");
        let stock = fs::read_to_string(&config).unwrap().replace("Include ", "#Include ");
        fs::write(config, stock + "PermitRootLogin no\nMatch User nobody\n  X11Forwarding no\n").unwrap();
    });
    let Some(server) = server else { return };
    let before = server.text("/etc/ssh/sshd_config");
    server.warded(&["apply", "certify-host", "--set", "principal=web1.example.org", "--yes"]).ends(0);
    let certified = server.text("/etc/ssh/sshd_config");
    server.warded(&APPLY).ends(0);
    let both = server.text("/etc/ssh/sshd_config");
    assert!(both.contains("# BEGIN warded\n") && both.contains("# BEGIN warded trust-user-ca\n"), "{both}");
    assert!(server.by_certificate()[0]);
    server.warded(&["undo", "--yes"]).ends(0);
    assert_eq!(server.text("/etc/ssh/sshd_config"), certified);
    server.warded(&["undo", "--yes"]).ends(0);
    assert_eq!(server.text("/etc/ssh/sshd_config"), before);
}
