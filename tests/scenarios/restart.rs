//! Services that read their files only when they start. systemd, on a machine that Debian boots, restarts them with the
//! run, and again when the run is rolled back. A service that runs sshd is never restarted, under whatever name.

use super::booted::property;
use crate::support::{
    Booted, Grants, Run,
    script::{Argument::Text, Script},
    wait::{LONG, wait},
};
use std::fs;

/// The service starts only if the file does not contain the word `bad`, and keeps a copy of what it has read.
const APP: &str = "[Service]\nExecStartPre=/bin/sh -c 'read word </etc/app.conf; test $$word != bad'\n\
                   ExecStartPre=/bin/cp /etc/app.conf /run/app.seen\nExecStart=/bin/sleep infinity\n";
/// A unit that runs an sshd under another name.
const DOOR: &str = "[Unit]\nAfter=ssh.service\nPartOf=base.service\n[Service]\nSlice=lobby.slice\nRuntimeDirectory=sshd\nRuntimeDirectoryPreserve=yes\n\
                    ExecStart=/usr/sbin/sshd -D -f /etc/ssh/door_config\n";
/// A socket that starts an sshd for each connection; none runs before the first.
const GATE: &str = "[Socket]\nListenStream=2023\nAccept=yes\n[Install]\nWantedBy=sockets.target\n";
const GATES_SSHD: &str = "[Service]\nStandardInput=socket\nExecStart=-/usr/sbin/sshd -i\n";
const ONCE: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'read word </etc/app.conf; test $$word != bad'\n";
/// A unit that runs Warded itself.
const OWN: &str = "[Service]\nType=oneshot\nEnvironment=WARDED_CA=/root/ca\nStandardError=file:/run/own.said\n\
                   ExecStart=/usr/local/bin/warded apply go --policy case --yes\n";
const TABLES: &str = "[service.door]\nsystemd = ['door.service']\n[service.alias]\nsystemd = ['entry.service']\n\
                      [service.absent]\nsystemd = ['absent.service', 'app.service']\n\
                      [service.stopped]\nsystemd = ['stopped.service']\n\
                      [service.base]\nsystemd = ['base.service']\n[service.gate]\nsystemd = ['gate.socket']\n\
                      [service.own]\nsystemd = ['own.service']\n[service.once]\nsystemd = ['once.service']\n";

struct Server(Booted);

impl Server {
    fn start() -> Option<Self> {
        let server = Self(Booted::start("trixie", "ssh.service")?);
        for (unit, text) in [
            ("app.service", APP),
            ("base.service", APP),
            ("door.service", DOOR),
            ("gate.socket", GATE),
            ("gate@.service", GATES_SSHD),
            ("once.service", ONCE),
            ("own.service", OWN),
            ("stopped.service", APP),
        ] {
            fs::write(server.0.file(&format!("/etc/systemd/system/{unit}")), text).unwrap();
        }
        fs::create_dir_all(server.0.file("/etc/warded/policies")).unwrap();
        server.sh("echo old >/etc/app.conf; printf 'Port 2022\\nPidFile /run/door.pid\\n' >/etc/ssh/door_config; \
                   ln -s /etc/systemd/system/door.service /etc/systemd/system/entry.service; \
                   systemctl daemon-reload; systemctl start app base door gate.socket");
        Some(server)
    }

    fn sh(&self, line: &str) -> String {
        self.0.shell(line).ends(0).stdout
    }

    /// Makes a guest write the file and restart a service.
    fn writes(&self, text: &str, service: &str) -> Run {
        self.has_policy(text, service);
        self.0.warded("apply go --policy case --yes")
    }

    fn has_policy(&self, text: &str, service: &str) {
        let mut script = Script::new("");
        script.writes("/etc/app.conf", text);
        script.does("services.restart", &[Text(service.as_bytes())]);
        let granted = format!("services.{service} = [\"restart\"]");
        let grants = Grants::of(&["files.write = [\"/etc/app.conf\"]", &granted]).with_actions(TABLES);
        grants.write(&self.0.file("/etc/warded/policies"), "case", "go", &script.component());
    }

    /// The text that the service has read.
    fn has_read(&self) -> String {
        self.sh("cat /run/app.seen")
    }

    fn process(&self) -> String {
        property(&self.0, "MainPID", "app.service")
    }
}

#[test]
fn a_service_is_restarted_with_the_run_and_when_it_is_rolled_back() {
    let Some(server) = Server::start() else { return };
    let first = server.process();
    let plan = server.writes("new\n", "app").ends(0);
    plan.prints(&["> restart app (app.service)", "Undo it with"]);
    assert_eq!(server.has_read(), "new\n");
    let second = server.process();
    assert!(first != second && second != "0", "{first} {second}");
    // Nothing changes, so the service is not restarted.
    server.writes("new\n", "app").ends(0).prints(&["Nothing to do."]);
    assert_eq!(server.process(), second);
    // The first unit that exists and runs is restarted.
    server.writes("newer\n", "absent").ends(0);
    assert_eq!(server.has_read(), "newer\n");
    server.0.warded("undo --plan").ends(3).prints(&["> restart absent (absent.service or app.service)"]);
    server.0.warded("undo --yes").ends(0);
    assert_eq!(server.has_read(), "new\n");
    // The service does not start, so the file is restored, and the service starts with the old one.
    let failed = server.writes("bad\n", "app");
    assert!(!matches!(failed.code, None | Some(0)), "{failed:?}");
    failed.says(&["systemd could not restart app.service", "journalctl -u app.service"]);
    assert_eq!((server.sh("cat /etc/app.conf"), server.has_read()), ("new\n".to_owned(), "new\n".to_owned()));
    wait("it runs again", LONG, || server.0.shell("systemctl is-active --quiet app").code == Some(0));
    // A service that does not run is not started.
    let stopped = server.writes("last\n", "stopped").ends(0);
    stopped.prints(&["stopped does not run, and is not started."]);
    assert!(server.sh("warded audit log").contains("stopped does not run, and is not started"));
    assert_eq!(server.0.shell("systemctl is-active --quiet stopped").code, Some(3));
    let log = server.sh("warded audit log");
    assert_eq!(log.matches("systemd restarted app.service").count(), 4, "{log}");
    // A one-shot unit that had failed succeeds, and then is inactive.
    server.sh("echo bad >/etc/app.conf; systemctl start once; systemctl is-failed once");
    server.writes("good\n", "once").ends(0);
    assert_eq!(property(&server.0, "ActiveState", "once.service"), "inactive");
    server.sh("echo bad >/etc/app.conf; systemctl start once; systemctl is-failed once");
    server.writes("bad\n# still\n", "once").says(&["systemd could not restart once.service", "cause: "]);
}

#[test]
fn what_runs_sshd_is_never_restarted() {
    let Some(server) = Server::start() else { return };
    let door = property(&server.0, "MainPID", "door.service");
    let base = property(&server.0, "MainPID", "base.service");
    for (service, unit) in [
        ("door", "door.service"),
        ("alias", "entry.service"),
        ("base", "a restart of base.service reaches door.service, which"),
        ("gate", "a restart of gate.socket reaches gate@warded.service, which"),
    ] {
        let refused = server.writes("new\n", service).ends(5);
        refused.says(&[
            &format!("{service} is not restarted"),
            &format!("{unit} runs sshd: a restart ends logins"),
            &format!("services.{service} = [\"reload\"]"),
            "nothing was changed",
        ]);
        assert_eq!(server.sh("cat /etc/app.conf"), "old\n");
    }
    // A policy that describes such a restart of `ssh` is not even loaded.
    server.writes("new\n", "ssh").ends(2).says(&["procedure go may restart ssh, which is sshd", "\"reload\" instead"]);
    // The unit in which the run itself runs.
    server.has_policy("new\n", "own");
    assert_ne!(server.0.shell("systemctl start own").code, Some(0));
    assert_eq!(property(&server.0, "ExecMainStatus", "own.service"), "5");
    let said = server.sh("cat /run/own.said");
    for words in ["own is not restarted", "this run is in own.service", "systemd-run --scope", "nothing was changed"] {
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(server.sh("cat /etc/app.conf"), "old\n");
    assert_eq!(property(&server.0, "MainPID", "door.service"), door);
    assert_eq!(property(&server.0, "MainPID", "base.service"), base);
}
