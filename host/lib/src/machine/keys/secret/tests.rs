use super::*;
use crate::machine::keys::testing::{TYPES, Workshop};
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::{fs, process::Command};

/// A private key of WireGuard, and one of RFC 8037, A.1.
const WIREGUARD: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";
const OKP: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// Checks the detection on a file with a private key and on the same file with only the public key.
#[track_caller]
fn tells(private: &[u8], public: &[u8], what: &str) {
    assert!(holds_private_key(private), "not known as private: {what}: {}", String::from_utf8_lossy(private));
    assert!(!holds_private_key(public), "taken for private: {what}: {}", String::from_utf8_lossy(public));
}

fn openssl(workshop: &Workshop, arguments: &[&str]) -> Vec<u8> {
    let made = Command::new("openssl").args(arguments).current_dir(workshop.path("")).output().unwrap();
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
    made.stdout
}

/// Splits a text into lines as tools do.
fn wrapped(text: &str, width: usize) -> String {
    text.as_bytes().chunks(width).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

#[test]
fn a_key_is_known_in_any_wrapping() {
    let workshop = Workshop::new();
    for (at, options) in TYPES.iter().enumerate() {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            let name = format!("key-{at}-{format}");
            workshop.key(&name, &[options, &["-m", format][..]].concat());
            let private = fs::read_to_string(workshop.path(&name)).unwrap();
            let public = fs::read_to_string(workshop.path(&format!("{name}.pub"))).unwrap();
            let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
            let both = |wrap: &dyn Fn(&str) -> Vec<u8>| tells(&wrap(&private), &wrap(&public), &name);
            both(&|text| text.into());
            both(&|text| format!("\u{feff}{text}").into());
            both(&|text| format!("junk\r\n{}", text.replace('\n', "\r\n")).into());
            both(&|text| text.lines().map(|line| format!("> \"{line}\"\n")).collect::<String>().into());
            both(&|text| serde_json::to_string(&[text]).unwrap().into());
            both(&|text| [&[0xff, 0xfe], &utf16(text)[..]].concat());
            // As secrets are stored in JSON and YAML.
            both(&|text| STANDARD.encode(text).into());
            both(&|text| serde_json::json!({ "host_key": STANDARD.encode(text) }).to_string().into());
            both(&|text| wrapped(&STANDARD.encode(text), 76).into());
            both(&|text| format!("  key: {}\n", URL_SAFE_NO_PAD.encode(format!("\n{text}"))).into());
            // Without the lines that name the format.
            let body: Vec<&str> = private.lines().filter(|line| !line.starts_with('-')).collect();
            for body in [body.join("\n"), body.concat(), wrapped(&body.concat(), 16)] {
                tells(body.as_bytes(), public.as_bytes(), &name);
            }
            tells(format!("key: \"{}\"\n", body.concat()).as_bytes(), public.as_bytes(), &name);
        }
    }
}

#[test]
fn der_is_known_in_base64() {
    let workshop = Workshop::new();
    for algorithm in [&["ed25519"][..], &["rsa"], &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]] {
        let (key, public) = ("key.pem", ["pkey", "-in", "key.pem", "-pubout", "-outform", "DER"]);
        openssl(&workshop, &[&["genpkey", "-out", key, "-algorithm"], algorithm].concat());
        let request = ["req", "-new", "-key", key, "-subj", "/CN=x", "-outform", "DER"];
        let certificate = ["req", "-new", "-x509", "-key", key, "-subj", "/CN=x", "-outform", "DER"];
        let publics = [&public[..], &request, &certificate].map(|arguments| openssl(&workshop, arguments));
        let encrypted = ["pkcs8", "-topk8", "-in", key, "-outform", "DER", "-passout", "pass:x"];
        let plain = ["pkcs8", "-topk8", "-in", key, "-outform", "DER", "-nocrypt"];
        for private in [&plain[..], &encrypted].map(|arguments| openssl(&workshop, arguments)) {
            for public in &publics {
                tells(&private, public, "DER");
                for encode in [|der: &[u8]| STANDARD.encode(der), |der: &[u8]| URL_SAFE_NO_PAD.encode(der)] {
                    let (private, public) = (encode(&private), encode(public));
                    tells(private.as_bytes(), public.as_bytes(), "base64");
                    tells(format!("key={private}").as_bytes(), format!("key={public}").as_bytes(), "a setting");
                    tells(wrapped(&private, 64).as_bytes(), wrapped(&public, 64).as_bytes(), "lines");
                }
            }
        }
    }
}

#[test]
fn json_web_keys_with_their_private_member_are_known() {
    let public = OKP.replace(r#""d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","#, "");
    assert_ne!(public, OKP);
    for wrap in [
        |key: &str| key.to_owned(),
        |key: &str| format!("{{\n  \"keys\": [ {} ]\n}}", key.replace(':', " : ")),
        |key: &str| serde_json::to_string(&[key]).unwrap(),
        |key: &str| key.replace('"', "'"),
        |key: &str| STANDARD.encode(key),
        |key: &str| format!("jwk: {}", URL_SAFE_NO_PAD.encode(format!("{{ {}", &key[1..]))),
        |key: &str| wrapped(&STANDARD.encode(key), 76),
    ] {
        tells(wrap(OKP).as_bytes(), wrap(&public).as_bytes(), "JWK");
    }
    let yaml = "- kty: OKP\n  crv: Ed25519\n  d: nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\n  x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMl\n";
    let toml = "[key]\nkty = \"EC\"\ncrv = \"P-256\"\nd = \"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE\"\n";
    let inline = "key: {kty: OKP, crv: Ed25519, d: nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A}\n";
    for (key, from) in [(yaml, "  d:"), (toml, "\nd ="), (inline, " d:")] {
        tells(key.as_bytes(), key.replace(from, &from.replace('d', "kid")).as_bytes(), "JWK without quotes");
    }
    tells(br#"{"kty":"oct","k":"c2VjcmV0"}"#, br#"{"kty":"EC","kid":"d","use":"k"}"#, "symmetric");
}

#[test]
fn keys_of_name_servers_signers_and_tor_are_known_by_their_formats() {
    let long = "A".repeat(200);
    for (private, public, what) in [
        (
            "Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\nModulus: 4Hh4\n".to_owned(),
            "example.org. IN DNSKEY 257 3 8 AwEAAeB4eA==\n".to_owned(),
            "BIND",
        ),
        ("PrivateExponent: Bw==\n".to_owned(), "PublicExponent: AQAB\n".to_owned(), "BIND's number"),
        (
            format!("untrusted comment: minisign encrypted secret key\nRWRTY0Iy{long}\n"),
            "untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n"
                .to_owned(),
            "minisign",
        ),
        (format!("RWQAAEIy{long}"), format!("RWQAAEIy{}", "A".repeat(48)), "minisign without a password"),
        (
            format!("untrusted comment: signify secret key\nRWRCSwAAAAA{}\n", "A".repeat(129)),
            "untrusted comment: signify public key\nRWRCSwVW1jJ2Ot5bTv0nYRmpJr7HKhpRXW5nYlRPkXFfLBJ8bXuBNWZD\n"
                .to_owned(),
            "signify",
        ),
        ("== ed25519v1-secret: type0 ==\0\0\0x".to_owned(), "== ed25519v1-public: type0 ==\0\0\0x".to_owned(), "Tor"),
    ] {
        tells(private.as_bytes(), public.as_bytes(), what);
    }
}

#[test]
fn wireguards_keys_are_known_by_their_names() {
    let conf = |name: &str, key: &str| format!("[Interface]\nAddress = 10.0.0.1/24\n{name}{key}\n[Peer]\n");
    for name in
        ["PrivateKey = ", "PrivateKey=", "privatekey=", "PresharedKey = ", "\toption private_key '", "private-key="]
    {
        tells(conf(name, WIREGUARD).as_bytes(), conf("PublicKey = ", WIREGUARD).as_bytes(), name);
        tells(conf(name, WIREGUARD).as_bytes(), conf(name, "/etc/wg/key").as_bytes(), name);
    }
    tells(format!("{WIREGUARD}\n").as_bytes(), b"not a key\n", "alone");
    tells(format!("private_key={}\n", "0f".repeat(32)).as_bytes(), b"private_key=\n", "hexadecimal");
}

#[test]
fn other_programs_keys_are_known() {
    for (private, public) in [
        (&b"SSH PRIVATE KEY FILE FORMAT 1.1\n\0\0\0\0\0\0\0\0\x04\0"[..], &b"1024 35 1234567 root@box\n"[..]),
        (b"\0\0\0\x0bssh-ed25519\0\0\0\x40seed", b"ssh-ed25519 AAAA"),
        (b"\xfe\xed\xfe\xed\0\0\0\x02", b"\xfe\xed"),
        (b"# created\nAGE-SECRET-KEY-1QQ", b"# public key: age1qq"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519", b"---- BEGIN SSH2 PUBLIC KEY ----"),
        (b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", b"-----BEGIN CERTIFICATE-----\nPRIVATE KEY"),
        (b"-----BEGIN PGP PRIVATE KEY BLOCK-----", b"-----BEGIN PGP PUBLIC KEY BLOCK-----"),
    ] {
        tells(private, public, "");
    }
    let config = fs::read("/etc/ssh/sshd_config").unwrap_or_default();
    assert!(!holds_private_key(&config) && !holds_private_key(b""));
}

/// A guest chooses what it stages. Quadratic time in the size of a file would be hours.
#[test]
fn a_large_file_takes_no_long_time() {
    let processor = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime).tv_sec;
    let start = processor();
    for text in ["ey\n", "ewogICJr\"d\":", "BEGIN ", "A", "PrivateKey=A\n", "\"\\\\"] {
        assert!(!holds_private_key(text.repeat((1 << 20) / text.len()).as_bytes()), "{text:?}");
    }
    assert!(processor() - start < 60, "{} s", processor() - start);
}

/// sshd and ssh quote every line of a file that is not a configuration.
#[test]
fn what_is_said_of_a_file_shows_no_key() {
    let key = crate::machine::keys::generate("ssh-ed25519", "x").unwrap().private;
    let quoted = |lines: &str| {
        lines
            .lines()
            .filter_map(|line| line.split(' ').next())
            .fold(String::new(), |all, word| all + "/f: line 1: Bad configuration option: " + word + "\n")
    };
    let said = quoted(&format!("NoSuchKeyword\n{}", key.as_str()));
    let shown = without_private_key(&said);
    assert!(
        shown.contains("NoSuchKeyword") && shown.contains("/f: line 1: Bad configuration option: -----BEGIN"),
        "{shown}"
    );
    assert!(shown.ends_with("the rest is not shown: it may quote a private key"), "{shown}");
    assert!(key.lines().skip(1).all(|line| !shown.contains(line)), "{shown}");
    let plain = quoted("NoSuchKeyword\nAnother");
    assert_eq!(without_private_key(&plain), plain);
    // As sshd words it, with only the first word of the mark, and without the mark.
    let body: String =
        key.lines().skip(1).map(|line| format!("/f line 2: no argument after keyword \"{line}\"\n")).collect();
    for said in [format!("/f: line 1: Bad configuration option: -----BEGIN\n{body}"), body] {
        let shown = without_private_key(&said);
        assert!(key.lines().skip(1).all(|line| !shown.contains(line)), "{shown}");
    }
}
