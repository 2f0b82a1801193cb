//! Private keys appear in nothing that Warded writes or prints, except for the journal's own copies. They also never
//! cross into a guest, which here prints all of its memory.

use crate::support::{
    Grants, Machine, Run,
    machine::{KEYS, tree},
    script::{Argument::Expression, Argument::Number, Argument::Text, Argument::Texts, Script},
};
use ssh_key::{PrivateKey, private::KeypairData};
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// What private key files contain and public ones do not: the last lines of each file, and the numbers themselves.
fn secrets(machine: &Machine) -> Vec<Vec<u8>> {
    let hosts = KEYS.iter().map(|name| machine.path(&format!("ssh/ssh_host_{name}_key")));
    let mut found = Vec::new();
    for path in hosts.chain(["ca/host_ca", "ca/user_ca", "ssh/made"].map(|name| machine.path(name))) {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let body: Vec<&str> = text.lines().filter(|line| !line.starts_with('-')).collect();
        assert!(body.len() >= 3, "{}", path.display());
        found.extend(body[body.len() - 2..].iter().map(|line| line.as_bytes()[..line.len().min(24)].to_vec()));
        found.extend(numbers(&text));
    }
    found.push(b"PRIVATE KEY".to_vec());
    found
}

/// The numbers of a private key that are not in its public half, as bytes.
fn numbers(text: &str) -> Vec<Vec<u8>> {
    match PrivateKey::from_openssh(text).unwrap().key_data() {
        KeypairData::Ed25519(pair) => vec![pair.private.to_bytes().to_vec()],
        KeypairData::Ecdsa(pair) => vec![pair.private_key_bytes().to_vec()],
        KeypairData::Rsa(pair) => {
            let private = &pair.private;
            [&private.d, &private.p, &private.q].map(|number| number.as_positive_bytes().unwrap().to_vec()).to_vec()
        }
        other => panic!("a kind of key that these tests do not know: {other:?}"),
    }
}

fn holds<'a>(bytes: &[u8], secrets: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
    secrets.iter().find(|secret| bytes.windows(secret.len()).any(|window| window == secret.as_slice()))
}

#[test]
fn no_private_key_is_written_or_told() {
    let machine = Machine::stopped();
    let mut said = Vec::new();
    let mut tell = |run: Run| {
        said.extend(run.stdout.into_bytes());
        said.extend(run.stderr.into_bytes());
    };
    // A key is made, kept, shown in an undo, and undone; and every command runs on the others.
    let mut maker = Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
    maker.does("keys.ensure", &[Text(b"{dir}/ssh/made"), Text(b"ssh-ed25519")]);
    let grants = Grants::of(&[&format!("keys = [\"{}\"]", machine.path("ssh/made").display())]);
    grants.write(&machine.path("policies"), "case", "go", &maker.component());
    tell(machine.warded(["plan", "go", "--policy", "case", "--json"]).ends(3));
    tell(machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(0));
    let secrets = secrets(&machine);
    assert!(secrets.len() >= 21, "the key that was made is among them");
    tell(machine.warded(["apply", "certify-host", "--set", "principal=localhost", "--yes", "--json"]).ends(0));
    tell(machine.warded(["renew", "--force", "--json"]).ends(0));
    tell(machine.warded(["status", "--json"]));
    tell(machine.warded(["policy", "list", "--json"]));
    for _ in 0..3 {
        tell(machine.warded(["undo", "--yes", "--json"]).ends(0));
    }
    tell(machine.warded(["audit", "log", "--json"]).ends(0));
    assert_eq!(holds(&said, &secrets), None, "in what was said");

    let runs = machine.path("state/runs");
    for (path, (_, _, _, contents)) in tree(&machine.path("state")) {
        let name = path.to_str().unwrap().as_bytes();
        assert_eq!(holds(name, &secrets), None, "in the name of {}", path.display());
        if holds(&contents, &secrets).is_some() {
            assert!(path.starts_with(&runs), "{} holds a private key", path.display());
            only_ours(&path);
            only_ours(&runs);
        }
    }
    for directory in ["policies", "config.toml"] {
        let path = machine.path(directory);
        let files = if path.is_dir() {
            tree(&path).into_values().map(|found| found.3).collect()
        } else {
            vec![fs::read(&path).unwrap()]
        };
        assert!(files.iter().all(|contents| holds(contents, &secrets).is_none()), "{directory}");
    }
}

fn only_ours(path: &Path) {
    let found = fs::metadata(path).unwrap();
    assert_eq!(found.permissions().mode() & 0o077, 0, "{} is open to others", path.display());
    assert_eq!(found.uid(), fs::metadata("/proc/self").unwrap().uid(), "{}", path.display());
}

#[test]
fn no_private_key_is_in_a_guests_memory() {
    let machine = Machine::stopped();
    machine.certify();
    let mut guest = Script::new(machine.path("").to_str().unwrap().trim_end_matches('/'));
    for path in ["{dir}/ssh/ssh_host_rsa_key", "{dir}/ssh/ssh_host_ed25519_key", "{dir}/ssh/made"] {
        guest.tries("files.read", &[Text(path.as_bytes())]);
    }
    guest.tries("keys.open", &[Text(b"{dir}/ssh/ssh_host_rsa_key")]);
    guest.tries("keys.ensure", &[Text(b"{dir}/ssh/made"), Text(b"ssh-ed25519")]).takes(4);
    for part in ["path", "algorithm", "public-key"] {
        guest.tries(&format!("keys.[method]key-pair.{part}"), &[Expression("(local.get $h)")]);
    }
    guest.tries("authority.issue", &[Expression("(local.get $h)"), Number(0), Texts(&[b"localhost"])]);
    guest.tries("files.read", &[Text(b"{dir}/ssh/made")]);
    guest.tries("authority.roots", &[Number(0)]).tries("authority.roots", &[Number(1)]);
    guest.tries("keys.host-keys", &[]).takes_first();
    guest.tries("keys.[method]key-pair.public-key", &[Expression("(local.get $h)")]);
    guest.tries("authority.read", &[Text(b"{dir}/ssh/ssh_host_rsa_key-cert.pub")]);
    guest.tries("authority.read", &[Text(b"{dir}/ssh/ssh_host_rsa_key")]);
    guest.tries("sshd.effective", &[Text(b"hostkey"), Number(0), Number(0)]);
    tells_its_memory(&mut guest);
    let at = |name: &str| machine.path(name).display().to_string();
    let grants = Grants::of(&[
        &format!("files.read = [\"{}/*\"]", at("ssh")),
        &format!("keys = [\"sshd-host-keys\", \"{}\", \"{}\"]", at("ssh/made"), at("ssh/ssh_host_rsa_key")),
        "authority = [\"roots host\", \"roots user\", \"issue host\"]",
        "certificates = [\"beside-key\"]",
        "sshd.effective = true",
        "log = [\"info\"]",
    ]);
    grants.write_confirming(&machine.path("policies"), "case", "go", &guest.component());
    let run =
        machine.warded(["apply", "go", "--policy", "case", "--set", "principal=localhost", "--yes", "--json"]).ends(0);
    let told = run.object("warded.apply/1");
    let mut memory = Vec::new();
    for message in told["messages"].as_array().unwrap() {
        let text = message["text"].as_str().unwrap();
        memory.extend(
            text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()),
        );
    }
    let told = |words: &str| memory.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(
        memory.len() > 100_000 && told("AAAAC3NzaC1lZDI1NTE5AAAA") && told("holds a private key"),
        "it is its memory"
    );
    assert_eq!(holds(&memory, &secrets(&machine)[..]).filter(|secret| secret.as_slice() != b"PRIVATE KEY"), None);
}

/// Prints all of the memory that was used, from its beginning, in hexadecimal: 496 bytes a line.
fn tells_its_memory(guest: &mut Script) {
    let say = guest.call("log.info", &[Number(3000), Number(992)]);
    guest.field(
        r#"(func $digit (param i32) (result i32) (i32.add (local.get 0)
             (select (i32.const 48) (i32.const 87) (i32.lt_u (local.get 0) (i32.const 10)))))"#,
    );
    guest.raw(&format!(
        "(local.set $i (i32.const 0)) (loop $line (local.set $h (i32.const 0)) (loop $byte \
           (i32.store8 (i32.add (i32.const 3000) (i32.shl (local.get $h) (i32.const 1))) \
             (call $digit (i32.shr_u (i32.load8_u (i32.add (local.get $i) (local.get $h))) (i32.const 4)))) \
           (i32.store8 (i32.add (i32.const 3001) (i32.shl (local.get $h) (i32.const 1))) \
             (call $digit (i32.and (i32.load8_u (i32.add (local.get $i) (local.get $h))) (i32.const 15)))) \
           (br_if $byte (i32.lt_u (local.tee $h (i32.add (local.get $h) (i32.const 1))) (i32.const 496)))) \
         {say} (br_if $line (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 496))) (i32.const 130000)))) "
    ));
}
