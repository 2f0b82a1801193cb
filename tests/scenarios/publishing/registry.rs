//! Policies in an OCI registry: Debian's docker-registry, and registries that lie.

use super::{Desk, PUBLISHER};
use crate::support::{Run, missing, network::Network};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use warded_lib::digest::Digest;

pub(super) const ADDS: [&str; 1] = ["log = [\"info\"]"];

/// Debian's docker-registry on a loopback port.
pub(super) struct Registry {
    child: Child,
    pub(super) port: u16,
    data: PathBuf,
}

impl Registry {
    pub(super) fn start(desk: &Desk) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/docker-registry");
        let output = Command::new(script).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "tests/peers/docker-registry fails");
        let program = String::from_utf8(output.stdout).unwrap();
        let network = desk.machine.network();
        let (port, data) = (network.free_port(), desk.path("registry"));
        let passwords = desk.path("passwords");
        // `htpasswd -nbB u secret`
        fs::write(&passwords, format!("u:{}\n", HASH)).unwrap();
        let config = json!({
            "version": "0.1", "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": data}},
            "http": {"addr": format!("127.0.0.1:{port}")},
            "auth": {"htpasswd": {"realm": "r", "path": passwords}},
        });
        fs::write(desk.path("registry.yml"), config.to_string()).unwrap();
        let mut command = network.command(program.trim());
        let child = command.arg("serve").arg(desk.path("registry.yml")).stderr(Stdio::null()).stdout(Stdio::null());
        let child = child.spawn().unwrap();
        let begun = Instant::now();
        while network.on(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "the registry does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, port, data }
    }

    /// Writes the registry's user and password to where Warded looks for them.
    pub(super) fn has_login(&self, desk: &Desk) {
        let auths = json!({"auths": {format!("127.0.0.1:{}", self.port): {"auth": "dTpzZWNyZXQ="}}});
        fs::write(desk.path("auth.json"), auths.to_string()).unwrap();
    }
}

/// The hash of the password `secret`.
const HASH: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

pub(super) fn moved(desk: &Desk, words: &[&str]) -> Run {
    let mut command = desk.machine.warded_command(["policy"]);
    command.args(words).arg("--plain-http").env("REGISTRY_AUTH_FILE", desk.path("auth.json"));
    desk.recorded(&[&["policy"], words].concat(), || Run::of(&mut command))
}

pub(super) fn pull(desk: &Desk, reference: &str) -> Run {
    moved(desk, &["pull", reference, "-o", desk.path("pulled.wasm").to_str().unwrap()])
}

#[test]
fn a_signed_policy_goes_through_a_registry() {
    if missing::root() {
        return;
    }
    let desk = Desk::new();
    let registry = Registry::start(&desk);
    let file = desk.component("1.0.0", &ADDS);
    let at = format!("oci://127.0.0.1:{}/policies/mine", registry.port);
    let tag = format!("{at}:1.0.0");
    let push = || moved(&desk, &["push", file.to_str().unwrap(), &tag]);
    fs::write(desk.path("auth.json"), "{}").unwrap();
    push().ends(5).says(&["is not signed", "nothing was pushed"]);
    desk.sign(&file, PUBLISHER, "key").ends(0);
    push().ends(1).says(&["asks for credentials", "there are no credentials for it"]);
    registry.has_login(&desk);
    push().ends(0).prints(&["Pushed mine 1.0.0 as oci://127.0.0.1:", "@sha256:"]);
    push().ends(0).prints(&["There already: mine 1.0.0"]);

    let pulled = Run::of(
        desk.machine
            .warded_command([])
            .args(["policy", "pull", &tag, "--plain-http", "--json", "-o"])
            .arg(desk.path("pulled.wasm"))
            .env("REGISTRY_AUTH_FILE", desk.path("auth.json")),
    )
    .ends(0)
    .object("warded.policy-pull/1");
    assert_eq!((&pulled["signed"], &pulled["changed"]), (&Value::Bool(true), &Value::Bool(true)));
    for ending in ["", ".manifest", ".manifest.sig"] {
        let read = |name: &str| fs::read(desk.path(&format!("{name}.wasm{ending}"))).unwrap();
        assert_eq!(read("mine"), read("pulled"), "{ending}");
    }
    pull(&desk, pulled["pinned"].as_str().unwrap()).ends(0).prints(&["There already:"]);
    pull(&desk, &format!("{at}:2")).ends(1).says(&["there is no oci://"]);
    desk.add(&desk.path("pulled.wasm"), &[]).ends(0);

    // A tag that has moved never replaces a file, and a digest stays the same.
    let newer = desk.signed("1.1.0", &ADDS);
    moved(&desk, &["push", newer.to_str().unwrap(), &tag]).ends(0);
    pull(&desk, &tag).ends(5).says(&["is there, and is not what the registry has", "nothing was written"]);
    pull(&desk, pulled["pinned"].as_str().unwrap()).ends(0);

    // The registry serves a file that was altered on its disk.
    let digest = Digest::of(&fs::read(desk.path("pulled.wasm")).unwrap()).to_string();
    let hex = digest.trim_start_matches("sha256:");
    let blob = registry.data.join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    fs::write(&blob, bytes).unwrap();
    fs::remove_file(desk.path("pulled.wasm")).unwrap();
    pull(&desk, pulled["pinned"].as_str().unwrap()).ends(5).says(&["sends another component"]);
    assert!(!desk.path("pulled.wasm").exists());
}

/// A registry that lies: what it was asked, and how it answers to each path.
pub(super) struct Liar {
    pub(super) port: u16,
    pub(super) asked: Arc<Mutex<Vec<String>>>,
}

impl Liar {
    pub(super) fn start(network: &Network, answer: impl Fn(u16, &str, &mut TcpStream) + Send + 'static) -> Self {
        let listener = network.on(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                heard.lock().unwrap().push(head);
                answer(port, &path, &mut stream);
            }
        });
        Self { port, asked }
    }
}

pub(super) fn answer(stream: &mut TcpStream, status: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    // A client that refuses the answer closes the connection.
    let _sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
}

fn endless(stream: &mut TcpStream) {
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let mut sent = stream.write_all(head.as_bytes());
    while sent.is_ok() {
        sent = stream.write_all(&[b' '; 65536]);
    }
}

pub(super) fn manifest(component: &[u8], size: u64) -> Vec<u8> {
    json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.wasm.config.v0+json", "digest": Digest::of(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/wasm", "digest": Digest::of(component), "size": size}],
    })
    .to_string()
    .into_bytes()
}

pub(super) const COMPONENT: &[u8] = b"component";

/// A registry without authentication.
pub(super) fn public(network: &Network) -> u16 {
    lies(network, manifest(COMPONENT, 9), |_, _, stream| answer(stream, "200 OK", COMPONENT)).port
}

/// A registry with this manifest, which answers requests for blobs like this.
pub(super) fn lies(
    network: &Network,
    manifest: Vec<u8>,
    blob: impl Fn(u16, &str, &mut TcpStream) + Send + 'static,
) -> Liar {
    Liar::start(network, move |port, path, stream| {
        if path.contains("/manifests/") { answer(stream, "200 OK", &manifest) } else { blob(port, path, stream) }
    })
}

#[test]
fn what_a_registry_lies_about_is_refused_and_nothing_is_stored() {
    let desk = Desk::new();
    let network = desk.machine.network();
    fs::write(desk.path("auth.json"), "{}").unwrap();
    let whole = || manifest(COMPONENT, 9);
    let send = |body: &'static [u8]| move |_: u16, _: &str, stream: &mut TcpStream| answer(stream, "200 OK", body);
    let to = |location: &'static str| {
        move |_: u16, _: &str, stream: &mut TcpStream| {
            answer(stream, &format!("307 Temporary Redirect\r\nLocation: {location}"), b"");
        }
    };
    for (what, liar, says) in [
        ("an altered blob", lies(&network, whole(), send(b"Component")), "sends another component"),
        ("a longer blob", lies(&network, whole(), send(b"component and more")), "longer than 9 bytes"),
        ("a size too large", lies(&network, manifest(COMPONENT, 10), send(COMPONENT)), "lies about the size"),
        ("a size too small", lies(&network, manifest(COMPONENT, 8), send(COMPONENT)), "longer than 8 bytes"),
        (
            "16 MiB and 1",
            lies(&network, manifest(COMPONENT, (16 << 20) + 1), send(COMPONENT)),
            "larger than one may be",
        ),
        ("an endless blob", lies(&network, whole(), |_, _, stream| endless(stream)), "longer than 9 bytes"),
        ("an endless manifest", Liar::start(&network, |_, _, stream| endless(stream)), "longer than 4194304 bytes"),
        ("no manifest", lies(&network, b"{\"\x1b\":1}".to_vec(), send(b"")), "not one of a policy"),
        ("plain http elsewhere", lies(&network, whole(), to("http://192.0.2.1/x")), "it is not https"),
        ("a file", lies(&network, whole(), to("file:///etc/passwd")), "it is not https"),
        ("credentials in a redirect", lies(&network, whole(), to("https://u:p@192.0.2.1/x")), "a user or a password"),
        ("a redirect to itself", lies(&network, whole(), to("/v2/again")), "at the registry itself"),
        (
            "a redirected manifest",
            Liar::start(&network, move |port, path, stream| to("https://192.0.2.1/x")(port, path, stream)),
            "redirection",
        ),
    ] {
        let run = pull(&desk, &format!("oci://127.0.0.1:{}/mine:1", liar.port));
        let run = run.ends(5).says(&[says]);
        drop(run);
        assert!(!desk.path("pulled.wasm").exists(), "{what}");
    }
    let liar = lies(&network, whole(), send(COMPONENT));
    let pinned = format!("oci://127.0.0.1:{}/mine@{}", liar.port, Digest::of(b"another manifest"));
    pull(&desk, &pinned).ends(5).says(&["sends another manifest"]);
    for (reference, says) in [
        (format!("oci://127.0.0.1:{}/../mine:1", liar.port), "a repository's name"),
        ("oci://192.0.2.1/mine:1".to_owned(), "is not contacted without TLS"),
    ] {
        pull(&desk, &reference).ends(2).says(&[says]);
    }
    pull(&desk, &format!("oci://127.0.0.1:{}/mine:1", liar.port)).ends(0).prints(&["It is not signed"]);
}

#[test]
fn storage_that_a_registry_leads_to_gets_no_credentials_and_leads_no_further() {
    let desk = Desk::new();
    let network = desk.machine.network();
    let storage = Liar::start(&network, |_, path, stream| {
        if path == "/twice" {
            answer(stream, "307 Temporary Redirect\r\nLocation: https://192.0.2.1/x", b"");
        } else {
            answer(stream, "200 OK", COMPONENT);
        }
    });
    for (path, code) in [("twice", 5), ("once", 0)] {
        let place = format!("http://127.0.0.1:{}/{path}", storage.port);
        let front = Liar::start(&network, move |port, path, stream| {
            // The token server is at another path of the same server.
            if path.starts_with("/token") {
                answer(stream, "200 OK", b"{\"token\":\"the-token\"}");
            } else if path.contains("/manifests/1") {
                let challenge =
                    format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"s\"");
                answer(stream, &format!("401 Unauthorized\r\n{challenge}"), b"");
            } else if path.contains("/manifests/") {
                answer(stream, "200 OK", &manifest(COMPONENT, 9));
            } else {
                answer(stream, &format!("307 Temporary Redirect\r\nLocation: {place}"), b"");
            }
        });
        let auths = json!({"auths": {format!("127.0.0.1:{}", front.port): {"auth": "dTpzZWNyZXQ="}}});
        fs::write(desk.path("auth.json"), auths.to_string()).unwrap();
        // If a token does not help, Warded does not ask for another.
        pull(&desk, &format!("oci://127.0.0.1:{}/mine:1", front.port)).ends(1).says(&["HTTP status 401"]);
        pull(&desk, &format!("oci://127.0.0.1:{}/mine:open", front.port)).ends(code);
        let asked = front.asked.lock().unwrap().join("").to_lowercase();
        assert!(asked.contains("/token?service=s&scope=repository%3amine%3apull http"), "{asked}");
        assert!(
            asked.contains("authorization: basic dtpzzwnyzxq=") && asked.contains("authorization: bearer the-token")
        );
    }
    let asked = storage.asked.lock().unwrap().join("").to_lowercase();
    assert!(asked.contains("get /once") && !asked.contains("authorization"), "{asked}");
}

/// With `sudo -E`, root has a user's home and runtime directory.
#[test]
fn root_passes_over_the_credentials_of_another_user() {
    if missing::root() {
        return;
    }
    let desk = Desk::new();
    let place = format!("oci://127.0.0.1:{}/mine:1", public(&desk.machine.network()));
    let home = desk.path("home");
    fs::create_dir_all(home.join(".docker")).unwrap();
    fs::create_dir_all(home.join("containers")).unwrap();
    let (docker, podman) = (home.join(".docker/config.json"), home.join("containers/auth.json"));
    for file in [&docker, &podman] {
        fs::write(file, "not JSON, and so not read").unwrap();
    }
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
    let pull = |named: Option<&Path>| {
        let mut command = desk.machine.warded_command([]);
        command.args(["policy", "pull", &place, "--plain-http", "-o"]).arg(desk.path("pulled.wasm"));
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).env_remove("REGISTRY_AUTH_FILE");
        Run::of(command.envs(named.map(|file| ("REGISTRY_AUTH_FILE", file))))
    };
    let not_used = "could have been written by another user: it is not used for credentials";
    pull(None).ends(0).says(&[docker.to_str().unwrap(), podman.to_str().unwrap(), not_used]);
    let refused = pull(Some(&docker)).ends(5);
    refused.says(&["could have been written by another user", "sudo install -m 600 FILE /etc/warded/"]);
}

/// A token server gives a token only for the scope that was asked for. The first request of a push only reads.
#[test]
fn a_push_asks_its_token_server_for_both_directions() {
    let desk = Desk::new();
    let network = desk.machine.network();
    let file = desk.signed("1.0.0", &ADDS);
    let push = |realm: &'static str, token: &'static str| {
        let front = Liar::start(&network, move |port, path, stream| {
            if path.starts_with("/token") {
                answer(stream, token, b"{\"token\":\"the-token\"}");
            } else {
                let realm = realm.replace("PORT", &port.to_string());
                answer(stream, &format!("401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\""), b"");
            }
        });
        let auths = json!({"auths": {format!("127.0.0.1:{}", front.port): {"auth": "dTpzZWNyZXQ="}}});
        fs::write(desk.path("auth.json"), auths.to_string()).unwrap();
        let place = format!("oci://127.0.0.1:{}/mine:1", front.port);
        let run = moved(&desk, &["push", file.to_str().unwrap(), &place]);
        let asked = front.asked.lock().unwrap().join("");
        (run, asked)
    };
    let here = "http://127.0.0.1:PORT/token";
    for (token, says) in
        [("200 OK", "HTTP status 401"), ("500 Internal Server Error", "names a token server that gives no token")]
    {
        let (run, asked) = push(here, token);
        run.ends(1).says(&[says]);
        assert!(asked.contains("/token?scope=repository%3Amine%3Apull%2Cpush HTTP"), "{asked}");
    }
    // Warded sends no credentials over a connection that others could read, and none to a server whose address contains
    // a user name.
    for realm in ["http://192.0.2.1/token", "https://u:p@192.0.2.1/token", "file:///etc/passwd"] {
        let (run, asked) = push(realm, "200 OK");
        run.ends(5).says(&["a token server that is not contacted"]);
        assert!(!asked.to_lowercase().contains("authorization: basic"), "{asked}");
    }
}
