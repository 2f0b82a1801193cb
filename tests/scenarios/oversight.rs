//! What a policy can do, requests, is granted and did: shown side by side, and correct.

use crate::support::{
    Grants, Machine, Run,
    guest::{self, Guest},
    policy,
    script::{Argument::Text, Script},
};
use serde_json::Value;
use std::{fs, path::Path};
use warded_lib::{
    audit::{Event, Kind as EventKind, Log},
    digest::Digest,
};

mod hidden_calls;
mod page;

fn audit(machine: &Machine, policy: &str) -> Value {
    machine.warded(["audit", policy, "--json"]).ends(0).object("warded.audit/1")
}

fn shows(run: Run, words: &[&str]) -> String {
    for part in words {
        assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
    }
    run.stdout
}

fn procedure<'a>(audit: &'a Value, name: &str) -> &'a Value {
    audit["procedures"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

fn grant<'a>(audit: &'a Value, name: &str, grant: &str) -> &'a Value {
    let grants = procedure(audit, name)["grants"].as_array().unwrap();
    grants.iter().find(|one| one["grant"] == grant).unwrap_or_else(|| panic!("no {grant} in {grants:#?}"))
}

#[test]
fn a_run_uses_what_it_can_reach_and_no_more() {
    let machine = Machine::start();
    machine.certify();
    machine.warded(["renew", "--force"]).ends(0);
    let audit = audit(&machine, "unix");
    let (mut exercised, mut denied) = (0, 0);
    for procedure in audit["procedures"].as_array().unwrap() {
        denied += procedure["denied"].as_object().unwrap().len();
        for grant in procedure["grants"].as_array().unwrap() {
            if !grant["exercised"].is_null() {
                exercised += 1;
                assert_eq!(grant["reachable"], true, "{grant}");
            }
            for column in ["reachable", "requested", "granted"] {
                assert_eq!(grant[column], true, "{column} of {grant}");
            }
        }
    }
    assert!(exercised > 10 && denied == 0, "{exercised}, {denied}");
    assert_eq!(audit["log"]["intact"], true);
    assert_eq!(audit["log"]["components"].as_array().unwrap().len(), 1);
    let issued = &grant(&audit, "certify-host", "authority issue host")["exercised"];
    assert_eq!((&issued["calls"], &issued["runs"]), (&3.into(), &1.into()), "{issued}");
    let written = &grant(&audit, "certify-host", "certificates beside-key")["exercised"]["needs"];
    let path = machine.path("ssh/ssh_host_ed25519_key-cert.pub").display().to_string();
    assert!(written[path].as_u64().is_some_and(|calls| calls > 0), "{written}");
    // A grant that was never used is worth a look, but not an error.
    let findings = audit["findings"].as_array().unwrap();
    assert!(!findings.is_empty() && findings.iter().all(|one| one["severity"] == "unused"), "{findings:#?}");
    machine.warded(["audit", "unix", "--fail-on", "over,under,denied"]).ends(0);
    machine.warded(["audit", "unix", "--fail-on", "unused"]).ends(4);
    let words = machine.warded(["audit", "unix", "--procedure", "renew-host"]).ends(0);
    let words = shows(words, &["renew-host: can call", "authority renew host", "chain intact"]);
    assert!(!words.contains("certify-host:"), "{words}");
    machine.warded(["audit", "unix", "--procedure", "reboot"]).ends(2);
    machine.warded(["audit", "nobody"]).ends(2);
    machine.warded(["audit"]).ends(2);
}

#[test]
fn the_page_says_what_the_object_says_and_runs_nothing() {
    let machine = Machine::start();
    machine.certify();
    let page = machine.path("audit.html");
    let path = page.to_str().unwrap();
    let object = machine.warded(["audit", "unix", "--json", "--html", path]).ends(0).object("warded.audit/1");
    let html = fs::read_to_string(&page).unwrap();
    let grants: Vec<&Value> =
        object["procedures"].as_array().unwrap().iter().flat_map(|one| one["grants"].as_array().unwrap()).collect();
    let mut marks = 0;
    for grant in &grants {
        marks += ["reachable", "requested", "granted"].iter().filter(|column| grant[**column] == true).count();
        let shown = grant["grant"].as_str().unwrap().replace('"', "&quot;");
        assert!(html.contains(&format!("<code>{shown}</code></th>")), "{grant}");
    }
    assert_eq!((html.matches("● yes").count(), html.matches("<th scope=\"row\">").count()), (marks, grants.len()));
    assert!(html.contains("default-src 'none'") && html.contains("chain intact"), "{html}");
    // The page replaces only an earlier report.
    machine.warded(["audit", "unix", "--html", path]).ends(0);
    fs::write(&page, "a diary").unwrap();
    machine.warded(["audit", "unix", "--html", path]).ends(5).says(&["not a report of this command", "--overwrite"]);
    assert_eq!(fs::read_to_string(&page).unwrap(), "a diary");
    // If the page cannot be written, the output is a single object: the error.
    machine.warded(["audit", "unix", "--json", "--html", path]).ends(5).object("warded.error/1");
    machine.warded(["audit", "unix", "--html", path, "--overwrite"]).ends(0);

    // A guest that puts markup into every text that it controls.
    let markup = "/etc/<script src=x onerror=alert(1)>&\"'";
    let mut script = Script::new("/");
    script.tries("files.read", &[Text(markup.as_bytes())]);
    let grants = Grants::of(&["facts = [\"<b>\"]", "files.read = [\"/srv/<i>\"]"]);
    grants.write(&machine.path("policies"), "case", "go", &script.component());
    machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(5);
    machine.warded(["audit", "case", "--html", path]).ends(0);
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.contains("&lt;script src=x onerror=alert(1)&gt;&amp;&quot;&#39;"), "{html}");
    for tag in ["<script", "<b>", "<i>", "<img"] {
        assert!(!html.contains(tag), "{tag}: {html}");
    }
}

#[test]
fn the_log_is_filtered_and_exported() {
    let machine = Machine::stopped();
    machine.certify();
    machine.warded(["renew", "--force"]).ends(0);
    let count = |words: &[&str]| {
        let log = Run::of(machine.warded_command([]).args([&["audit", "log", "--json"], words].concat())).ends(0);
        log.object("warded.audit-log/1")["records"].as_array().unwrap().len()
    };
    let all = count(&[]);
    let (certified, renewed) = (count(&["--procedure", "certify-host"]), count(&["--procedure", "renew-host"]));
    assert!(certified > 5 && renewed > 5 && certified + renewed <= all, "{certified}, {renewed}, {all}");
    assert_eq!(count(&["--policy", "unix"]), certified + renewed);
    assert!(count(&["--capability", "files"]) > count(&["--capability", "files.write"]));
    assert!(count(&["--capability", "files.write"]) > 0);
    assert_eq!((count(&["--denied"]), count(&["--since", "2099-01-01"])), (0, 0));
    assert_eq!(count(&["--since", "1h"]), all);
    machine.warded(["audit", "log", "--since", "soon"]).ends(2);
    let path = machine.path("state/audit/log.jsonl");
    let exported = machine.warded(["audit", "export"]).ends(0).stdout;
    assert_eq!(exported, fs::read_to_string(&path).unwrap());
    // If somebody changed or removed records, the export does not silently leave them out.
    let broken = |filter: &[&str]| {
        let words = [&["audit", "export"], filter].concat();
        Run::of(machine.warded_command([]).args(words)).ends(1).says(&["the audit log is not intact: record"])
    };
    fs::write(&path, exported.replacen("certify-host", "certify-h0st", 1)).unwrap();
    let left = broken(&[]).stdout;
    assert_eq!(left.lines().count() + 1, exported.lines().count());
    broken(&["--denied"]);
    let shown = machine.warded(["audit", "log", "--json"]).ends(0).object("warded.audit-log/1");
    assert_eq!(shown["unreadable_lines"].as_array().unwrap().len(), 1, "{shown}");
    fs::write(&path, "").unwrap();
    broken(&[]);
}

/// A log in several files, of which commands read only those that they need.
#[test]
fn a_log_of_several_files_is_one_log() {
    let machine = Machine::stopped();
    machine.certify();
    let directory = machine.path("state/audit");
    let log = Log::open(&directory).unwrap();
    let runs = 1_000_u64;
    for run in 1..=runs {
        for one in 0..30 {
            let event = Event::new(9_000 + run, if one == 0 { EventKind::Started } else { EventKind::Asked });
            let need = format!("/etc/ssh/{}", "x".repeat(500));
            log.append(&Event { policy: "long".to_owned(), ..event }.capability("files.read").need(&need)).unwrap();
        }
    }
    log.seal().unwrap();
    let name = |number: u64| directory.join(format!("log.{number}.jsonl"));
    assert!(name(1).exists() && name(2).exists() && name(1).metadata().unwrap().len() < 9 * 1024 * 1024);
    let numbers = |words: &[&str]| {
        let run = Run::of(machine.warded_command([]).args([&["audit", "log", "--json"], words].concat())).ends(0);
        let records = run.object("warded.audit-log/1")["records"].as_array().unwrap().clone();
        records.iter().map(|record| record["n"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let all = numbers(&[]);
    let last = *all.last().unwrap();
    assert!(all.iter().copied().eq(1..=last) && last > 30 * runs, "{last}");
    assert_eq!(numbers(&["--last", "3"]), [last - 2, last - 1, last]);
    assert_eq!(numbers(&["--last", "0"]), [0; 0]);
    assert_eq!(numbers(&["--since", "1h"]), all);
    assert_eq!(numbers(&["--run", "10000"]).len(), 30, "the last run");
    assert_eq!(numbers(&["--run", "9001"]).len(), 30, "the first one");
    assert_eq!(numbers(&["--policy", "unix", "--last", "2"]).len(), 2, "from the first file");
    let intact = format!("{last} records, chain intact");
    assert_eq!(machine.warded(["audit", "verify"]).ends(0).stdout.trim_end(), intact);
    assert_eq!(machine.warded(["audit", "export"]).ends(0).stdout.lines().count(), all.len());
    // The next verification continues from there, unless it is told to begin anew.
    let again = machine.warded(["audit", "verify", "--json"]).ends(0).object("warded.audit-verify/1");
    assert_eq!(again["checked_from"], last + 1);
    let first = fs::read_to_string(name(1)).unwrap();
    fs::write(name(1), first.replacen("\"run\":9001", "\"run\":9002", 1)).unwrap();
    machine.warded(["audit", "verify"]).ends(0).prints(&["were checked earlier (--all checks them again)"]);
    // A signature covers every record, so all of them are verified.
    let head = machine.path("head.json").display().to_string();
    for words in [&["--all"][..], &["--sign", &head]] {
        let changed = Run::of(machine.warded_command(["audit", "verify"]).args(words)).ends(1);
        assert!(changed.stderr.contains("the audit log is not intact"), "{words:?}: {}", changed.stderr);
    }
    assert!(!Path::new(&head).exists());
}

#[test]
fn a_denial_and_a_grant_too_many_are_findings() {
    let machine = Machine::stopped();
    let mut script = Script::new("/");
    script.tries("files.read", &[Text(b"/etc/shadow")]);
    let grants = Grants::of(&["files.write = [\"/etc/motd\"]", "authority = [\"issue host\"]"]);
    grants.write(&machine.path("policies"), "case", "go", &script.component());
    machine.warded(["apply", "go", "--policy", "case", "--yes"]).ends(5);
    let audit = audit(&machine, "case");
    let severities: Vec<&str> =
        audit["findings"].as_array().unwrap().iter().map(|one| one["severity"].as_str().unwrap()).collect();
    assert_eq!(severities[0], "denied", "{audit:#}");
    assert!(severities.contains(&"over"), "{audit:#}");
    for (kind, exit) in [("denied", 4), ("over", 4), ("under", 0)] {
        machine.warded(["audit", "case", "--fail-on", kind]).ends(exit);
    }
}

#[test]
fn a_component_is_checked_before_it_is_shipped() {
    let machine = Machine::stopped();
    let file = |bytes: &[u8]| {
        let path = machine.path("shipped.wasm");
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let unix = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/unix.wasm")).unwrap();
    let path = file(&unix);
    let object = machine.warded(["policy", "check", &path, "--json"]).ends(0).object("warded.policy-check/1");
    assert_eq!((&object["name"], &object["findings"]), (&"unix".into(), &Value::Array(Vec::new())));
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/../guests/demo/policy.toml");
    let checked = machine.warded(["policy", "check", &path, other]).ends(5);
    shows(checked, &["is not the request that the component carries"]);
    shows(machine.warded(["audit", &path]).ends(0), &["a file, no policy", "certify-host: can call"]);
    // A component that carries no request, although it calls something.
    let guest = Guest::doing("", "", "").component();
    machine.warded(["policy", "check", &file(&guest)]).ends(5).says(&["carries no request"]);
    machine.warded(["policy", "check", &file(b"no component")]).ends(5).says(&["not a WebAssembly component"]);
    machine.warded(["policy", "check", "/nonexistent.wasm"]).ends(1).says(&["cannot read /nonexistent.wasm"]);
}

#[test]
fn a_policy_file_may_narrow_a_request_and_not_widen_it() {
    let machine = Machine::stopped();
    let directory = machine.path("policies");
    Grants::of(&["files.write = [\"/srv/*\"]", "files.read = [\"/etc/hostname\"]"]).write_demo(&directory);
    let file = directory.join("writer.toml");
    let written = fs::read_to_string(&file).unwrap();
    for (from, to, exit) in [
        ("\"/srv/*\"", "\"/srv/motd\"", 0),
        ("files.read = [\"/etc/hostname\"]", "files.read = [\"/srv/motd\"]", 0),
        ("files.read = [\"/etc/hostname\"]\n", "", 0),
        ("\"/srv/*\"", "\"/srv/*\", \"/etc/motd\"", 5),
        ("[procedure.write-file]\n", "[procedure.write-file]\nsshd.effective = true\n", 5),
        ("\"ssh.service\"", "\"nginx.service\"", 0),
    ] {
        fs::write(&file, written.replacen(from, to, 1)).unwrap();
        let run = machine.warded(["policy", "list"]).ends(exit);
        assert!(exit == 0 || run.stderr.contains("grants what its component does not ask for"), "{to}: {}", run.stderr);
    }
    // A component that carries no request is granted nothing.
    let bare = Guest::doing("", "", "").component();
    fs::write(directory.join("writer.wasm"), &bare).unwrap();
    let line = written.lines().find(|line| line.starts_with("component = ")).unwrap();
    fs::write(&file, written.replacen(line, &format!("component = \"{}\"", Digest::of(&bare)), 1)).unwrap();
    machine.warded(["policy", "list"]).ends(5).says(&["carries no request"]);
}

#[test]
fn a_policy_may_stand_in_for_another() {
    let machine = Machine::stopped();
    let directory = machine.path("policies");
    let guest = |name: &str| {
        Grants::of(&[]).write(&directory, name, "certify-host", &guest_named("certify-host"));
    };
    guest("vendor");
    machine.warded(["plan", "certify-host"]).ends(2).says(&["choose one with --policy: unix, vendor"]);
    policy::change(&directory, "vendor", "[service.ssh]", "instead-of = [\"unix\"]\n[service.ssh]");
    let run = machine.warded(["plan", "certify-host"]).ends(0);
    assert!(run.stdout.contains(", instead of unix)"), "{}", run.stdout);
    let list = machine.warded(["policy", "list"]).ends(0);
    shows(list, &["vendor stands in for it here", "for this machine · instead of unix"]);
    // If the policy does not apply to this machine, it replaces nothing.
    policy::change(&directory, "vendor", "instead-of", "when = [{ path = \"/nonexistent\" }]\ninstead-of");
    machine.warded(["plan", "certify-host"]).ends(2).says(&["principal"]);
    policy::change(&directory, "vendor", "when = [{ path = \"/nonexistent\" }]\n", "");
    guest("other");
    policy::change(&directory, "other", "[service.ssh]", "instead-of = [\"unix\"]\n[service.ssh]");
    machine.warded(["plan", "certify-host"]).ends(2).says(&["stand in for unix: other and vendor"]);
    machine.warded(["plan", "certify-host", "--policy", "vendor"]).ends(0);
}

/// A component with one procedure of this name, which does nothing.
fn guest_named(procedure: &str) -> Vec<u8> {
    let mut guest = Guest::doing("", "", "");
    guest.exports = vec![procedure.to_owned()];
    guest.fields = guest::procedure(procedure, "");
    guest.component()
}
