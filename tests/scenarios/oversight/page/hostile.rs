//! Markup in every text that a guest, its publisher or a machine can choose: the page shows it as text.

use super::{Page, has_no_browser};
use crate::support::{
    Grants, Machine, Run,
    calls::{self, Callable, Calls},
    guest::data,
    missing, policy,
    script::Script,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use warded_lib::{
    audit::{Event, Kind, Log},
    digest::Digest,
    name::Name,
    policy::file::Policy,
    text::neutral,
};

/// A mark that each of the texts contains.
const MARK: &str = "onerror=console.log(1)";
/// Ends each element in which the page has texts, and begins others.
const MARKUP: &str = "x\"'><img src=/x onerror=console.log(1)><script>console.log(2)</script></code></style></title>&lt;b&gt;--><svg onload=console.log(3)>";
/// A character that reorders text, and two that end a line.
const HIDDEN: &str = "\u{202e}\n\u{2028}";
/// The longest name that a machine can have.
const LONGEST_NAME: usize = 64;

/// The kinds of records that the log does not write by itself.
const KINDS: [Kind; 8] =
    [Kind::Started, Kind::Asked, Kind::Denied, Kind::Done, Kind::Failed, Kind::Intent, Kind::Result, Kind::Ended];

/// Grants whose values are texts, and the beginnings of these values.
const GRANTS: [(&str, &str); 6] = [
    ("facts", ""),
    ("files.read", "/srv/read/"),
    ("files.write", "/srv/write/"),
    ("keys", "/srv/keys/"),
    ("certificates", "/srv/certificates/"),
    ("sshd.keywords", ""),
];
/// A wildcard, and a matching name in the component's data.
const WILDCARD: [&str; 2] =
    [r#"y"><img src=x onerror=console.log(1)>*_key"#, r#"y"><img src=x onerror=console.log(1)>the_key"#];

/// Two lists: the texts of the report that others choose; and those that are Warded's own, numbers in words, or names
/// of a few letters. A new text has to be added to one of them.
const THEIRS: [&str; 7] = [
    ".findings[].what",
    ".origin",
    ".procedures[].denied{}",
    ".procedures[].grants[].exercised.needs{}",
    ".procedures[].grants[].grant",
    ".procedures[].grants[].named[]",
    ".subject",
];
const OURS: [&str; 20] = [
    ".component",
    ".findings[].next",
    ".findings[].procedure",
    ".findings[].severity",
    ".imported[]",
    ".log.broken",
    ".log.components[]",
    ".log.since",
    ".procedures[].denied{}.last",
    ".procedures[].first",
    ".procedures[].grants[].exercised.last",
    ".procedures[].grants[].key",
    ".procedures[].last",
    ".procedures[].name",
    ".procedures[].reach.everything",
    ".procedures[].reach.functions[]",
    ".procedures[].ungranted[]",
    ".procedures[].not_ruled_out[]",
    ".never_called[]",
    ".schema",
];

fn marked(what: &str) -> String {
    format!("{what} {MARKUP}{HIDDEN}")
}

/// The page of a policy with markup in its name, directory, request, calls, errors and records.
#[test]
fn markup_of_others_is_text() {
    if has_no_browser() || missing::root() {
        return;
    }
    let machine = Machine::stopped();
    let policies = machine.path(&format!("policies/{}", MARKUP.replace('/', "|")));
    fs::create_dir_all(&policies).unwrap();
    called(&machine, &policies);
    fails(&machine, &policies);
    let lines = granted(&policies);
    recorded(&machine, &lines);
    let page = Page::found(audited(&machine, &policies), "hostile");
    page.asks_for_nothing_and_says_nothing();
    page.has_only_its_own_markup();
    page.has_the_rows_of_the_object();
    let mut texts = BTreeMap::new();
    collect(&page.object, String::new(), &mut texts);
    for (at, here) in &texts {
        let theirs = here.iter().filter(|text| text.contains(MARK)).collect::<Vec<_>>();
        assert_eq!(!theirs.is_empty(), THEIRS.contains(&at.as_str()), "{at}: {here:?}");
        theirs.into_iter().for_each(|text| page.shows(text));
    }
    let known: BTreeSet<&str> = THEIRS.into_iter().chain(OURS).collect();
    let unknown: Vec<&String> = texts.keys().filter(|at| !known.contains(at.as_str())).collect();
    assert_eq!(unknown, [""; 0], "texts of the report of which it is not known who chooses them");
    let denied = texts[".procedures[].denied{}"].len();
    assert!(denied > 8, "{denied} functions were denied");
    // Only the page has the name of the machine.
    page.shows(&host_name());
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::Asked) {
        for what in ["procedure", "capability", "need", "grant", "detail"] {
            page.shows(&marked(&format!("{what} {}", kind.as_str())));
        }
    }
    page.shows(&marked("message"));
}

/// A component's file whose name is markup.
#[test]
fn the_name_of_a_file_is_text() {
    if has_no_browser() {
        return;
    }
    let machine = Machine::stopped();
    let file = machine.path(&format!("{}.wasm", marked("file").replace('/', "|")));
    fs::write(&file, Script::new("/").component()).unwrap();
    let html = machine.path("audit.html");
    let (file, html) = (file.to_str().unwrap(), html.to_str().unwrap());
    let object = machine.warded(["audit", file, "--json", "--html", html]).ends(0).object("warded.audit/1");
    let page = Page::found((object, PathBuf::from(html)), "hostile-file");
    page.asks_for_nothing_and_says_nothing();
    page.has_only_its_own_markup();
    page.shows(file);
    assert_eq!(page.found["title"], json!(format!("Audit of {}", neutral(file))));
}

/// Calls each function of the host with markup, which is denied.
fn called(machine: &Machine, policies: &Path) {
    let functions: Vec<Callable> = calls::all().into_iter().filter(Callable::is_freestanding).collect();
    for function in functions.iter().filter(|function| function.interface != "log") {
        let text = |capability: &str, parameter: &str| format!("/srv/{}", marked(&format!("{capability} {parameter}")));
        let mut calls = Calls::new(&text);
        calls.call(function);
        Grants::of(&[]).write(policies, "case", "go", &calls.guest().component());
        runs(machine, policies);
    }
}

/// A procedure that prints a text, and ends with an error of its own.
fn fails(machine: &Machine, policies: &Path) {
    let mut script = Script::new("/");
    let [info, code, message, next] = ["info", "code", "message", "next"].map(marked);
    script.says("info", &info).fails(code.as_bytes(), message.as_bytes(), next.as_bytes());
    Grants::of(&["log = [\"info\"]"]).write(policies, "case", "go", &script.component());
    runs(machine, policies);
}

fn runs(machine: &Machine, policies: &Path) {
    let run =
        Run::of(machine.warded_command(["apply", "go", "--policy", "case", "--yes"]).env("WARDED_POLICIES", policies));
    // A guest may ignore the error for an invalid path.
    assert!(matches!(run.code, Some(0 | 1 | 5)), "{run:?}");
}

/// Writes a policy with markup wherever a policy file may have a free text. Returns the lines of its grants.
fn granted(policies: &Path) -> Vec<String> {
    let line = |(key, before): &(&str, &str)| format!("{key} = [{}]", toml::Value::String(format!("{before}{MARKUP}")));
    let is_policy = |head: &str, line: &str| {
        Policy::parse(&format!("{head}\n[procedure.go]\nsummary = \"s\"\n{line}\n"), "a test's").is_ok()
    };
    let head = "name = \"case\"";
    assert!(is_policy(head, ""));
    // Names with markup are refused.
    let quoted = toml::Value::String(MARKUP.to_owned());
    assert!(!is_policy(&format!("name = {quoted}"), ""));
    assert!(!is_policy(&format!("{head}\n[procedure.{quoted}]\nsummary = \"s\""), ""));
    let mut lines: Vec<String> = GRANTS.iter().map(line).filter(|line| is_policy(head, line)).collect();
    assert_eq!(lines.len(), GRANTS.len() - 1, "a keyword is a word: {lines:?}");
    let [pattern, name] = WILDCARD;
    lines.push(format!("files.read = [{}]", toml::Value::String(format!("/srv/names/{pattern}"))));
    let mut script = Script::new("/");
    script.field(&data(60_000, name.as_bytes())).reads("/srv/names");
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    Grants::of(&lines).write(policies, "case", "go", &script.component());
    let version = toml::Value::String(MARKUP.to_owned());
    policy::change(policies, "case", "[service.ssh]", &format!("version = {version}\n[service.ssh]"));
    let text = fs::read_to_string(policies.join("case.toml")).unwrap();
    let policy = Policy::parse(&text, "a test's").unwrap();
    warded_lib::policy::lines::of(&policy.procedures[&"go".parse::<Name>().unwrap()])
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// Writes records of every kind with markup in each of their texts, and a call for each grant.
fn recorded(machine: &Machine, lines: &[String]) {
    let log = Log::open(&machine.path("state/audit")).unwrap();
    for kind in KINDS {
        let text = |what: &str| Some(marked(&format!("{what} {}", kind.as_str())));
        log.append(&Event {
            run: 9_000,
            policy: "case".to_owned(),
            component: Some(Digest::of(MARKUP.as_bytes())),
            procedure: marked(&format!("procedure {}", kind.as_str())),
            kind,
            capability: text("capability"),
            need: text("need"),
            grant: text("grant"),
            detail: text("detail"),
        })
        .unwrap();
    }
    for line in lines {
        let event = Event { policy: "case".to_owned(), procedure: "go".to_owned(), ..Event::new(9_001, Kind::Asked) };
        log.append(&event.capability("files.read").need(&marked(line)).grant(line)).unwrap();
    }
    log.seal().unwrap();
}

fn host_name() -> String {
    MARKUP.chars().take(LONGEST_NAME).collect()
}

/// Makes the report on a machine whose name is markup.
fn audited(machine: &Machine, policies: &Path) -> (Value, PathBuf) {
    let html = machine.path("audit.html");
    let mut command = Command::new("unshare");
    command.args([
        "--uts",
        "sh",
        "-c",
        "printf %s \"$1\" >/proc/sys/kernel/hostname; shift; exec \"$@\"",
        "sh",
        &host_name(),
    ]);
    command.arg(env!("CARGO_BIN_EXE_warded")).args(["audit", "case", "--json", "--html"]).arg(&html);
    let run = Run::of(machine.environment(&mut command).env("WARDED_POLICIES", policies)).ends(0);
    (run.object("warded.audit/1"), html)
}

/// Collects the texts of an object by their place. In some tables the keys are texts that a guest chooses.
fn collect(value: &Value, at: String, found: &mut BTreeMap<String, Vec<String>>) {
    match value {
        Value::String(text) => found.entry(at).or_default().push(text.clone()),
        Value::Array(all) => all.iter().for_each(|one| collect(one, format!("{at}[]"), found)),
        Value::Object(all) => {
            let by_text = at.ends_with(".needs") || at.ends_with(".denied");
            for (key, one) in all {
                if by_text {
                    found.entry(format!("{at}{{}}")).or_default().push(key.clone());
                }
                collect(one, if by_text { format!("{at}{{}}") } else { format!("{at}.{key}") }, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
