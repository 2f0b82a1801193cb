//! `trust-host-ca`, with the real ssh of several releases, for root and for an ordinary user.

mod configuration;
mod files;
mod person;
mod revoked;

use crate::support::{Peer, Run};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

const SYSTEM: &str = "/etc/ssh/ssh_known_hosts";
const DOMAIN: &str = "*.lab.test";
/// The user id of an ordinary user.
const USER: u32 = 1500;
const SUITES: [&str; 3] = ["bookworm", "trixie", "sid"];

/// A machine with an ordinary user, who can ask a CA.
struct Client(Peer);

impl Client {
    fn start(suite: &str) -> Option<Self> {
        let peer = Peer::start(suite, "")?;
        let passwd = peer.file("/etc/passwd");
        let known = fs::read_to_string(&passwd).unwrap();
        fs::write(passwd, format!("{known}ann:x:{USER}:{USER}::/home/ann:/bin/sh\n")).unwrap();
        let shadow = peer.file("/etc/shadow");
        // An account without a password: a login by key does not need one.
        fs::write(&shadow, fs::read_to_string(&shadow).unwrap_or_default() + "ann:*:19000::::::\n").unwrap();
        let client = Self(peer);
        client.sh("cp -r /root/ca /srv-ca; mkdir -p /home/ann; mkdir -m 700 /home/ann/.ssh; chown -R 1500:1500 /srv-ca /home/ann");
        Some(client)
    }

    fn sh(&self, script: &str) -> Run {
        Run::of(self.0.command("sh").args(["-ec", script])).ends(0)
    }

    fn root(&self, arguments: &[&str]) -> Run {
        self.0.warded(arguments)
    }

    fn user(&self, arguments: &[&str]) -> Run {
        self.user_at("/home/ann", arguments)
    }

    fn user_at(&self, home: &str, arguments: &[&str]) -> Run {
        let mut command = self.0.command("chroot");
        let who = format!("--userspec={USER}:{USER}");
        command.env("HOME", home).env("XDG_STATE_HOME", "/home/ann/state").env("WARDED_CA", "/srv-ca");
        Run::of(command.args([&who, "/", "/usr/bin/warded"]).args(arguments))
    }

    fn trusts(&self) -> Run {
        self.user(&["apply", "trust-host-ca", "--set", &format!("domain={DOMAIN}"), "--yes"])
    }

    fn file(&self, path: &str) -> PathBuf {
        self.0.file(path)
    }

    fn known_hosts(&self) -> PathBuf {
        self.file("/home/ann/.ssh/known_hosts")
    }

    /// Writes the user's known_hosts.
    fn knows(&self, contents: &[u8]) {
        fs::write(self.known_hosts(), contents).unwrap();
        self.sh("chown 1500:1500 /home/ann/.ssh/known_hosts; chmod 600 /home/ann/.ssh/known_hosts");
    }

    /// The host CA's key: its type and Base64.
    fn key(&self) -> String {
        let line = fs::read_to_string(self.file("/root/ca/host_ca.pub")).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    fn line(&self, ca: &str) -> String {
        format!("@cert-authority {DOMAIN} {} warded trust-host-ca {ca}\n", self.key())
    }

    /// Whether this user's ssh, with that user's own files, connects to this machine's sshd by a name. It checks
    /// strictly, and knows no plain key.
    fn reaches(&self, name: &str) -> bool {
        let mut command = self.0.command("chroot");
        command.args([&format!("--userspec={USER}:{USER}"), "/", "ssh", "-o", "BatchMode=yes"]);
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "HostName=127.0.0.1", "-o"]);
        let run = Run::of(command.arg(format!("HostKeyAlias={name}")).args(["-l", "nobody", name, "true"]));
        run.stderr.contains("Permission denied")
    }
}

/// For everybody on a machine, and then for one user: planned, applied, used, repeated, undone.
#[test]
fn ssh_of_every_release_trusts_the_ca() {
    for suite in SUITES {
        let Some(client) = Client::start(suite) else { return };
        client.root(&["apply", "certify-host", "--set", "principal=web1.lab.test", "--yes"]).ends(0);
        assert!(!client.reaches("web1.lab.test"), "{suite}");
        let set = format!("domain={DOMAIN}");
        let plan = client.root(&["plan", "trust-host-ca", "--set", &set]).ends(3);
        plan.prints(&["Set up clients first", "golang/go#33366"]);
        assert!(!client.file(SYSTEM).exists(), "{suite}");
        let apply = ["apply", "trust-host-ca", "--set", &set, "--yes"];
        let run = client.root(&apply).ends(0);
        run.prints(&["Proved beforehand: ssh trusts the CA for *.lab.test, and for no other name."]);
        assert_eq!(fs::read_to_string(client.file(SYSTEM)).unwrap(), client.line("/root/ca"), "{suite}");
        let found = fs::metadata(client.file(SYSTEM)).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o644, 0), "{suite}");
        assert!(client.reaches("web1.lab.test"), "{suite}");
        client.root(&apply).ends(0).prints(&["Nothing to do."]);
        // A umask may have made the file unreadable for others.
        fs::set_permissions(client.file(SYSTEM), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!client.reaches("web1.lab.test"), "{suite}");
        client.root(&apply).ends(0);
        assert!(client.reaches("web1.lab.test"), "{suite}");
        client.root(&["undo", "--yes"]).ends(0);
        client.root(&["undo", "--yes"]).ends(0);
        assert!(!client.file(SYSTEM).exists(), "{suite}");

        client.trusts().ends(0);
        assert_eq!(fs::read_to_string(client.known_hosts()).unwrap(), client.line("/srv-ca"), "{suite}");
        let found = fs::metadata(client.known_hosts()).unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, USER), "{suite}");
        assert!(client.reaches("web1.lab.test") && !client.reaches("web1.other"), "{suite}");
        // ssh keeps adding hosts to the file; they stay.
        let pin = fs::read_to_string(client.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        let known = fs::read_to_string(client.known_hosts()).unwrap();
        fs::write(client.known_hosts(), format!("{known}127.0.0.1 {pin}")).unwrap();
        client.user(&["undo", "--yes"]).ends(0);
        let left = fs::read_to_string(client.known_hosts()).unwrap();
        assert!(left.starts_with("127.0.0.1 ssh-ed25519 ") && left.lines().count() == 1, "{suite}: {left}");
        assert!(!client.reaches("web1.lab.test"), "{suite}");
        client.user(&["audit", "verify"]).ends(0);
    }
}

/// A client needs no sshd. A user without a part in one is not told to become root.
#[test]
fn no_sshd_need_be_there() {
    let Some(client) = Client::start("bookworm") else { return };
    client.sh("kill $(cat /run/sshd.pid); rm -r /usr/sbin/sshd /etc/ssh/sshd_config /etc/ssh/sshd_config.d");
    client.trusts().ends(0).prints(&["Proved beforehand: "]);
    client.root(&["apply", "trust-host-ca", "--set", "domain=*.lab.test", "--yes"]).ends(0);
    client.user(&["apply", "certify-host", "--set", "principal=web1", "--yes"]).ends(2).says(&["needs root"]);
}

/// A user can confirm and list their own runs without root.
#[test]
fn a_user_confirms_what_the_user_has_changed() {
    let Some(client) = Client::start("bookworm") else { return };
    for command in ["confirm", "history"] {
        client.user(&[command]).ends(2).says(&["needs root"]);
    }
    let set = format!("domain={DOMAIN}");
    client.user(&["apply", "trust-host-ca", "--set", &set, "--yes", "--confirm-within", "10m"]).ends(0);
    client.user(&["history"]).ends(0).prints(&["waits to be confirmed"]);
    client.user(&["confirm", "--same-login"]).ends(0).prints(&["Confirmed run 1"]);
    client.user(&["history"]).ends(0).prints(&["kept", "warded undo 1"]);
}

#[test]
fn whose_file_it_is_says_ssh() {
    let Some(client) = Client::start("bookworm") else { return };
    // A CI runner sets another HOME, which ssh ignores.
    client.sh("mkdir -p /github/home/.ssh; chown -R 1500:1500 /github");
    let set = format!("domain={DOMAIN}");
    let apply = ["apply", "trust-host-ca", "--set", &set, "--yes"];
    client.user_at("/github/home", &apply).ends(0).prints(&["HOME says /github/home", "reads its files in /home/ann"]);
    assert!(!client.file("/github/home/.ssh/known_hosts").exists() && client.known_hosts().exists());
    client.sh("rm -r /home/ann/.ssh");
    client.trusts().ends(1).says(&["no-directory", "mkdir -m 700 /home/ann/.ssh"]);
    // Files that sudo made belong to root: the user's ssh does not read them.
    client.sh("mkdir -m 700 /home/ann/.ssh; touch /home/ann/.ssh/known_hosts; chown 1500 /home/ann/.ssh");
    client.trusts().ends(5).says(&["belongs to another user (uid 0)", "sudo chown 1500 /home/ann/.ssh/known_hosts"]);
    client.sh("chmod 600 /home/ann/.ssh/known_hosts");
    client.trusts().ends(1).says(&["Permission denied", "sudo chown 1500 /home/ann/.ssh/known_hosts"]);
    client.sh("chown 1500 /home/ann/.ssh/known_hosts; chmod 0 /home/ann/.ssh/known_hosts");
    client.trusts().ends(1).says(&["Permission denied", "chmod u+rw /home/ann/.ssh/known_hosts"]);
    client.sh("truncate -s 5M /home/ann/.ssh/known_hosts; chmod 600 /home/ann/.ssh/known_hosts");
    client.trusts().ends(1).says(&["more than 4 MiB", "take out of it what is not needed"]);
    client.sh("rm /home/ann/.ssh/known_hosts; chmod 500 /home/ann/.ssh");
    client.trusts().ends(5).says(&["cannot be written by this user", "chmod u+rwx /home/ann/.ssh"]);
    client.sh("chmod 700 /home/ann/.ssh; touch /home/ann/.ssh/known_hosts");
    // Warded writes through a link, and does not replace it.
    client.sh("cd /home/ann; rm .ssh/known_hosts; mkdir dots; chown 1500 dots");
    symlink("../dots/hosts", client.known_hosts()).unwrap();
    client.trusts().ends(0);
    assert_eq!(fs::read_link(client.known_hosts()).unwrap(), PathBuf::from("../dots/hosts"));
    assert_eq!(fs::read_to_string(client.file("/home/ann/dots/hosts")).unwrap(), client.line("/srv-ca"));
    assert_eq!(fs::read_dir(client.file("/home/ann/.ssh")).unwrap().count(), 1);
    client.user(&["undo", "--yes"]).ends(0);
    assert!(client.known_hosts().symlink_metadata().unwrap().is_symlink());
    // FreeIPA makes sssd write another file, which replaces the system's.
    fs::write(client.file("/etc/ssh/ssh_config"), "GlobalKnownHostsFile /var/lib/sss/pubconf/known_hosts\n").unwrap();
    let line = client.line("/root/ca");
    client.root(&apply).ends(1).says(&[
        "not-read",
        "it reads /var/lib/sss/pubconf/known_hosts",
        line.trim_end(),
        "GlobalKnownHostsFile /var/lib/sss/pubconf/known_hosts /etc/ssh/ssh_known_hosts",
    ]);
    assert!(!client.file(SYSTEM).exists());
}

/// How a user's configuration affects the proof: all options apply, except for how the server is reached.
#[test]
fn the_proof_is_made_with_the_options_of_ssh() {
    let Some(client) = Client::start("bookworm") else { return };
    let refused = |config: &str, words: &[&str]| {
        client.knows(b"");
        fs::write(client.file("/etc/ssh/ssh_config"), config).unwrap();
        client.trusts().ends(5).says(words).says(&["nothing was changed"]);
        assert_eq!(fs::read(client.known_hosts()).unwrap(), b"");
    };
    refused(
        "Host *.lab.test\n HostKeyAlgorithms ssh-ed25519,rsa-sha2-512\n",
        &["HostKeyAlgorithms", "takes no host certificate"],
    );
    refused("CASignatureAlgorithms ecdsa-sha2-nistp256\n", &["CASignatureAlgorithms", "whose key is ssh-ed25519"]);
    refused("Host *.lab.test\n HostName gw.other\n", &["as gw.other"]);
    client.knows(b"");
    let hostile = "Host *.lab.test\n ProxyJump x\n AddressFamily inet6\n RemoteCommand foo\n LogLevel QUIET\n Tunnel yes\n \
                   ControlMaster auto\n ControlPath /tmp/x\n LocalForward 2222 localhost:22\n BindAddress 192.0.2.7\n \
                   UpdateHostKeys yes\n VisualHostKey yes\n User root\n Port 2222\n";
    fs::write(client.file("/etc/ssh/ssh_config"), hostile).unwrap();
    client.trusts().ends(0);
    fs::write(client.file("/etc/ssh/ssh_config"), "Host *\n NoSuchThing 7\n").unwrap();
    client.trusts().ends(5).says(&["ssh cannot use its configuration", "nosuchthing"]);
}

#[test]
fn whom_to_trust_is_said_by_name() {
    let Some(client) = Client::start("trixie") else { return };
    let apply = |settings: &[&str], risks: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|setting| format!("domain={setting}")).collect();
        let mut arguments = vec!["apply", "trust-host-ca", "--yes"];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        client.user(&[&arguments, risks].concat())
    };
    apply(&[], &[]).ends(2).says(&["needs the setting domain"]);
    for bad in
        ["a b", "*.lab.test,", "!*.lab.test", "bücher.test", "web1.lab.test:2222", "[*.lab.test]:22", ".lab.test"]
    {
        apply(&[bad], &[]).ends(2);
    }
    for wide in ["*", "*.*", "web*", "*.lab.test,?", "*.com", "*lab.test", "10.0.0.*"] {
        apply(&[wide], &[]).ends(5).says(&["--accept-risk=any-host", "nothing was changed"]);
        let plan = client.user(&["plan", "trust-host-ca", "--set", &format!("domain={wide}")]).ends(3);
        plan.prints(&["`apply` refuses that without --accept-risk=any-host"]);
        let accepted = ["plan", "trust-host-ca", "--set", &format!("domain={wide}"), "--accept-risk=any-host"];
        client.user(&accepted).ends(3).prints(&["more than one domain: accepted by --accept-risk=any-host."]);
    }
    apply(&["10.0.0.*"], &[]).says(&["such as 10.0.0.github.com"]);
    assert!(!client.known_hosts().exists());
    apply(&["*"], &["--accept-risk=any-host"]).ends(0);
    apply(&["*"], &[]).ends(0).prints(&["Nothing to do."]);
    let run = apply(&["*.other.test", "*.Other.test"], &[]).ends(0);
    run.prints(&["for *.other.test, and beside that by what is there now: /home/ann/.ssh/known_hosts line 1 (*)"]);
    apply(&["*.Lab.test,!db.lab.test", "[*.lab.test]:2222", "10.0.0.7,web1"], &[]).ends(0);
    let lines = fs::read_to_string(client.known_hosts()).unwrap();
    assert_eq!(lines.lines().count(), 5, "{lines}");
    let risks = client.user(&["audit", "log"]).ends(0).stdout;
    assert!(risks.contains("accepted: any-host"), "{risks}");
    // With this keyword the file would let users of such hosts in.
    let config = client.file("/etc/ssh/sshd_config.d/60-test.conf");
    let apply = ["apply", "trust-host-ca", "--set", "domain=*.lab.test", "--yes"];
    for (lines, place) in [
        ("HostbasedAuthentication yes\n", "60-test.conf line 1"),
        // The keyword applies only to some users.
        ("Match User ann\n  HostbasedAuthentication \"yes\"\n", "60-test.conf line 2"),
        ("Match User ann\n  Include /etc/ssh/more.conf\n", "more.conf line 1"),
        // sshd does not accept its configuration, so Warded cannot ask it.
        ("NoSuchKeyword 7\nMatch all\n  HostbasedAuthentication yes\n", "60-test.conf line 3"),
    ] {
        fs::write(client.file("/etc/ssh/more.conf"), "HostbasedAuthentication yes\n").unwrap();
        fs::write(&config, lines).unwrap();
        client.root(&apply).ends(5).says(&["HostbasedAuthentication", "--accept-risk=admit-logins", place]);
        // A user's own known_hosts lets hosts in to that user's account.
        client.sh("rm -f /home/ann/.ssh/known_hosts");
        client.user(&apply).ends(5).says(&["HostbasedAuthentication", place]);
    }
    fs::write(&config, "HostbasedAuthentication yes\n").unwrap();
    client.root(&[&apply[..], &["--accept-risk=admit-logins"]].concat()).ends(0);
}

/// A CA that rotates its key is trusted with both keys for a while. A key that it has dropped is removed; another CA's
/// key, or one that somebody else added, stays.
#[test]
fn a_ca_may_change_its_key() {
    let Some(client) = Client::start("bookworm") else { return };
    let by_hand = format!("@cert-authority *.lab.test {} by hand\n", client.key());
    client.trusts().ends(0);
    let first = client.line("/srv-ca");
    client.sh(
        "cp -r /srv-ca /old-ca; rm -r /srv-ca; warded ca init /srv-ca >/dev/null; chown -R 1500:1500 /srv-ca /old-ca",
    );
    let other = first.replace("/srv-ca", "/old-ca");
    client.knows(format!("{first}{other}{by_hand}").as_bytes());
    let run = client.trusts().ends(0);
    let new = fs::read_to_string(client.file("/srv-ca/host_ca.pub")).unwrap();
    let new: Vec<&str> = new.split(' ').take(2).collect();
    let expected =
        format!("{other}{by_hand}@cert-authority *.lab.test {} warded trust-host-ca /srv-ca\n", new.join(" "));
    assert_eq!(fs::read_to_string(client.known_hosts()).unwrap(), expected, "{}", run.stdout);
    client.user(&["undo", "--yes"]).ends(0);
    assert_eq!(fs::read_to_string(client.known_hosts()).unwrap(), format!("{first}{other}{by_hand}"));
}
