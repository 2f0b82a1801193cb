//! Machines as administrators set them up. Warded certifies, renews and undoes; or it refuses, names the cause, and
//! leaves the machine as it was.

use crate::support::{
    ClientKnowledge, Peer, Run,
    machine::{NAME, tree},
};
use std::{
    fmt::Write as _,
    fs,
    net::UdpSocket,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{PermissionsExt as _, symlink},
    },
    path::Path,
};

const SET: &str = "principal=web1.example.org";

/// One of the machines below.
struct OddMachine {
    name: &'static str,
    suites: &'static [&'static str],
    prepare: fn(&Peer),
    /// What `apply` says if it refuses; empty if it does not.
    refused: &'static [&'static str],
    /// The types of the host keys that clients know.
    kinds: &'static [&'static str],
}

impl OddMachine {
    const PLAIN: Self =
        Self { name: "", suites: &["trixie"], prepare: |_| (), refused: &[], kinds: &["rsa", "ecdsa", "ed25519"] };
}

/// Changes the text of the main file.
fn main_file(peer: &Peer, change: impl FnOnce(String) -> String) {
    let config = peer.file("/etc/ssh/sshd_config");
    let stock = fs::read_to_string(&config).unwrap();
    fs::write(config, change(stock)).unwrap();
}

fn append(peer: &Peer, lines: &str) {
    main_file(peer, |text| text + lines);
}

fn drop_in(peer: &Peer, name: &str, text: &str) {
    fs::write(peer.file("/etc/ssh/sshd_config.d").join(name), text).unwrap();
}

/// Another CA's certificate for the Ed25519 key, named in a later line.
fn later_certificate(peer: &Peer) {
    let make = "cd /root && ssh-keygen -q -t ed25519 -N '' -f other && ssh-keygen -q -s other -I x -h -n web1 \
                /etc/ssh/ssh_host_ed25519_key.pub && mv /etc/ssh/ssh_host_ed25519_key-cert.pub /etc/ssh/theirs-cert.pub";
    Run::of(peer.command("sh").args(["-c", make])).ends(0);
    append(peer, "HostCertificate /etc/ssh/theirs-cert.pub\n");
}

#[expect(clippy::too_many_lines, reason = "the machines, one after the other")]
fn odd_servers() -> Vec<OddMachine> {
    vec![
        OddMachine {
            name: "a later HostCertificate line",
            prepare: later_certificate,
            refused: &[
                "theirs-cert.pub is read later",
                "/etc/ssh/sshd_config line ",
                "remove the line HostCertificate",
            ],
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "a DSA key, and keywords that are no more",
            suites: &["bookworm"],
            prepare: |peer| {
                Run::of(peer.command("ssh-keygen").args([
                    "-q",
                    "-t",
                    "dsa",
                    "-N",
                    "",
                    "-f",
                    "/etc/ssh/ssh_host_dsa_key",
                ]))
                .ends(0);
                append(
                    peer,
                    "Protocol 2\nUsePrivilegeSeparation sandbox\nKeyRegenerationInterval 3600\nServerKeyBits 1024\n\
                     RSAAuthentication yes\nRhostsRSAAuthentication no\nChallengeResponseAuthentication no\n\
                     HostKey /etc/ssh/ssh_host_rsa_key\nHostKey /etc/ssh/ssh_host_dsa_key\n\
                     HostKey /etc/ssh/ssh_host_ecdsa_key\nHostKey /etc/ssh/ssh_host_ed25519_key\n\
                     HostKeyAlgorithms +ssh-dss\n",
                );
            },
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "keywords that are no more",
            prepare: |peer| {
                append(peer, "Protocol 2\nUsePrivilegeSeparation yes\nUseLogin no\nKeyRegenerationInterval 1h\n");
            },
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "lines that end like those of Windows",
            suites: &["bookworm", "trixie"],
            prepare: |peer| main_file(peer, |text| text.replace('\n', "\r\n")),
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "an equals sign, and no last newline",
            suites: &["bookworm", "trixie"],
            prepare: |peer| append(peer, "Port = 22\nLoginGraceTime=60\nMatch User backup\n\tPermitTTY = no"),
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "no Include, an equals sign, and no last newline",
            prepare: |peer| {
                main_file(peer, |text| text.replace("Include ", "#Include ") + "Port = 22\nX11Forwarding=no");
            },
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "300 blocks",
            prepare: |peer| {
                let mut blocks = String::new();
                for n in 0..300 {
                    writeln!(blocks, "Match User u{n} Address 10.{}.0.0/16\n  ForceCommand /bin/c{n}", n % 256)
                        .unwrap();
                }
                append(peer, &blocks);
            },
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "algorithms that are taken away",
            suites: &["bookworm", "trixie"],
            prepare: |peer| append(peer, "HostKeyAlgorithms -rsa-sha2-*,ssh-rsa*\n"),
            kinds: &["ecdsa", "ed25519"],
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "2,000 names, and 400 drop-ins",
            prepare: |peer| {
                let mut users = fs::read_to_string(peer.file("/etc/passwd")).unwrap();
                for n in 0..2000 {
                    writeln!(users, "person{n}:x:{0}:{0}::/home/person{n}:/bin/sh", 2000 + n).unwrap();
                }
                fs::write(peer.file("/etc/passwd"), users).unwrap();
                for n in 0..400 {
                    drop_in(peer, &format!("{n:03}-theirs.conf"), &format!("# {n}\nAcceptEnv THEIRS_{n}\n"));
                }
            },
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "a program that is asked for keys",
            suites: &["bookworm", "trixie"],
            prepare: |peer| append(peer, "AuthorizedKeysCommand /usr/bin/false\nAuthorizedKeysCommandUser nobody\n"),
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "whatever else lies among the drop-ins",
            prepare: |peer| {
                let directory = peer.file("/etc/ssh/sshd_config.d");
                fs::create_dir(directory.join("90-old.conf")).unwrap();
                fs::write(directory.join("90-old.conf/inner.conf"), "NoSuchKeyword\n").unwrap();
                symlink("/dev/null", directory.join("80-masked.conf")).unwrap();
                symlink("/none", directory.join("README")).unwrap();
                for name in [".20-hidden.conf", "30-theirs.conf~", "40-theirs.conf.dpkg-old", "NOTES"] {
                    drop_in(peer, name, "NoSuchKeyword 7\n");
                }
                drop_in(peer, "50 with blanks.conf", "AcceptEnv BLANKS\n");
                fs::write(directory.join(std::ffi::OsStr::from_bytes(b"60-\xff.conf~")), "NoSuchKeyword\n").unwrap();
                drop_in(peer, "70-empty.conf", "");
                drop_in(peer, "71-no-newline.conf", "AcceptEnv LAST");
                Run::of(peer.command("mkfifo").arg("/etc/ssh/sshd_config.d/pipe")).ends(0);
            },
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "RSA keys that are too short for it",
            suites: &["bookworm", "trixie"],
            prepare: |peer| append(peer, "RequiredRSASize 4096\n"),
            kinds: &["ecdsa", "ed25519"],
            ..OddMachine::PLAIN
        },
        OddMachine {
            name: "users with their addresses",
            suites: &["bookworm", "trixie"],
            prepare: |peer| append(peer, "AllowUsers root@127.0.0.0/8 backup@10.0.0.* ann@192.0.2.1\n"),
            ..OddMachine::PLAIN
        },
    ]
}

fn connects(peer: &Peer, odd: &OddMachine) {
    for kind in odd.kinds {
        let key = fs::read_to_string(peer.file(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))).unwrap();
        peer.client(&ClientKnowledge::Keys(key)).connects();
    }
}

#[test]
fn odd_servers_are_certified_renewed_and_undone() {
    for odd in odd_servers() {
        for suite in odd.suites {
            let Some(peer) = Peer::prepared(suite, odd.prepare) else { return };
            eprintln!("{suite}: {}", odd.name);
            let configuration = || {
                let mut files = tree(&peer.file("/etc/ssh"));
                files.retain(|path, _| path.file_name() != Some(Path::new("moduli").as_os_str()));
                files
            };
            let before = configuration();
            connects(&peer, &odd);
            let apply = peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]);
            if !odd.refused.is_empty() {
                apply.ends(5).says(odd.refused).says(&["nothing was changed"]);
                assert!(before == configuration(), "{}", odd.name);
                connects(&peer, &odd);
                continue;
            }
            apply.ends(0);
            let authority = peer.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned();
            peer.client(&ClientKnowledge::Authority(authority.clone())).connects();
            connects(&peer, &odd);
            peer.warded(&["renew", "--force"]).ends(0);
            peer.client(&ClientKnowledge::Authority(authority)).connects();
            connects(&peer, &odd);
            peer.warded(&["undo", "--yes"]).ends(0);
            peer.warded(&["undo", "--yes"]).ends(0);
            assert!(before == configuration(), "{}: it is not as before", odd.name);
            connects(&peer, &odd);
        }
    }
}

/// Certificates and the drop-in are readable by everybody, whatever the umask.
#[test]
fn a_strict_umask_hides_no_certificate() {
    let Some(peer) = Peer::start("trixie", "") else { return };
    for line in ["apply certify-host --yes --set", "renew --force"] {
        let principal = if line.ends_with("--set") { SET } else { "" };
        let script = format!("umask 777; exec warded {line} {principal}");
        Run::of(peer.command("sh").env("WARDED_CA", "/root/ca").args(["-c", &script])).ends(0);
        for file in ["ssh_host_rsa_key-cert.pub", "ssh_host_ed25519_key-cert.pub", "sshd_config.d/50-warded.conf"] {
            let mode = fs::metadata(peer.file("/etc/ssh").join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o644, "{line}: {file} of {NAME}");
        }
        let mode = fs::metadata(peer.file("/var/lib/warded/enrolment.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{line}");
    }
}

/// What is configured to run at a login runs only at logins: no command of Warded's starts it, even with Debian's PAM
/// configuration.
#[test]
fn nothing_that_runs_at_a_login_runs() {
    for suite in ["bookworm", "trixie"] {
        let peer = Peer::prepared(suite, |peer| {
            let mark = "#!/bin/sh\necho \"$0 $*\" >>/run/marks\nexit 0\n";
            fs::create_dir_all(peer.file("/etc/update-motd.d")).unwrap();
            for path in ["/usr/bin/mark-pam", "/usr/bin/mark-force", "/usr/bin/mark-keys", "/etc/update-motd.d/00-mark"]
            {
                fs::write(peer.file(path), mark).unwrap();
                fs::set_permissions(peer.file(path), fs::Permissions::from_mode(0o755)).unwrap();
            }
            let pam = peer.file("/etc/pam.d/sshd");
            let stock = fs::read_to_string(&pam).unwrap();
            let marks = "auth optional pam_exec.so /usr/bin/mark-pam auth\naccount optional pam_exec.so /usr/bin/mark-pam account\n\
                         session optional pam_exec.so /usr/bin/mark-pam session\n";
            fs::write(pam, format!("{marks}{stock}")).unwrap();
            append(
                peer,
                "ForceCommand /usr/bin/mark-force\nAuthorizedKeysCommand /usr/bin/mark-keys\nAuthorizedKeysCommandUser root\n",
            );
        });
        let Some(peer) = peer else { return };
        let effective = Run::of(peer.command("/usr/sbin/sshd").arg("-T")).ends(0).stdout;
        assert!(effective.contains("usepam yes"), "{effective}");
        let marks = || fs::read_to_string(peer.file("/run/marks")).unwrap_or_default();
        peer.warded(&["plan", "certify-host", "--set", SET]).ends(3);
        peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
        peer.warded(&["renew", "--force"]).ends(0);
        peer.warded(&["undo", "--yes"]).ends(0);
        peer.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(marks(), "", "{suite}");
        // The marks work: a real login leaves them.
        let key = fs::read_to_string(peer.file("/etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        drop(peer.client(&ClientKnowledge::Keys(key)).tries());
        let seen = marks();
        assert!(
            ["mark-pam account", "mark-pam session", "00-mark", "mark-force"].iter().all(|one| seen.contains(one)),
            "{seen}"
        );
    }
}

/// No command asks a name server, even with Debian's PAM configuration; this one never answers.
#[test]
fn a_name_server_that_never_answers_is_not_asked() {
    for suite in ["bookworm", "trixie"] {
        let Some(peer) = Peer::start(suite, "") else { return };
        let silent = peer.network().on(|| UdpSocket::bind("127.0.0.53:53").unwrap());
        silent.set_nonblocking(true).unwrap();
        fs::write(peer.file("/etc/resolv.conf"), "nameserver 127.0.0.53\noptions timeout:1 attempts:1\n").unwrap();
        fs::write(peer.file("/etc/nsswitch.conf"), "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
            .unwrap();
        fs::write(peer.file("/etc/hosts"), "").unwrap();
        let asked = || {
            let mut bytes = [0; 512];
            std::iter::from_fn(|| silent.recv(&mut bytes).ok()).count()
        };
        peer.renews_by_cron();
        peer.warded(&["plan", "certify-host", "--set", SET]).ends(3);
        peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
        peer.warded(&["status"]).ends(0);
        peer.warded(&["renew", "--force"]).ends(0);
        peer.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(asked(), 0, "{suite}");
        // The stand-in works: a query of `ssh`'s is seen.
        drop(Run::of(peer.command("ssh").args(["-o", "BatchMode=yes", "nobody.example"])));
        assert!(asked() > 0, "{suite}");
    }
}
