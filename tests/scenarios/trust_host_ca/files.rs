//! Files with unusual contents: ssh itself decides what it takes for a line.

use super::Client;
use std::fs;

const PIN: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDOu+GOIRRAH2+0BR2aQmOYRjvJhESqjO0sF9Fiw6p4L";
const HASHED: &str = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ";

/// Everything that was there is there afterwards, byte for byte, and ssh trusts the CA.
#[test]
fn every_other_byte_stays() {
    let Some(client) = Client::start("bookworm") else { return };
    client.root(&["apply", "certify-host", "--set", "principal=web1.lab.test", "--yes"]).ends(0);
    let (key, line) = (client.key(), client.line("/srv-ca"));
    let stale = format!("web1.lab.test {PIN}\n");
    let long = format!("web9.example {PIN} {}\n", "c".repeat(200_000));
    for (name, before, between) in [
        ("no final newline", format!("web9.example {PIN}").into_bytes(), "\n"),
        ("two empty lines", format!("web9.example {PIN}\n\n\n").into_bytes(), ""),
        ("Latin-1", [b"# f\xfcr M\xfcller\n", stale.as_bytes()].concat(), ""),
        ("a byte order mark", [b"\xef\xbb\xbf", stale.as_bytes()].concat(), ""),
        ("commented out", format!("#@cert-authority *.lab.test {key}\n# {line}").into_bytes(), ""),
        ("a stale pin", stale.clone().into_bytes(), ""),
        ("hashed", format!("{HASHED}{PIN}\n").into_bytes(), ""),
        ("SSH 1", b"closenet,192.0.2.53 1024 37 159123456789 old\n".to_vec(), ""),
        ("a long line", long.into_bytes(), ""),
        ("a tab behind the marker, and a space", format!("@cert-authority\t*.lab.test {key}\n").into_bytes(), ""),
        ("another domain's", format!("@cert-authority *.other {key}\n").into_bytes(), ""),
        (
            "another domain's, with a name left out",
            format!("@cert-authority *.other,!db.other {key}\n").into_bytes(),
            "",
        ),
        ("another CA's", format!("@cert-authority *.lab.test {PIN}\n").into_bytes(), ""),
        ("another key revoked", format!("@revoked * {PIN}\n").into_bytes(), ""),
        ("an unknown marker", format!("@trusted *.lab.test {key}\n").into_bytes(), ""),
        ("a key revoked for another domain", format!("@revoked *.other {key}\n").into_bytes(), ""),
        ("a NUL in a comment", format!("web9.example {PIN} a\0b\n").into_bytes(), ""),
        ("what a crash left", [format!("web9.example {PIN}\n").as_bytes(), &[0; 64]].concat(), "\n"),
        ("PowerShell has appended", [format!("web9.example {PIN}\n").as_bytes(), &utf16(&stale)].concat(), "\n"),
        ("lines of the old Macintosh", format!("web9.example {PIN}\rweb8.example {PIN}\r").into_bytes(), "\n"),
    ] {
        client.knows(&before);
        assert!(!client.reaches("web1.lab.test"), "{name}: it was trusted before");
        client.trusts().ends(0);
        let after = fs::read(client.known_hosts()).unwrap();
        assert_eq!(after, [&before, between.as_bytes(), line.as_bytes()].concat(), "{name}");
        assert!(client.reaches("web1.lab.test"), "{name}");
        client.trusts().ends(0).prints(&["Nothing to do."]);
        client.user(&["undo", "--yes"]).ends(0);
        assert_eq!(fs::read(client.known_hosts()).unwrap(), before, "{name}");
    }
    // Windows line ends: Warded's line gets one too, and so does the last line, which lacks its end.
    let windows = format!("web9.example {PIN}\r\n# Windows");
    for (end, added) in [("\r\n", ""), ("", "\r\n"), ("\r", "\n")] {
        client.knows(format!("{windows}{end}").as_bytes());
        client.trusts().ends(0);
        let after = fs::read_to_string(client.known_hosts()).unwrap();
        assert_eq!(after, format!("{windows}{end}{added}{}\r\n", line.trim_end()));
        assert!(client.reaches("web1.lab.test"));
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// If ssh takes an existing line for Warded's, Warded does not add another.
#[test]
fn a_line_that_is_there_already_is_left_alone() {
    let Some(client) = Client::start("trixie") else { return };
    client.root(&["apply", "certify-host", "--set", "principal=web1.lab.test", "--yes"]).ends(0);
    let key = client.key();
    let tabs = key.replace(' ', "\t");
    for there in [
        format!("@cert-authority *.lab.test {key}\n"),
        format!("@cert-authority *.lab.test {key}\r\n"),
        format!("@cert-authority *.LAB.TEST {key} by hand"),
        format!("\t@cert-authority\t*.lab.test\t{tabs}\tcomment\n"),
        format!("@cert-authority *.lab.test {key}\n@cert-authority *.lab.test {key} again\n"),
    ] {
        client.knows(there.as_bytes());
        assert!(client.reaches("web1.lab.test"), "{there}");
        client.trusts().ends(0).prints(&["Nothing to do."]);
        assert_eq!(fs::read_to_string(client.known_hosts()).unwrap(), there);
    }
}

/// Warded reports lines that contradict its own, and never overrides them.
#[test]
fn what_stands_against_them_is_told() {
    let Some(client) = Client::start("bookworm") else { return };
    let key = client.key();
    let utf16 = utf16(&format!("web9.example {PIN}\r\n"));
    for (contents, words) in [
        ([b"\xff\xfe", utf16.as_slice()].concat(), &["foreign-encoding", "UTF-16", "iconv"][..]),
        (utf16.clone(), &["foreign-encoding", "without a byte order mark"]),
        (format!("web9 {PIN}\n@revoked * {key}\n").into_bytes(), &["revoked", "line 2"]),
        // At any place in the file.
        (format!("{}@revoked * {key}\n", client.line("/srv-ca")).into_bytes(), &["revoked", "line 2"]),
        (format!("@revoked [db.lab.test]:2222 {key}\n").into_bytes(), &["revoked", "line 1"]),
        (format!("@revoked {HASHED}{key}\n").into_bytes(), &["revoked", "line 1"]),
        (format!("@cert-authority *.lab.test,!db.lab.test {key}\n").into_bytes(), &["excluded", "db.lab.test"]),
    ] {
        client.knows(&contents);
        client.trusts().ends(1).says(words).says(&["nothing was changed"]);
        assert_eq!(fs::read(client.known_hosts()).unwrap(), contents);
    }
    // Also in another file that ssh reads.
    client.knows(b"");
    fs::write(client.file("/etc/ssh/ssh_known_hosts"), format!("@revoked *.lab.test {key}\n")).unwrap();
    client.trusts().ends(1).says(&["/etc/ssh/ssh_known_hosts line 1 revokes"]);
}

/// If the file cannot be replaced, Warded says so, with the command that repairs it.
#[test]
fn what_is_no_file_of_its_own_is_told() {
    let Some(client) = Client::start("trixie") else { return };
    for (script, words) in [
        ("ln known_hosts other", &["(a hard link)", "cp -p /home/ann/.ssh/known_hosts"][..]),
        ("rm known_hosts; mkdir known_hosts", &["a directory", "mv /home/ann/.ssh/known_hosts"]),
        ("rm known_hosts; mkfifo known_hosts", &["a FIFO", "mv /home/ann/.ssh/known_hosts"]),
        ("ln -sf /dev/null known_hosts", &["/dev/null: a device", "take the link away"]),
        ("ln -sf round known_hosts; ln -s known_hosts round", &["too many links", "namei -l"]),
        ("ln -sf /nowhere/hosts known_hosts", &["/nowhere/hosts", "rm /home/ann/.ssh/known_hosts"]),
    ] {
        client.sh("rm -rf /home/ann/.ssh; mkdir -m 700 /home/ann/.ssh; touch /home/ann/.ssh/known_hosts");
        client.sh(&format!("cd /home/ann/.ssh; {script}; chown -hR 1500:1500 ."));
        client.trusts().ends(1).says(words).says(&["nothing was changed"]);
    }
    client.sh(
        "rm -rf /home/ann/.ssh; mkdir -m 700 /home/ann/.ssh; mkdir -p /store; echo >/store/hosts; chmod 555 /store",
    );
    client.sh("ln -s /store/hosts /home/ann/.ssh/known_hosts; chown 1500:1500 /home/ann/.ssh /store/hosts");
    client.trusts().ends(5).says(&["it leads to /store/hosts", "its directory cannot be written by this user"]);
}

/// Proxmox VE keeps the system's file in the file system of its cluster; NixOS keeps it in its store.
#[test]
fn a_file_that_the_system_makes_itself_stays() {
    let Some(client) = Client::start("bookworm") else { return };
    client.root(&["apply", "certify-host", "--set", "principal=web1.lab.test", "--yes"]).ends(0);
    let apply = ["apply", "trust-host-ca", "--set", "domain=*.lab.test", "--yes"];
    let system = client.file("/etc/ssh/ssh_known_hosts");
    for (target, says) in [
        ("/etc/pve/priv/known_hosts", "the Proxmox VE cluster, which writes that file itself"),
        ("/nix/store/hash-ssh_known_hosts", "programs.ssh.knownHosts.warded = { certAuthority = true;"),
    ] {
        client.sh(&format!(
            "mkdir -p $(dirname {target}); echo 'web9.example {PIN}' >{target}; ln -sf {target} {}",
            "/etc/ssh/ssh_known_hosts"
        ));
        let before = fs::read(client.file(target)).unwrap();
        let run =
            client.root(&apply).ends(1).says(&["/etc/ssh/ssh_known_hosts stays as it is", says, "nothing was changed"]);
        assert_eq!(fs::read(client.file(target)).unwrap(), before);
        assert!(system.is_symlink());
        if target.contains("pve") {
            // The suggested command does what it is for.
            let said = run.stderr.clone();
            client.sh(said.lines().find_map(|line| line.split_once("beside it: ")).unwrap().1);
            assert!(client.reaches("web1.lab.test") && !client.reaches("web1.other.test"));
            client.sh("rm /etc/ssh/ssh_known_hosts2");
        }
    }
}
