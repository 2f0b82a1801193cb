//! The report as a page, in a real browser (tests/peers/page).

mod hostile;

use crate::support::{Machine, missing};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use warded_lib::text::neutral;

/// WCAG 2, level AA.
const CONTRAST: f64 = 4.5;
/// The elements that need a name for people who do not see the page.
const NAMED: [&str; 7] =
    ["RootWebArea", "heading", "table", "region", "rowheader", "columnheader", "DisclosureTriangle"];

/// The elements that the page may consist of.
const ELEMENTS: [&str; 27] = [
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "dl", "dt", "dd", "ul", "li", "span",
    "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "code", "details", "summary",
];
const ATTRIBUTES: [&str; 13] = [
    "html lang",
    "meta charset",
    "meta http-equiv",
    "meta content",
    "meta name",
    "p class",
    "span class",
    "div class",
    "div role",
    "div tabindex",
    "div aria-label",
    "th scope",
    "td class",
];

/// The page of a machine's report, and the same report as a JSON object.
struct Page {
    object: Value,
    found: Value,
}

impl Page {
    fn of(machine: &Machine, policy: &str) -> Self {
        let page = machine.path("audit.html");
        let path = page.to_str().unwrap();
        let object = machine.warded(["audit", policy, "--json", "--html", path]).ends(0).object("warded.audit/1");
        Self::found((object, page), policy)
    }

    /// The page as a browser sees it.
    fn found((object, page): (Value, PathBuf), name: &str) -> Self {
        // Screenshots for a person to look at.
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(directory).unwrap();
        let screenshot = directory.join(format!("audit-{name}.png"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/page");
        let output = Command::new(script).arg(&page).arg(&screenshot).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        eprintln!("{}", screenshot.display());
        Self { object, found: serde_json::from_slice(&output.stdout).unwrap() }
    }

    fn asks_for_nothing_and_says_nothing(&self) {
        for what in ["requests", "said"] {
            assert_eq!(self.found[what], json!([]), "{what}");
        }
        assert_eq!(self.found["scripts"], 0);
    }

    /// No text adds markup to the page.
    fn has_only_its_own_markup(&self) {
        for (what, own) in [("elements", &ELEMENTS[..]), ("attributes", &ATTRIBUTES[..])] {
            let found = self.found[what].as_array().unwrap().iter().map(|one| one.as_str().unwrap());
            let others: Vec<&str> = found.filter(|one| !own.contains(one)).collect();
            assert_eq!(others, [""; 0], "{what}");
        }
    }

    /// Checks that the page shows this text unchanged, and in one piece.
    fn shows(&self, text: &str) {
        let text = neutral(text);
        let texts = self.found["texts"].as_array().unwrap();
        assert!(texts.iter().any(|one| one.as_str().unwrap().contains(&text)), "{text:?} is not in {texts:#?}");
    }

    /// Every row of its tables is one of the object's rows, with the same contents.
    fn has_the_rows_of_the_object(&self) {
        let mut tables = serde_json::Map::new();
        for procedure in self.object["procedures"].as_array().unwrap() {
            let held = |one: &Value| if *one == true { "● yes" } else { "– no" };
            let calls = |exercised: &Value| {
                let number = |what: &str| exercised[what].as_u64().unwrap();
                match exercised {
                    Value::Null => "0".to_owned(),
                    _ if number("runs") == 1 => format!("{} in 1 run", number("calls")),
                    _ => format!("{} in {} runs", number("calls"), number("runs")),
                }
            };
            let grants = procedure["grants"].as_array().unwrap().iter().map(|grant| {
                let marks = ["reachable", "requested", "granted"].map(|column| json!(held(&grant[column])));
                let [reachable, requested, granted] = marks;
                json!([grant["grant"], reachable, requested, granted, calls(&grant["exercised"])])
            });
            let without = procedure["ungranted"].as_array().unwrap().iter().map(|function| {
                let function = format!("no grant for {}", function.as_str().unwrap());
                json!([function, "● yes", "– no", "– no", "0"])
            });
            let caption = format!("Grants of {}", procedure["name"].as_str().unwrap());
            tables.insert(caption, Value::Array(grants.chain(without).collect()));
        }
        assert_eq!(self.found["rows"], Value::Object(tables));
    }

    fn is_read_without_a_mouse_and_without_eyes(&self) {
        let opened = self.found["opened"].as_array().unwrap();
        assert!(!opened.is_empty() && opened.iter().all(|one| *one == true), "{opened:?}");
        assert_eq!(self.found["unnamed"], json!([]));
        for role in NAMED {
            assert!(
                self.found["named"][role].as_u64().is_some_and(|count| count > 0),
                "{role}: {}",
                self.found["named"]
            );
        }
    }

    fn is_seen_well(&self) {
        for scheme in ["light", "dark"] {
            let lowest = &self.found["contrast"][scheme];
            assert!(lowest[0].as_f64().is_some_and(|ratio| ratio >= CONTRAST), "{scheme}: {lowest}");
        }
        assert!(self.found["width"].as_u64().is_some_and(|width| width <= 320), "{}", self.found["width"]);
    }

    /// What is folded on a screen is printed on paper; lines may break within it.
    fn is_whole_on_paper(&self) {
        let without_spaces = |text: &str| text.chars().filter(|one| !one.is_whitespace()).collect::<String>();
        let paper = without_spaces(self.found["paper"].as_str().unwrap());
        let folded = self.found["folded"].as_array().unwrap();
        assert!(folded.len() > 20, "{folded:?}");
        for text in folded {
            let text = without_spaces(text.as_str().unwrap());
            assert!(paper.contains(&text), "{text:?} is not in {paper:?}");
        }
    }
}

fn has_no_browser() -> bool {
    missing::program("chromium-headless-shell", "chromium-headless-shell") || missing::program("python3", "python3")
}

#[test]
fn the_page_is_for_everybody_and_for_paper() {
    if has_no_browser() {
        return;
    }
    let machine = Machine::stopped();
    machine.certify();
    machine.warded(["renew", "--force"]).ends(0);
    let page = Page::of(&machine, "unix");
    page.asks_for_nothing_and_says_nothing();
    page.has_only_its_own_markup();
    page.shows("It asked for something in 1 run: ");
    page.has_the_rows_of_the_object();
    page.is_read_without_a_mouse_and_without_eyes();
    page.is_seen_well();
    page.is_whole_on_paper();
}

/// How a file is used that is not an installed policy is not known, so the page says nothing about it.
#[test]
fn the_page_of_a_file_says_nothing_of_its_use() {
    let machine = Machine::stopped();
    let html = machine.path("audit.html");
    let unix = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/unix.wasm");
    machine.warded(["audit", unix, "--html", html.to_str().unwrap()]).ends(0);
    let page = fs::read_to_string(html).unwrap();
    for (words, are_there) in [
        ("<p class=\"verdict\">What it asks for is what it can call.</p>", true),
        ("n/a</td><td class=\"mark no\">n/a</td></tr>", true),
        ("denied", false),
        (">0</td>", false),
    ] {
        // Only after the style sheet, which has a class for each kind of finding.
        assert_eq!(page.split_once("</style>").unwrap().1.contains(words), are_there, "{words}");
    }
}
