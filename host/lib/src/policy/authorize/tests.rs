use super::*;
use crate::machine::service::ServiceOperation;

const KEY: &str = "/srv/keys/a/key";
const CERTIFICATE: &str = "/srv/keys/a/key-cert.pub";
const BESIDE: &str = "certificates = ['beside-key']";

/// If a key was opened through a wildcard, the rest of its path does not come from the operator.
#[test]
fn what_belongs_to_a_key_is_reached_as_the_key_was() {
    let certificate = |path: &str| Need::WriteCertificate(path.parse().unwrap());
    let replace = || Need::ReplaceKey(KEY.parse().unwrap());
    let rekeys = |keys: &str| format!("authority = ['rekey host']\nkeys = [{keys}]");
    for (grants, opened, need, expected) in [
        // sshd named the key, or the policy writes out its path.
        (BESIDE.to_owned(), &[4][..], certificate(CERTIFICATE), Some(4)),
        (BESIDE.to_owned(), &[2], certificate(CERTIFICATE), Some(2)),
        // The key was opened through both grants, in either order.
        (BESIDE.to_owned(), &[2, 4], certificate(CERTIFICATE), Some(4)),
        (BESIDE.to_owned(), &[4, 2], certificate(CERTIFICATE), Some(4)),
        (BESIDE.to_owned(), &[], certificate(CERTIFICATE), None),
        (BESIDE.to_owned(), &[4], certificate("/srv/keys/a/key"), None),
        (BESIDE.to_owned(), &[4], certificate("/srv/keys/b/key-cert.pub"), None),
        // An additional grant does not restrict the first, and adds what it says itself.
        (format!("certificates = ['beside-key', '{CERTIFICATE}']"), &[2], certificate(CERTIFICATE), Some(4)),
        ("certificates = ['beside-key', '/srv/*/a/*']".to_owned(), &[2], certificate(CERTIFICATE), Some(2)),
        (rekeys("'sshd-host-keys'"), &[4], replace(), Some(4)),
        (rekeys("'sshd-host-keys', '/srv/keys/*/key'"), &[2], replace(), Some(2)),
        (rekeys("'/srv/keys/*/key'"), &[2], replace(), Some(2)),
        (rekeys(&format!("'{KEY}'")), &[4], replace(), Some(4)),
        (rekeys("'sshd-host-keys'"), &[], replace(), None),
    ] {
        let mut circumstances = Circumstances {
            places: Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: None },
            protected: Vec::new(),
            trusted: Vec::new(),
            mapped: Vec::new(),
            confirmed: BTreeSet::new(),
            keys: BTreeMap::new(),
            actions: BTreeMap::new(),
        };
        opened.iter().for_each(|literal| circumstances.hold(&KEY.parse().unwrap(), *literal));
        let procedure: Procedure = toml::from_str(&format!("summary = 's'\n{grants}")).unwrap();
        let permit = authorize(&procedure, &circumstances, &need);
        assert_eq!(permit.ok().map(|permit| permit.literal), expected, "{grants} {opened:?} {need:?}");
    }
}

/// No handle is open, and Warded's own directory is protected.
fn nothing_held() -> Circumstances {
    Circumstances {
        places: Places { sshd_config: "/etc/ssh/sshd_config".parse().unwrap(), home: None },
        protected: vec!["/var/lib/warded".parse().unwrap()],
        trusted: Vec::new(),
        mapped: Vec::new(),
        confirmed: ["web1".to_owned()].into(),
        keys: BTreeMap::new(),
        actions: [("show", action::Kind::Query), ("set", action::Kind::Change), ("other", action::Kind::Query)]
            .map(|(name, kind)| (name.parse().unwrap(), kind))
            .into(),
    }
}

fn procedure(grants: &str) -> Procedure {
    toml::from_str(&format!("summary = 's'\n{grants}")).unwrap()
}

fn named(names: &[&str]) -> Principals {
    Principals::parse(Kind::Host, names).unwrap()
}

/// Each need is granted by the lines listed for it, and by no others.
#[test]
fn every_need_has_a_grant_of_its_own() {
    let path = || KEY.parse::<AbsolutePath>().unwrap();
    let read: &[&str] = &["files.read = ['/srv/keys/a/*']"];
    let write: &[&str] = &["files.write = ['/srv/keys/a/*']"];
    let certificates: &[&str] = &["certificates = ['/srv/keys/a/*']"];
    let key: &[&str] = &["keys = ['/srv/keys/a/*']"];
    let both = [read, write].concat();
    let read_or_certificate = [read, certificates].concat();
    let cases: Vec<(Need, &[&str])> = vec![
        (Need::Fact("hostname".into()), &["facts = ['hostname']"]),
        (Need::ReadFile(path()), &both),
        (Need::ListDirectory("/srv/keys/a".parse().unwrap()), &both),
        (Need::WriteFile(path()), write),
        (Need::RemoveFile(path()), write),
        (Need::HostKeys, &["keys = ['sshd-host-keys']"]),
        (Need::OpenKey(path()), key),
        (Need::EnsureKey(path()), key),
        (Need::ReadCertificate(path()), &read_or_certificate),
        (Need::WriteCertificate(path()), certificates),
        (Need::Roots(Kind::Host), &["authority = ['roots host']"]),
        (Need::Roots(Kind::User), &["authority = ['roots user']"]),
        (Need::Issue(Kind::Host, named(&["web1"])), &["authority = ['issue host']"]),
        (Need::Renew(Kind::Host, named(&["web1"])), &["authority = ['renew host']"]),
        (Need::Rekey(Kind::Host, named(&["web1"])), &["authority = ['rekey host']"]),
        (Need::Effective("port".into()), &["sshd.effective = true"]),
        (Need::ClientEffective("user".into()), &["ssh.effective = true"]),
        (Need::Service(ServiceOperation::Reload, "ssh".into()), &["services.ssh = ['reload']"]),
        (Need::Service(ServiceOperation::Restart, "app".into()), &["services.app = ['restart']"]),
        (Need::Query("show".into()), &["actions = ['show']"]),
        (Need::Change("set".into()), &["actions = ['set']"]),
        (Need::Schedule(true), &["schedule = ['renew']"]),
        (Need::Schedule(false), &["schedule = ['renew']"]),
        (Need::Inform, &["log = ['info']"]),
        (Need::Warn, &["log = ['warn']"]),
    ];
    let lines: BTreeSet<&str> = cases.iter().flat_map(|(_, lines)| lines.iter().copied()).collect();
    let others = ["facts = ['os']", "services.sshd = ['reload']", "files.read = ['/srv/keys/*']"];
    for (need, own) in &cases {
        for line in lines.iter().copied().chain(others) {
            let granted = authorize(&procedure(line), &nothing_held(), need).is_ok();
            assert_eq!(granted, own.contains(&line), "{line}: {need:?}");
        }
        let denial = authorize(&procedure(""), &nothing_held(), need).unwrap_err();
        // The line that a denial suggests would grant the need.
        let hint = denial.grant.unwrap();
        assert!(authorize(&procedure(&hint), &nothing_held(), need).is_ok(), "{hint}: {need:?}");
    }
}

#[test]
fn a_key_is_replaced_by_two_grants() {
    let need = Need::ReplaceKey(KEY.parse().unwrap());
    let (key, rekey) = (format!("keys = ['{KEY}']"), "authority = ['rekey host']".to_owned());
    let denied = |grants: &str| authorize(&procedure(grants), &nothing_held(), &need).unwrap_err().grant.unwrap();
    assert_eq!(denied(&rekey), key.replace('\'', "\""));
    assert_eq!(denied(&key), rekey.replace('\'', "\""));
    assert!(authorize(&procedure(&format!("{key}\n{rekey}")), &nothing_held(), &need).is_ok());
}

#[test]
fn a_certificate_is_for_names_that_the_operator_confirmed() {
    let grants = procedure("authority = ['issue host']");
    for (names, denied) in [(&["web1"][..], None), (&["web1", "web2"], Some("web2")), (&["web10"], Some("web10"))] {
        let decided = authorize(&grants, &nothing_held(), &Need::Issue(Kind::Host, named(names)));
        let reason = decided.err().and_then(|denial| denial.reason);
        assert_eq!(reason.as_deref().and_then(|reason| reason.split(' ').next()), denied, "{names:?}");
    }
}

#[test]
fn no_grant_covers_what_is_protected() {
    let grants = "files.read = ['/var/lib/*/x', '/var/lib/*']\nfiles.write = ['/var/lib/*/x']\n\
                  keys = ['/var/lib/*/x', 'sshd-host-keys']\ncertificates = ['/var/lib/*/x']\n\
                  authority = ['rekey host']";
    let needs: [fn(AbsolutePath) -> Need; 8] = [
        Need::ReadFile,
        Need::WriteFile,
        Need::RemoveFile,
        Need::OpenKey,
        Need::EnsureKey,
        Need::ReplaceKey,
        Need::ReadCertificate,
        Need::WriteCertificate,
    ];
    for (path, protected) in [("/var/lib/warded/x", true), ("/var/lib/warden/x", false)] {
        let path: AbsolutePath = path.parse().unwrap();
        assert_eq!(nothing_held().is_protected(&path), protected);
        for need in needs.map(|need| need(path.clone())) {
            let decided = authorize(&procedure(grants), &nothing_held(), &need);
            assert_eq!(decided.is_err_and(|denial| denial.reason.is_some()), protected, "{need:?}");
        }
    }
    let list = Need::ListDirectory("/var/lib/warded".parse().unwrap());
    assert!(authorize(&procedure("files.read = ['/var/lib/warded/*']"), &nothing_held(), &list).is_err());
}

#[test]
fn a_query_is_no_change() {
    let (query, change) = (|name: &str| Need::Query(name.to_owned()), |name: &str| Need::Change(name.to_owned()));
    for (need, expected) in [
        (query("show"), Ok("actions show")),
        (change("set"), Ok("actions set")),
        (query("set"), Err(Some("set is a change, and no query"))),
        (change("show"), Err(Some("show is a query, and no change"))),
        (query("other"), Err(None)),
        (query("gone"), Err(Some("the policy has no action gone"))),
        (query("show "), Err(None)),
    ] {
        let permit = authorize(&procedure("actions = ['show', 'set', 'gone']"), &nothing_held(), &need);
        let found = permit.as_ref().map(|permit| permit.grant.as_str());
        assert_eq!(found.map_err(|denial| denial.reason.as_deref()), expected, "{need:?}");
    }
}

#[test]
fn what_one_grant_forbids_no_other_allows() {
    let forbids = |grants: &str| {
        let need = Need::WriteFile("/t/d/x".parse().unwrap());
        let permit = authorize(&procedure(&format!("files.write = [{grants}]")), &nothing_held(), &need).unwrap();
        (permit.forbid, permit.parents, permit.literal)
    };
    for (grants, forbid, parents, literal) in [
        ("'/t/d/x'", "", false, 3),
        ("{ path = '/t/d/x', forbid = '{}' }", "{}", false, 3),
        ("{ path = '/t/d/x', forbid = '{}', parents = true }, '/t/d/x'", "{}", true, 3),
        ("{ path = '/t/d/*', forbid = '{}' }, '/t/d/x'", "{}", false, 3),
        ("'/t/d/x', { path = '/t/d/*', forbid = '{', parents = true }", "{", true, 3),
        ("{ path = '/t/d/*', parents = true }", "", true, 2),
    ] {
        assert_eq!(forbids(grants), (forbid.to_owned(), parents, literal), "{grants}");
    }
    let read = Need::ReadFile("/t/d/x".parse().unwrap());
    let permit = authorize(&procedure("files.write = [{ path = '/t/d/x', forbid = '{' }]"), &nothing_held(), &read);
    assert_eq!(permit.unwrap().grant, "files.write { path = \"/t/d/x\", forbid = \"{\" }");
}
