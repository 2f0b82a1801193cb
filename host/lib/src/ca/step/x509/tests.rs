use super::*;

/// `openssl req -x509 -subj '/O=Lab "one"/CN=Lab, Inc. Root CA'`, with three alternative names.
const COMMA: &str = "-----BEGIN CERTIFICATE-----
MIIB5zCCAY2gAwIBAgIUCbdC7Mycb89sTxcR8oEXKhRxJYQwCgYIKoZIzj0EAwIw
MDESMBAGA1UECgwJTGFiICJvbmUiMRowGAYDVQQDDBFMYWIsIEluYy4gUm9vdCBD
QTAeFw0yNjExMjgxMTAzMTBaFw0zNjExMjUxMTAzMTBaMDAxEjAQBgNVBAoMCUxh
YiAib25lIjEaMBgGA1UEAwwRTGFiLCBJbmMuIFJvb3QgQ0EwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAAQ+EAh+UB0o8BoT9Mpo3ZNvPvZlcqobL7Vmpmd5OW0OBb3A
2t74JYQFnFZ9tfnDyz0hylxUglA8h1gVpvNKNP7bo4GEMIGBMB0GA1UdDgQWBBQ2
dzxR4WCdqvEzJWoKQBpyUTOSkDAfBgNVHSMEGDAWgBQ2dzxR4WCdqvEzJWoKQBpy
UTOSkDAPBgNVHRMBAf8EBTADAQH/MC4GA1UdEQQnMCWCC0NBLkxhYi5UZXN0hwR/
AAABhxAAAAAAAAAAAAAAAAAAAAABMAoGCCqGSM49BAMCA0gAMEUCICFh7f7WOtaf
C42WxZqQzZtCvl5gNhjzLsdHKwnWxvesAiEAtEc5v1unl+PPmvop+LhQ6tx13pZs
iSo6DoAnUw4mGck=
-----END CERTIFICATE-----
";

/// `/CN=Plain Root`, with a wildcard.
pub(crate) const PLAIN: &str = "-----BEGIN CERTIFICATE-----
MIIBljCCATygAwIBAgIUFQBhmP/htPHmKbHjY2ugMfoG8lkwCgYIKoZIzj0EAwIw
FTETMBEGA1UEAwwKUGxhaW4gUm9vdDAeFw0yNjExMjgxMTAzMTBaFw0zNjExMjUx
MTAzMTBaMBUxEzARBgNVBAMMClBsYWluIFJvb3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQsu6lajyXM2rrX6wBGx/Px050ZQSSsxI03mY6gjoDf11Le0nB13Elo
fxxGS2JDNtA0mvwrfkoLfcQAM5/TxZW8o2owaDAdBgNVHQ4EFgQUj5/jSUkVdbDp
wKr3GI83a4yZs/0wHwYDVR0jBBgwFoAUj5/jSUkVdbDpwKr3GI83a4yZs/0wDwYD
VR0TAQH/BAUwAwEB/zAVBgNVHREEDjAMggoqLmxhYi50ZXN0MAoGCCqGSM49BAMC
A0gAMEUCIQDPYYCW6j5MHY37/GWYe2dd7y70eg1GKrlZFI0hsbkeJQIgf8ddFP5I
xIp51JNu4mqfVvVnQbc2XGCIhGzShkxdkE8=
-----END CERTIFICATE-----
";

#[test]
fn a_subject_is_shown_whole() {
    let comma = X509::parse(COMMA.as_bytes()).unwrap();
    assert_eq!(comma.subject, r#"CN="Lab, Inc. Root CA",O="Lab \"one\"""#);
    assert_eq!(comma.names, ["CA.Lab.Test", "127.0.0.1", "::1"]);
    let plain = X509::parse(PLAIN.as_bytes()).unwrap();
    assert_eq!((plain.subject.as_str(), plain.key), ("CN=Plain Root", "ECDSA"));
    assert_eq!(plain.names, ["*.lab.test"]);
    assert_eq!(X509::of_der(&plain.der).unwrap(), plain);
}

/// Files in the forms of `step ca roots`, `openssl s_client -showcerts` and editors.
#[test]
fn every_certificate_of_a_file_is_read() {
    let crlf = format!("{COMMA}{PLAIN}").replace('\n', "\r\n");
    let mark = format!("\u{feff}{COMMA}{PLAIN}");
    let between = format!("subject=one\u{a0}\n{COMMA}\n# two\n{PLAIN}\n");
    for text in [format!("{COMMA}{PLAIN}"), crlf, mark, between] {
        let found: Vec<String> =
            X509::parse_all(text.as_bytes()).unwrap().into_iter().map(|found| found.subject).collect();
        assert_eq!(found.len(), 2, "{text}");
        assert_eq!(found[1], "CN=Plain Root");
    }
    for (wrong, why) in [
        ("", "not an X.509 certificate"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no X.509 certificate"),
        (&PLAIN[..300], "not an X.509 certificate in PEM"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not an X.509 certificate"),
    ] {
        let error = X509::parse_all(wrong.as_bytes()).unwrap_err();
        assert!(error.contains(why), "{wrong}: {error}");
    }
}

#[test]
fn a_certificate_holds_to_its_last_second() {
    let plain = X509::parse(PLAIN.as_bytes()).unwrap();
    for (now, fault) in [
        (plain.from - 1, Some("holds only from 2026-11-28 on")),
        (plain.from, None),
        (plain.until, None),
        (plain.until + 1, Some("expired on 2036-11-25")),
    ] {
        assert_eq!(plain.out_of_time(now).as_deref(), fault, "{now}");
    }
    assert_eq!(day(253_402_300_799), "9999-12-31");
}
