//! The pages on which a browser ends, each in a real one (tests/peers/page).

use crate::support::{Machine, missing};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use warded_lib::sso::Page;

/// WCAG 2, level AA.
const CONTRAST: f64 = 4.5;

#[test]
fn each_page_is_for_everybody() {
    if missing::program("chromium-headless-shell", "chromium-headless-shell") || missing::program("python3", "python3")
    {
        return;
    }
    let machine = Machine::stopped();
    // Screenshots for a person to look at.
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(screenshots).unwrap();
    for page in Page::ALL {
        let name = format!("{page:?}");
        let file = machine.path(&format!("{name}.html"));
        fs::write(&file, page.html()).unwrap();
        let screenshot = screenshots.join(format!("login-{name}.png"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers/page");
        let output = Command::new(script).arg(&file).arg(&screenshot).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        eprintln!("{}", screenshot.display());
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        for what in ["requests", "said", "unnamed"] {
            assert_eq!(found[what], json!([]), "{name}: {what}");
        }
        assert_eq!(found["scripts"], 0, "{name}");
        // The page has nothing to press or open, so there is nothing for a keyboard to reach.
        assert_eq!(found["opened"], json!([]), "{name}");
        for role in ["RootWebArea", "heading"] {
            assert_eq!(found["named"][role], 1, "{name}: {role}");
        }
        for scheme in ["light", "dark"] {
            let lowest = &found["contrast"][scheme];
            assert!(lowest[0].as_f64().is_some_and(|ratio| ratio >= CONTRAST), "{name}, {scheme}: {lowest}");
        }
        assert!(found["width"].as_u64().is_some_and(|width| width <= 320), "{name}: {}", found["width"]);
    }
}
