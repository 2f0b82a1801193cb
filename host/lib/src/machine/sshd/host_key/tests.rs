//! What sshd does with host keys, by its own messages and by files as users have them.

use super::*;
use crate::machine::{keys::testing::Workshop, sshd::Sshd};
use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt as _, process::Command};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A workshop with one key for each reason for which sshd ignores a key, and their names.
fn odd_keys() -> (Workshop, Vec<&'static str>) {
    let at = Workshop::new();
    at.key("good", &["-t", "ed25519"]);
    at.key("second", &["-t", "ed25519"]);
    at.key("short", &["-t", "rsa", "-b", "1024"]);
    at.key("open", &["-t", "ecdsa"]);
    mode(&at.path("open"), 0o640);
    at.keygen(&["-q", "-t", "ecdsa", "-N", "secret", "-f", "secret"]);
    at.keygen(&["-q", "-t", "ecdsa", "-N", "secret", "-m", "PEM", "-f", "old-secret"]);
    at.key("public", &["-t", "ecdsa"]);
    fs::copy(at.path("public.pub"), at.path("public")).unwrap();
    at.key("gone", &["-t", "ecdsa"]);
    fs::remove_file(at.path("gone")).unwrap();
    at.key("damaged", &["-t", "ecdsa"]);
    fs::write(at.path("damaged"), "damaged\n").unwrap();
    let whole = fs::read(at.path("secret")).unwrap();
    for (name, contents) in [("empty", &b""[..]), ("cut", &whole[..60]), ("junk", b"junk\n")] {
        fs::write(at.path(name), contents).unwrap();
        mode(&at.path(name), 0o600);
    }
    fs::create_dir(at.path("directory")).unwrap();
    let names = [
        "good",
        "good",
        "second",
        "short",
        "open",
        "secret",
        "old-secret",
        "public",
        "gone",
        "absent",
        "empty",
        "cut",
        "junk",
        "damaged",
        "directory",
    ];
    (at, names.to_vec())
}

/// The host keys of a configuration with these keys and more lines, by name, as this machine's sshd reports them.
fn seen(at: &Workshop, names: &[&str], lines: &str) -> Vec<(String, HostKey)> {
    let mut config = lines.to_owned();
    for name in names {
        writeln!(config, "HostKey {}", at.path(name).display()).unwrap();
    }
    fs::write(at.path("sshd_config"), config).unwrap();
    let config = at.path("sshd_config").canonicalize().unwrap();
    let sshd = Sshd::find(&config.as_path().try_into().unwrap(), None).unwrap().unwrap();
    let named = |key: HostKey| (key.path.file_name().unwrap().to_string_lossy().into_owned(), key);
    sshd.host_keys().unwrap().into_iter().map(named).collect()
}

#[test]
fn each_key_that_sshd_ignores_is_named_with_its_cause() {
    let (at, names) = odd_keys();
    let keys = seen(&at, &names, "");
    let expected: Vec<_> = names[1..].iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(keys.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
    let why = |name: &str| {
        let (_, key) = keys.iter().find(|(one, _)| one == name).unwrap();
        key.certifiable().map_or_else(|why| why.because(), |key| key.algorithm().to_string())
    };
    for (name, expected) in [
        ("good", "ssh-ed25519"),
        ("second", "comes first"),
        ("short", "an RSA key of 1024 bits, and none of less than 2048"),
        ("open", "its mode is 0640"),
        ("secret", "a passphrase"),
        ("old-secret", "a passphrase"),
        ("public", "the public key only"),
        ("gone", "the private key's file is not there"),
        ("absent", "no such file"),
        ("empty", "is empty"),
        ("cut", "no key can be read"),
        ("junk", "no key can be read"),
        ("damaged", "no key can be read"),
        ("directory", "not a regular file"),
    ] {
        assert!(why(name).contains(expected), "{name}: {}", why(name));
    }
    for (name, key) in &keys {
        if let Err(why) = key.certifiable() {
            let next = why.next(&key.path).unwrap_or_default();
            assert_eq!(next.is_empty(), name == "second", "{name}: {next}");
        }
    }
}

#[test]
fn a_key_below_the_required_size_is_not_offered() {
    let (at, _) = odd_keys();
    let keys = seen(&at, &["short", "good"], "RequiredRSASize 2048\n");
    let Standing::Ignored(why) = &keys[0].1.standing else { panic!("{keys:?}") };
    assert_eq!(*why, IgnoredReason::ShortRsa { bits: 1024, required: 2048 });
    assert_eq!(keys[1].1.standing, Standing::Loaded);
}

#[test]
fn the_same_key_by_two_paths_is_one_key() {
    let (at, _) = odd_keys();
    std::os::unix::fs::symlink("good", at.path("link")).unwrap();
    assert_eq!(seen(&at, &["good", "link", "directory/../good"], "").len(), 1);
}

#[test]
fn a_key_in_an_agent_is_offered() {
    let (at, _) = odd_keys();
    at.key("held", &["-t", "ecdsa"]);
    let socket = at.path("agent.sock");
    // The agent ends when its command ends, which ends at the end of its input.
    let mut agent = Command::new("ssh-agent")
        .arg("-a")
        .arg(&socket)
        .args(["sh", "-c", "ssh-add -q held && echo && exec cat"])
        .current_dir(at.path("."))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(agent.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    fs::remove_file(at.path("held")).unwrap();
    let keys = seen(&at, &["held.pub", "good"], &format!("HostKeyAgent {}\n", socket.display()));
    assert_eq!(keys[0].1.standing, Standing::InAgent { socket });
    assert_eq!(keys[0].1.private_path(), keys[0].1.path.with_extension(""));
    assert_eq!(keys[0].1.certifiable().unwrap().algorithm().as_str(), "ecdsa-sha2-nistp256");
    let without = seen(&at, &["held.pub", "good"], "");
    assert_eq!(without[0].1.standing, Standing::Ignored(IgnoredReason::PublicOnly));
    let nowhere = seen(&at, &["held", "good"], "HostKeyAgent /nowhere\n");
    assert_eq!(nowhere[0].1.standing, Standing::Ignored(IgnoredReason::PublicOnly));
    let without = seen(&at, &["held", "good"], "");
    assert_eq!(without[0].1.standing, Standing::Ignored(IgnoredReason::NoPrivateKey));
    drop(agent.stdin.take());
    agent.wait().unwrap();
}

/// The output of four releases: 8.4, 9.2, 10.0, 10.6.
#[test]
fn sshds_words_are_read() {
    let stdout = "port 22\nhostkeyagent none\nhostkey /n/rsa\nhostkey /n/ecdsa\nhostkey /n/gone\n";
    for (stderr, expected) in [
        ("debug1: private host key #0: ssh-rsa SHA256:x\r\ndebug1: Unable to load host key: /n/ecdsa\r\n", 2),
        ("debug1: private host key #0: ssh-rsa MD5:f6:81\nUnable to load host key: /n/ecdsa\n", 3),
    ] {
        let stderr = format!("{stderr}Unable to load host key: /n/gone\n");
        let keys = read(stdout, &stderr);
        assert_eq!(keys.len(), expected, "{keys:?}");
        assert_eq!(keys, read(&stdout.replace("hostkey", "HostKey"), &stderr));
        assert_eq!(keys[0].standing, Standing::Loaded);
        assert_eq!(keys.last().unwrap().standing, Standing::Ignored(IgnoredReason::Missing));
    }
    let agent = "debug1: will rely on agent for hostkey /n/rsa\ndebug1: agent host key #0: ssh-rsa SHA256:x\n";
    let socket = "/run/agent";
    let standing =
        |agent_line: &str| read(&format!("hostkey /n/rsa\nhostkeyagent {agent_line}\n"), agent)[0].standing.clone();
    assert_eq!(standing(socket), Standing::InAgent { socket: socket.into() });
    assert_eq!(standing("SSH_AUTH_SOCK"), Standing::Ignored(IgnoredReason::UnknownAgent));
    let said = HostKeyReport::read(stdout, "error: main: Host key /n/rsa: Invalid key length\n");
    assert_eq!(said.words(Path::new("/n/rsa")), "Invalid key length");
    let said = HostKeyReport::read(stdout, "Unable to load host key \"/n/rsa\": bad permissions\n");
    assert_eq!(said.words(Path::new("/n/rsa")), "bad permissions");
}

/// A type that OpenSSH 10.6 makes by default and `ssh-key` 0.6 cannot read.
#[test]
fn a_type_that_is_not_known_stays_offered() {
    let name = "ssh-mldsa44-ed25519";
    let blob = [&[0, 0, 0, 19], name.as_bytes(), &[0, 0, 0, 2, 7, 8]].concat();
    let key = HostKey {
        path: "/etc/ssh/ssh_host_mldsa44_ed25519_key".into(),
        public: Some(RawPublicKey::from_blob(&blob).unwrap()),
        standing: Standing::Loaded,
        release: None,
    };
    let why = key.certifiable().unwrap_err();
    assert_eq!(why, UncertifiedReason::UnknownType(name.to_owned()));
    assert!(why.because().contains("goes on offering it") && why.next(&key.path).is_none());
}

#[test]
fn what_a_release_cannot_serve_is_not_certified() {
    let public = |algorithm| {
        let key = PrivateKey::random(&mut OsRng, algorithm).unwrap();
        Some(RawPublicKey::from_blob(&key.public_key().to_bytes().unwrap()).unwrap())
    };
    let (ed25519, rsa) = (public(Algorithm::Ed25519), public(Algorithm::Rsa { hash: None }));
    let in_agent = || Standing::InAgent { socket: "/run/agent".into() };
    for (public, standing, release, expected) in [
        (&ed25519, in_agent(), Some((8, 4)), Some(UncertifiedReason::InAgent)),
        (&ed25519, in_agent(), Some((9, 2)), None),
        (&ed25519, in_agent(), None, None),
        (&ed25519, Standing::Loaded, Some((7, 5)), None),
        (&rsa, Standing::Loaded, Some((7, 5)), Some(UncertifiedReason::SignsBySha1)),
        (&rsa, Standing::Loaded, Some((7, 8)), None),
    ] {
        let key = HostKey { path: "/etc/ssh/key".into(), public: public.clone(), standing, release };
        let why = key.certifiable().err();
        assert_eq!(why, expected, "{release:?}");
        assert!(why.is_none_or(|why| why.because().contains("goes on offering") && why.next(&key.path).is_none()));
    }
}
