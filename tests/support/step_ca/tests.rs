//! The CA behaves as the tests assume.

use super::{
    super::{
        Machine, Run,
        https::Https,
        jwk::Jwk,
        missing,
        network::Network,
        request::{claims, for_host, renewal, signing},
    },
    Provisioner, Setup, StepCa,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use p256::ecdsa::SigningKey;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use ssh_key::Certificate;
use std::{fs, process::Command};

/// Gets a certificate for this machine from the provisioner `admin`.
fn enrol(ca: &StepCa, host_key: &Jwk) -> String {
    let token = ca.key("admin").token(&for_host(claims(&ca.https(), "admin", "sign"), &["web1.example.org"]));
    let answer = ca.https().post("/1.0/ssh/sign", &signing(&token, host_key)).unwrap().ok(201);
    answer["crt"].as_str().unwrap().to_owned()
}

/// The HTTP status of a renewal.
fn renews(ca: &StepCa, provisioner: &str, host_key: &Jwk, certificate: &str) -> u16 {
    let body = renewal(&ca.https(), provisioner, host_key, certificate);
    ca.https().post("/1.0/ssh/renew", &body).unwrap().status
}

/// The HTTP status of a request for these names.
fn signs(ca: &StepCa, provisioner: &str, names: &[&str]) -> u16 {
    let token = ca.key(provisioner).token(&for_host(claims(&ca.https(), provisioner, "sign"), names));
    ca.https().post("/ssh/sign", &signing(&token, &Jwk::random())).unwrap().status
}

fn certificate(encoded: &str) -> Certificate {
    Certificate::from_bytes(&BASE64_STANDARD.decode(encoded).unwrap()).unwrap()
}

/// A certificate that the CA could have issued yesterday, with this validity.
fn earlier(ca: &StepCa, host_key: &Jwk, window: &str) -> String {
    let file = ca.path("earlier.pub");
    fs::write(&file, host_key.ssh().to_openssh().unwrap()).unwrap();
    let key = ca.path("host_ca");
    let mut command = Command::new("ssh-keygen");
    command.arg("-qs").arg(key).args(["-I", "web1", "-h", "-n", "web1.example.org", "-V", window]).arg(file);
    Run::of(&mut command).ends(0);
    let line = fs::read_to_string(ca.path("earlier-cert.pub")).unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn it_certifies_and_renews() {
    let Some(ca) = StepCa::start(&Network::default()) else { return };
    let https = ca.https();
    assert_eq!(ca.url(), format!("https://127.0.0.1:{}", https.port));
    let root = https.get(&format!("/root/{}", ca.fingerprint())).unwrap().ok(200);
    assert_eq!(root["ca"].as_str().unwrap().trim(), ca.root().trim().replace("\r\n", "\n"));
    let roots = https.get("/ssh/roots").unwrap().ok(200);
    for (member, kind) in [("hostKey", "host"), ("userKey", "user")] {
        assert_eq!(roots[member][0].as_str(), ca.authority(kind).split_whitespace().nth(1));
    }
    // The key in the file is the one that signs, and the one that the CA hands out encrypted.
    let key: Value = serde_json::from_slice(&fs::read(ca.key_file("admin")).unwrap()).unwrap();
    assert_eq!(key, ca.key("admin").private());
    let listed = https.get("/provisioners").unwrap().ok(200);
    assert_eq!(listed["provisioners"][0]["key"]["kid"], ca.key("admin").id());
    let encrypted = https.get(&format!("/provisioners/{}/encrypted-key", ca.key("admin").id())).unwrap().ok(200);
    assert_eq!(encrypted["key"], listed["provisioners"][0]["encryptedKey"]);
    assert_eq!(fs::read_to_string(ca.password_file()).unwrap().trim_end(), super::PASSWORD);

    let host_key = Jwk::random();
    let first = enrol(&ca, &host_key);
    let body = renewal(&https, "sshpop", &host_key, &first);
    let second = https.post("/1.0/ssh/renew", &body).unwrap().ok(201);
    for encoded in [first.as_str(), second["crt"].as_str().unwrap()] {
        let certificate = certificate(encoded);
        assert_eq!(certificate.public_key(), host_key.ssh().key_data());
        assert_eq!(certificate.valid_principals(), ["web1.example.org"]);
        assert_eq!(
            certificate.signature_key(),
            ssh_key::PublicKey::from_openssh(&ca.authority("host")).unwrap().key_data()
        );
    }
}

#[test]
fn it_renews_what_has_expired_where_told_so() {
    let setup = Setup::of([
        Provisioner::jwk("admin").lasting("10m"),
        Provisioner::sshpop("sshpop"),
        Provisioner::sshpop("late").claim("allowRenewalAfterExpiry", true),
        Provisioner::sshpop("off").claim("disableRenewal", true),
    ]);
    let Some(ca) = StepCa::with(&Network::default(), &setup) else { return };
    let host_key = Jwk::random();
    let valid = enrol(&ca, &host_key);
    let lasts = certificate(&valid);
    assert_eq!(lasts.valid_before() - lasts.valid_after(), 660, "ten minutes, and the one before now");
    let expired = earlier(&ca, &host_key, "-2d:-1d");
    for (provisioner, certificate, status) in [
        ("sshpop", &valid, 201),
        ("late", &valid, 201),
        ("off", &valid, 401),
        ("sshpop", &expired, 401),
        ("late", &expired, 201),
        ("nobody", &valid, 401),
    ] {
        assert_eq!(renews(&ca, provisioner, &host_key, certificate), status, "{provisioner}: {}", ca.log());
    }
    assert!(ca.log().contains("expired"), "the true reason is in the log: {}", ca.log());
}

#[test]
fn it_refuses_what_it_is_told_to() {
    let setup = Setup {
        names: vec!["ca.example.org".to_owned(), "127.0.0.1".to_owned()],
        allowed: vec!["*.example.org".to_owned()],
        iterations: 600_000,
        ..Setup::of([
            Provisioner::acme("acme"),
            Provisioner::jwk("no-ssh").claim("enableSSHCA", false),
            Provisioner::jwk("admin"),
            Provisioner::x5c("x5c"),
            Provisioner::unreachable("login"),
        ])
    };
    let Some(mut ca) = StepCa::with(&Network::default(), &setup) else { return };
    let listed = ca.https().get("/provisioners").unwrap().ok(200);
    let types: Vec<_> = listed["provisioners"].as_array().unwrap().iter().map(|entry| &entry["type"]).collect();
    assert_eq!(types, ["ACME", "JWK", "JWK", "X5C", "OIDC"]);
    assert_eq!(listed["provisioners"][4]["state"], "Uninitialized");

    assert_eq!(signs(&ca, "admin", &["web1.example.org"]), 201, "{}", ca.log());
    assert_eq!(signs(&ca, "admin", &["web1.example.org", "web1.example.net"]), 403);
    assert_eq!(signs(&ca, "no-ssh", &["web1.example.org"]), 401);
    let x5c = x5c_token(&ca);
    let answer = ca.https().post("/ssh/sign", &signing(&x5c, &Jwk::random())).unwrap();
    assert_eq!(answer.status, 201, "{}", ca.log());

    assert_eq!(ca.url_by("127.0.0.1"), format!("https://127.0.0.1:{}", ca.https().port));
    let by = |ca: &StepCa, name: &str| Https { name: name.to_owned(), ..ca.https() }.get("/health");
    by(&ca, "127.0.0.1").unwrap().ok(200);
    by(&ca, "localhost").unwrap_err();
    ca.reconfigure(|config| config["dnsNames"] = json!(["ca.example.org"]));
    by(&ca, "127.0.0.1").unwrap_err();
    ca.https().get("/health").unwrap().ok(200);
}

/// A token for an X5C provisioner, signed with a certificate of the authority that the provisioner trusts.
fn x5c_token(ca: &StepCa) -> String {
    let (certificate, key) = ca.x5c();
    let key = PrivatePkcs8KeyDer::from_pem_file(key).unwrap();
    // The private number comes after its length, which follows the version of the inner structure.
    let begin = key.secret_pkcs8_der().windows(5).position(|five| five == [2, 1, 1, 4, 32]).unwrap() + 5;
    let key = Jwk::of(SigningKey::from_slice(&key.secret_pkcs8_der()[begin..begin + 32]).unwrap());
    let chain: Vec<String> = CertificateDer::pem_file_iter(certificate)
        .unwrap()
        .map(|certificate| BASE64_STANDARD.encode(certificate.unwrap()))
        .collect();
    let mut claims = for_host(claims(&ca.https(), "x5c", "sign"), &["web1.example.org"]);
    claims["aud"] = format!("{}#x5c/x5c", claims["aud"].as_str().unwrap()).into();
    key.token_with(&json!({ "x5c": chain }), &claims)
}

#[test]
fn it_signs_nothing_for_ssh_where_that_is_off() {
    let Some(ca) = StepCa::with(&Network::default(), &Setup { ssh: false, ..Setup::default() }) else { return };
    assert_eq!(ca.https().get("/ssh/roots").unwrap().status, 404);
    assert_eq!(signs(&ca, "admin", &["web1.example.org"]), 501, "{}", ca.log());
}

#[test]
fn it_stops_and_starts_again() {
    let Some(mut ca) = StepCa::start(&Network::default()) else { return };
    // A token from before the CA started.
    let old = |ca: &StepCa| {
        let mut claims = for_host(claims(&ca.https(), "admin", "sign"), &["web1.example.org"]);
        claims["iat"] = (claims["iat"].as_i64().unwrap() - 30).into();
        let token = ca.key("admin").token(&claims);
        ca.https().post("/ssh/sign", &signing(&token, &Jwk::random())).unwrap().status
    };
    assert_eq!(old(&ca), 401);
    ca.reconfigure(|config| config["authority"]["disableIssuedAtCheck"] = true.into());
    assert_eq!(old(&ca), 201, "{}", ca.log());
    ca.restart();
    ca.reload();
    assert_eq!(signs(&ca, "admin", &["web1.example.org"]), 201, "{}", ca.log());
    let https = ca.https();
    ca.stop();
    https.get("/health").unwrap_err();
    ca.serve();
    https.get("/health").unwrap().ok(200);
    drop(ca);
    https.get("/health").unwrap_err();
}

#[test]
fn it_can_be_in_a_machines_network() {
    if missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let Some(ca) = StepCa::start(&machine.network()) else { return };
    let https = ca.https();
    https.get("/health").unwrap().ok(200);
    Https { network: Network::default(), ..https }.get("/health").unwrap_err();
    // It ends with the machine, at the latest.
    drop(machine);
    drop(ca);
}
