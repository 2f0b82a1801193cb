//! A CA with a fault differs from a real CA only in that fault.

use super::{
    super::{
        Run,
        https::{Answer, ENOUGH, Https},
        jwk::Jwk,
        network::Network,
        request::{claims, for_host, renewal, signing},
        step_ca::StepCa,
    },
    Connection, Fault, HostileCa, Lie, Manner, NAME,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::{Timestamp, fmt::rfc2822};
use serde_json::{Map, Value, json};
use ssh_key::{Certificate, PublicKey, certificate::CertType};
use std::{
    fs, io,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

const HEALTH: &str = "/health";

fn start(fault: Fault) -> HostileCa {
    HostileCa::start(&Network::default(), fault)
}

fn sign(https: &Https, provisioner: &Jwk, host_key: &Jwk) -> Value {
    let token = provisioner.token(&for_host(claims(https, "admin", "sign"), &["web1.example.org"]));
    https.post("/1.0/ssh/sign", &signing(&token, host_key)).unwrap().ok(201)
}

/// The certificate in an answer.
fn certificate(answer: &Value) -> Certificate {
    Certificate::from_bytes(&BASE64_STANDARD.decode(answer["crt"].as_str().unwrap()).unwrap()).unwrap()
}

/// The names and types of everything in an answer.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(Map::from_iter(members.iter().map(|(name, member)| (name.clone(), shape(member)))))
        }
        Value::Array(entries) => entries.iter().map(shape).collect(),
        Value::String(text) => if text.is_empty() { "nothing" } else { "text" }.into(),
        Value::Number(_) | Value::Bool(_) | Value::Null => value.clone(),
    }
}

#[test]
fn without_a_fault_it_is_like_the_real_one() {
    let Some(real) = StepCa::start(&Network::default()) else { return };
    let like = start(Fault::Nothing);
    assert_eq!(like.url(), format!("https://127.0.0.1:{}", like.https().port));
    let kid = |https: &Https| {
        let listed = https.get("/provisioners").unwrap().ok(200);
        listed["provisioners"][0]["key"]["kid"].as_str().unwrap().to_owned()
    };
    let paths = |https: &Https, fingerprint: &str| {
        [
            HEALTH.to_owned(),
            "/version".to_owned(),
            "/roots".to_owned(),
            format!("/root/{fingerprint}"),
            format!("/root/{}", "0".repeat(64)),
            "/1.0/provisioners?limit=100".to_owned(),
            format!("/provisioners/{}/encrypted-key", kid(https)),
            "/ssh/roots".to_owned(),
        ]
    };
    let (ours, theirs) = (paths(&like.https(), &like.fingerprint()), paths(&real.https(), &real.fingerprint()));
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let (ours, theirs) = (like.https().get(ours).unwrap(), real.https().get(theirs).unwrap());
        assert_eq!(shape(&ours.ok(ours.status)), shape(&theirs.ok(ours.status)));
        for name in ["Content-Type: application/json", "Date: "] {
            assert!(
                ours.head.contains(name) && theirs.head.contains(name),
                "{name} in\n{}\n{}",
                ours.head,
                theirs.head
            );
        }
    }
    let host_key = Jwk::random();
    let certified =
        [(&like.https(), &Jwk::random()), (&real.https(), real.key("admin"))].map(|(https, provisioner)| {
            let signed = sign(https, provisioner, &host_key);
            let renewal = renewal(https, "sshpop", &host_key, signed["crt"].as_str().unwrap());
            let renewed = https.post("/1.0/ssh/renew", &renewal).unwrap().ok(201);
            let (first, second) = (certificate(&signed), certificate(&renewed));
            assert_eq!((first.public_key(), first.key_id()), (second.public_key(), second.key_id()));
            let length = second.valid_before() - second.valid_after();
            (shape(&signed), shape(&renewed), second.cert_type(), second.valid_principals().to_vec(), length)
        });
    assert_eq!(certified[0], certified[1]);
    let mut rekey =
        renewal(&like.https(), "sshpop", &host_key, sign(&like.https(), &host_key, &host_key)["crt"].as_str().unwrap());
    let fresh = Jwk::random();
    rekey["publicKey"] = BASE64_STANDARD.encode(fresh.ssh().to_bytes().unwrap()).into();
    let rekeyed = certificate(&like.https().post("/ssh/rekey", &rekey).unwrap().ok(201));
    assert_eq!(rekeyed.public_key(), fresh.ssh().key_data());
    assert_eq!(rekeyed.valid_principals(), ["web1.example.org"]);
    assert_eq!(like.https().post("/ssh/revoke", &rekey).unwrap().ok(200), json!({ "status": "ok" }));
    let asked = like.requests();
    assert_eq!(asked.first().unwrap(), "GET /provisioners");
    assert_eq!(asked.last().unwrap(), "POST /ssh/revoke");
}

#[test]
fn its_certificates_lie_as_told() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for lie in [
        Lie::OtherKey,
        Lie::OtherKind,
        Lie::NoPrincipals,
        Lie::ExtraPrincipal,
        Lie::OtherPrincipal,
        Lie::UnknownSigner,
        Lie::BadSignature,
        Lie::Expired,
        Lie::NotYetValid,
    ] {
        let ca = start(Fault::Certificate(lie));
        let host_key = Jwk::random();
        let found = certificate(&sign(&ca.https(), &Jwk::random(), &host_key));
        let host = found.cert_type() == CertType::Host;
        let signer = PublicKey::from_openssh(&ca.authority(if host { "host" } else { "user" })).unwrap();
        let lies = [
            (Lie::OtherKey, found.public_key() != host_key.ssh().key_data()),
            (Lie::OtherKind, !host),
            (Lie::NoPrincipals, found.valid_principals().is_empty()),
            (Lie::ExtraPrincipal, found.valid_principals() == ["web1.example.org", "extra.example.org"]),
            (Lie::OtherPrincipal, found.valid_principals() == ["other.example.org"]),
            (Lie::UnknownSigner, found.signature_key() != signer.key_data()),
            (Lie::BadSignature, found.verify_signature().is_err()),
            (Lie::Expired, found.valid_before() < now),
            (Lie::NotYetValid, found.valid_after() > now + 3600),
        ];
        let told: Vec<Lie> = lies.into_iter().filter_map(|(lie, told)| told.then_some(lie)).collect();
        assert_eq!(told, [lie]);
    }
}

#[test]
fn it_signs_with_sha_1_as_told() {
    // ssh-key does not know this signature algorithm.
    let ca = start(Fault::Certificate(Lie::Sha1));
    let answer = sign(&ca.https(), &Jwk::random(), &Jwk::random());
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("key-cert.pub");
    let line = format!("ecdsa-sha2-nistp256-cert-v01@openssh.com {}\n", answer["crt"].as_str().unwrap());
    fs::write(&file, line).unwrap();
    let shown = Run::of(Command::new("ssh-keygen").arg("-Lf").arg(file)).ends(0).stdout;
    assert!(shown.contains("(using ssh-rsa)") && shown.contains("web1.example.org"), "{shown}");
}

#[test]
fn it_gives_things_for_certificates_that_are_none() {
    let crt = |lie: Lie| {
        let ca = start(Fault::Certificate(lie));
        let answer = sign(&ca.https(), &Jwk::random(), &Jwk::random())["crt"].clone();
        answer.as_str().map(|crt| BASE64_STANDARD.decode(crt))
    };
    let plain = crt(Lie::PlainKey).unwrap().unwrap();
    PublicKey::from_bytes(&plain).unwrap();
    crt(Lie::Noise).unwrap().unwrap_err();
    assert_eq!(crt(Lie::Missing), None);
    let forever = crt(Lie::Forever).unwrap().unwrap();
    assert!(forever.windows(16).any(|window| window == [[0; 8], [255; 8]].concat()));
}

#[test]
fn its_answers_are_wrong_as_told() {
    const SLOW: Duration = Duration::from_millis(3);
    let honest = br#"{"status":"ok"}"#;
    let is_page = |answer: &Answer, status: u16| {
        assert_eq!(answer.status, status);
        assert!(answer.body.starts_with(b"<!DOCTYPE html>"));
    };
    let got = |manner: Manner| {
        let ca = start(Fault::Answer(HEALTH, manner));
        ca.https().get("/version").unwrap().ok(200);
        let begun = Instant::now();
        (ca.https().get(HEALTH), begun.elapsed())
    };
    is_page(&got(Manner::Page(502)).0.unwrap(), 502);
    let refused = got(Manner::Refused(401)).0.unwrap().ok(401);
    assert!(refused["message"].as_str().unwrap().contains("lacked necessary authorization"));
    let busy = got(Manner::Busy(7)).0.unwrap();
    is_page(&busy, 503);
    assert!(busy.head.contains("Retry-After: 7"));
    let redirect = got(Manner::Redirect("http://127.0.0.1:1/")).0.unwrap();
    is_page(&redirect, 302);
    assert!(redirect.head.contains("Location: http://127.0.0.1:1/"));
    assert_eq!(got(Manner::Truncated).0.unwrap().body, honest[..honest.len() / 2]);
    assert_eq!(got(Manner::Cut).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(got(Manner::Closed).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(got(Manner::Silent).0.unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let endless = got(Manner::Endless).0.unwrap();
    assert_eq!(u64::try_from(endless.head.len() + 4 + endless.body.len()).unwrap(), ENOUGH);
    assert_eq!(got(Manner::EndlessHead).0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let (answer, time) = got(Manner::Slow(SLOW));
    let answer = answer.unwrap();
    assert_eq!(answer.body, honest);
    assert!(time > SLOW * u32::try_from(answer.head.len() + honest.len()).unwrap(), "{time:?}");
}

#[test]
fn its_words_are_wrong_as_told() {
    let ca = start(Fault::OtherRoot);
    let root = ca.https().get(&format!("/root/{}", ca.fingerprint())).unwrap().ok(200);
    assert_ne!(root["ca"], ca.https().root);
    let listed = start(Fault::Pages).https().get("/provisioners").unwrap().ok(200);
    assert_eq!(listed["nextCursor"], "again");
    let listed = start(Fault::Iterations(1 << 31)).https().get("/provisioners").unwrap().ok(200);
    let encrypted = listed["provisioners"][0]["encryptedKey"].as_str().unwrap();
    assert!(header(encrypted).contains("\"p2c\":2147483648,"), "{}", header(encrypted));
    let answer = start(Fault::Clock(-3600)).https().get(HEALTH).unwrap();
    let date = answer.head.lines().find_map(|line| line.strip_prefix("Date: ")).unwrap();
    let date = rfc2822::DateTimeParser::new().parse_timestamp(date).unwrap();
    let behind = Timestamp::now().as_second() - date.as_second();
    assert!((3600..3610).contains(&behind), "{behind}");
}

fn header(encrypted: &str) -> String {
    let header = encrypted.split('.').next().unwrap();
    String::from_utf8(base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

#[test]
fn its_connections_are_wrong_as_told() {
    let closed = start(Fault::Connection(Connection::Closed)).https().get(HEALTH).unwrap_err().kind();
    assert!(matches!(closed, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{closed:?}");
    for (fault, reason) in [
        (Connection::Silent, "WouldBlock"),
        (Connection::Plain, "InvalidContentType"),
        (Connection::OtherRoot, "UnknownIssuer"),
        (Connection::OtherName, "NotValidForName"),
        (Connection::Expired, "Expired"),
    ] {
        let error = start(Fault::Connection(fault)).https().get(HEALTH).unwrap_err();
        assert!(format!("{error:?}").contains(reason), "{fault:?}: {error:?}");
    }
    let ca = start(Fault::Nothing);
    assert!(ca.url().contains(NAME));
}
