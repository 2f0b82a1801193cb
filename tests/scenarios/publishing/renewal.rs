//! Renewals continue after the operator accepts something that grants no more: a later version, or narrower grants for
//! the same one.

use super::{Desk, PUBLISHER};
use crate::support::{Machine, policy};
use std::{fs, path::PathBuf};

/// The bundled component under another publisher's name, which stands in for the bundled policy.
struct Vendor {
    desk: Desk,
    file: PathBuf,
}

impl Vendor {
    fn new() -> Self {
        let desk = Desk::on(Machine::start());
        let file = desk.path("vendor.wasm");
        Self { desk, file }
    }

    fn request() -> String {
        include_str!("../../../guests/unix/policy.toml").replacen("\"unix\"", "\"vendor\"", 1)
    }

    /// Signs a version that also requests `more`. Returns its request.
    fn publish(&self, version: &str, more: &str) -> String {
        let unix = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/unix.wasm")).unwrap();
        let request = Self::request();
        let request = request.replacen("\"0.1.0\"", &format!("\"{version}\"\ninstead-of = [\"unix\"]"), 1);
        let request = request.replacen("authority = [\"renew host\"", &format!("{more}authority = [\"renew host\""), 1);
        fs::write(&self.file, policy::asking(&unix, &request)).unwrap();
        self.desk.sign(&self.file, PUBLISHER, "key").ends(0);
        request
    }

    fn renews(&self) {
        self.desk.run(&["renew", "--force"]).ends(0);
        self.desk.machine.serves_certificates();
    }
}

/// A machine that is enrolled with a policy continues to renew after an update, as long as the new version is granted
/// no more.
#[test]
fn renewal_goes_on_after_an_update() {
    let vendor = Vendor::new();
    let Vendor { desk, file } = &vendor;
    vendor.publish("1.0.0", "");
    desk.add(file, &[]).ends(0);
    desk.machine.certify();
    desk.run(&["policy", "remove", "vendor", "--yes"]).ends(5).says(&["renews this machine's certificates"]);
    vendor.publish("1.1.0", "");
    desk.update(file).ends(0);
    vendor.renews();
    let started = desk.machine.audit().into_iter().rfind(|record| record["kind"] == "started").unwrap();
    assert!(started["detail"].as_str().unwrap().contains("asks for no more"), "{started}");
    // The operator has to accept a version that requests more, and it renews only after it was applied.
    vendor.publish("1.2.0", "files.read = [\"/etc/hostname\"]\n");
    desk.update(file).ends(5).says(&["it asks for more: files.read /etc/hostname (of renew-host)"]);
    desk.add(file, &[]).ends(0);
    let advice = "warded apply certify-host: it shows what the new one does, and asks";
    desk.run(&["renew", "--force"]).ends(5).says(&["files.read /etc/hostname", advice]);
    desk.run(&["policy", "rollback", "vendor"]).ends(0);
    desk.run(&["renew", "--force"]).ends(0);
    // After this rollback, the version in force is wider than the one that was accepted.
    let renews_no_more = ["note: renew-host", "vendor 1.2.0", "warded apply certify-host"];
    desk.run(&["policy", "rollback", "vendor", "--plan"]).ends(3).says(&renews_no_more);
    desk.run(&["policy", "rollback", "vendor"]).ends(0).says(&renews_no_more);
    desk.run(&["renew", "--force"]).ends(5);
    assert!(!desk.run(&["policy", "rollback", "vendor"]).ends(0).stderr.contains("note: renew-host"));
    desk.run(&["renew", "--force"]).ends(0);
    desk.run(&["policy", "remove", "vendor", "--yes", "--accept-risk", "stop-renewal"]).ends(0);
}

/// The grants that a machine used are enough for it to do the same again.
#[test]
fn a_suggested_policy_grants_what_was_used() {
    let vendor = Vendor::new();
    let Vendor { desk, file } = &vendor;
    vendor.publish("1.0.0", "");
    desk.add(file, &[]).ends(0);
    desk.machine.certify();
    desk.run(&["renew", "--force"]).ends(0);
    let suggested = desk.run(&["audit", "vendor", "--suggest"]).ends(0).stdout;
    for words in ["# vendor 1.0.0, as far as it was used", "#   renew-host: authority issue host (not used)"] {
        assert!(suggested.contains(words), "{words}: {suggested}");
    }
    let grants = desk.path("suggested.toml");
    fs::write(&grants, &suggested).unwrap();
    desk.add(file, &["--grants", grants.to_str().unwrap()]).ends(0);
    vendor.renews();
    desk.run(&["undo", "--yes"]).ends(0);
    desk.machine.certify();
    vendor.renews();
    let again = desk.run(&["audit", "vendor", "--suggest", "--json"]).ends(0).object("warded.audit/1");
    assert_eq!(again["suggestion"]["changes"], serde_json::json!([]), "{again}");
    desk.run(&["audit", file.to_str().unwrap(), "--suggest"]).ends(5).says(&["has no audit log"]);
}

/// Only the grants are narrowed: by `add --grants`, by a lock file, and by hand. The machine continues to renew each
/// time.
#[test]
fn renewal_goes_on_after_its_grants_were_narrowed() {
    let vendor = Vendor::new();
    let Vendor { desk, file } = &vendor;
    let request = vendor.publish("1.0.0", "");
    desk.add(file, &[]).ends(0);
    desk.machine.certify();
    // `issue host` is for host keys that were replaced.
    let issues = "[\"renew host\", \"issue host\"]";
    assert!(request.contains(issues), "{request}");
    let first = request.replacen(issues, "[\"renew host\"]", 1);
    let grants = desk.path("less.toml");
    fs::write(&grants, &first).unwrap();
    desk.add(file, &["--grants", grants.to_str().unwrap()]).ends(0);
    vendor.renews();
    desk.run(&["status"]).ends(0);

    let lock = fs::read_to_string(desk.machine.path("policies.lock")).unwrap();
    let list = desk.path("fleet.lock");
    let summary = "Renew the certificates of this machine";
    assert!(lock.contains(summary), "{lock}");
    fs::write(&list, lock.replacen(summary, "Only renew the certificates of this machine", 1)).unwrap();
    let directory = file.parent().unwrap().to_str().unwrap();
    desk.run(&["policy", "add", "--lock", list.to_str().unwrap(), "--from", directory, "--yes"]).ends(0);
    vendor.renews();

    // Narrowed by hand, and enrolled with that; then an update replaces it.
    let policy = desk.machine.path("policies/vendor.toml");
    let by_hand = fs::read_to_string(&policy).unwrap().replacen("Only renew", "By hand: renew", 1);
    fs::write(&policy, by_hand).unwrap();
    vendor.renews();
    desk.run(&["undo", "--yes"]).ends(0);
    desk.machine.certify();
    vendor.publish("1.1.0", "");
    desk.add(file, &["--grants", grants.to_str().unwrap()]).ends(5).says(&["the grants are for another version"]);
    fs::write(&grants, first.replacen("\"1.0.0\"", "\"1.1.0\"", 1)).unwrap();
    desk.add(file, &["--grants", grants.to_str().unwrap()]).ends(0);
    vendor.renews();
}

/// If two policies have the procedure, the advice names the right one.
#[test]
fn the_advice_names_the_policy_where_it_has_to() {
    let vendor = Vendor::new();
    let Vendor { desk, file } = &vendor;
    let beside_unix = |version: &str, more: &str| {
        let request = vendor.publish(version, more).replacen("instead-of = [\"unix\"]", "", 1);
        fs::write(file, policy::asking(&fs::read(file).unwrap(), &request)).unwrap();
        desk.sign(file, PUBLISHER, "key").ends(0);
        desk.add(file, &[]).ends(0);
    };
    beside_unix("1.0.0", "");
    let certify = ["apply", "certify-host", "--policy", "vendor", "--set", "principal=web1.example.org", "--yes"];
    desk.run(&certify).ends(0);
    beside_unix("1.1.0", "files.read = [\"/etc/hostname\"]\n");
    let advice = "warded apply certify-host --policy vendor: it shows";
    desk.run(&["renew", "--force"]).ends(5).says(&["files.read /etc/hostname", advice]);
    desk.run(&["status"]).ends(4).prints(&[advice]);
}
