//! The pages for the days after the first: runs every command of each page in its order, on an enrolled machine.

use super::day_one::{Page, commands_of, program};
use crate::support::{
    ClientKnowledge, Run,
    machine::{KEYS, keygen},
    missing,
};
use std::fs;

impl Page {
    /// An enrolled machine that stands for the page's machines; `None` unless this is root.
    fn enrolled() -> Option<Self> {
        if missing::root() {
            return None;
        }
        let page = Self::new()?;
        let at = |name: &str| page.member.machine.path(name);
        Run::copies_warded(&at("bin/warded"));
        // The machine has a name of its own, and commands that would change the host name change that one.
        fs::write(at("hostname"), "web1.example.org").unwrap();
        let hostname = at("hostname").display().to_string();
        program(&at("bin/hostnamectl"), &format!("printf %s \"$2\" >{hostname}"));
        let named = format!("exec unshare --uts sh -c 'hostname \"$(cat {hostname})\"; exec \"$@\"' sudo \"$@\"");
        program(&at("bin/sudo"), &named);
        let pid = at("sshd.pid").display().to_string();
        program(&at("bin/systemctl"), &format!("[ \"$1\" != restart ] || kill -HUP $(cat {pid})"));
        let keys = at("ssh").display().to_string();
        let each = format!(
            "[ \"$1\" = -A ] || exec /usr/bin/ssh-keygen \"$@\"
             for kind in rsa ecdsa ed25519; do
                 [ -e {keys}/ssh_host_${{kind}}_key ] \
                     || /usr/bin/ssh-keygen -q -t $kind -N '' -f {keys}/ssh_host_${{kind}}_key
             done"
        );
        program(&at("bin/ssh-keygen"), &each);
        let mut code = String::new();
        let (url, print) = (page.ca.url(), page.ca.fingerprint());
        for (host, command) in [
            ("admin", format!("warded bootstrap --ca-url {url} --fingerprint {print}").as_str()),
            ("admin", "warded invite web1.example.org -n web1"),
            ("web1", "sudo warded enrol"),
        ] {
            let (ended, said) = page.runs(host, command, &mut code);
            assert_eq!(ended, 0, "{command}: {said}");
        }
        Some(page)
    }

    /// The principals of a certificate.
    fn names(&self, key: &str) -> Vec<String> {
        let certificate = ssh_key::Certificate::from_openssh(&self.member.certificate(key)).unwrap();
        certificate.valid_principals().to_vec()
    }

    /// Checks that clients that know only the CA can connect.
    #[track_caller]
    fn serves_certificates(&self) {
        self.member.machine.client(&ClientKnowledge::Authority(self.ca.authority("host"))).connects();
    }

    /// Replaces a host key, and removes its certificate.
    fn make_anew(&self, key: &str) {
        let private = self.member.machine.path(&format!("ssh/ssh_host_{key}_key"));
        for file in [private.clone(), private.with_extension("pub"), self.member.certificate_file(key)] {
            fs::remove_file(file).unwrap();
        }
        keygen(&["-q", "-N", "", "-t", key, "-f"], &private);
    }
}

#[test]
fn of_outages() {
    let Some(page) = Page::enrolled() else { return };
    let mut code = String::new();
    let mut statuses = Vec::new();
    for (host, command) in commands_of(include_str!("../../../docs/OUTAGES.md")) {
        if command.contains("--token-file -") {
            page.member.signed_by_hand(&page.ca, &["-n", "web1.example.org,web1", "-V", "-2d:-1d"]);
            // The claim is not set, so the CA does not renew expired certificates.
            let (ended, said) = page.runs("web1", "sudo warded renew", &mut code);
            assert!(ended != 0 && said.contains("expired"), "{ended} {said}");
        }
        let (ended, said) = page.runs(host, command, &mut code);
        assert_eq!(ended, 0, "{command}: {said}");
        statuses.extend(command.ends_with("status").then_some(said));
    }
    assert_eq!(statuses.len(), 2);
    page.serves_certificates();
}

#[test]
fn of_machines_that_change() {
    let Some(page) = Page::enrolled() else { return };
    let machine = &page.member.machine;
    let mut code = String::new();
    page.make_anew("ecdsa");
    let (mut statuses, mut clone_begins, mut before) = (Vec::new(), None, None);
    for (host, command) in commands_of(include_str!("../../../docs/MACHINE-CHANGES.md")) {
        if command.contains("--token-file -") {
            assert_eq!(page.names("ecdsa"), ["web1.example.org", "web1"], "certified on the word of another");
            KEYS.iter().for_each(|key| page.make_anew(key));
            Run::of(
                machine.command("kill").args(["-HUP", fs::read_to_string(machine.path("sshd.pid")).unwrap().trim()]),
            )
            .ends(0);
        }
        if host == "clone" && clone_begins.is_none() {
            assert_eq!(page.names("rsa"), ["web2.example.org", "web2", "web1.example.org"]);
            page.serves_certificates();
            before = Some(KEYS.map(|key| machine.host_key(key)));
            clone_begins = Some(());
            fs::write(machine.path("hostname"), "web3").unwrap();
        }
        let (ended, said) = page.runs(host, command, &mut code);
        assert_eq!(ended, 0, "{command}: {said}");
        statuses.extend(command.ends_with("status").then_some(said));
    }
    let [renamed, cloned] = &statuses[..] else { panic!("{statuses:?}") };
    let note = "this machine is called web2.example.org, and is certified as web1, web1.example.org";
    assert!(renamed.contains(note), "{renamed}");
    assert!(!cloned.contains("is called") && cloned.contains("problems     none"), "{cloned}");
    assert_eq!(page.names("rsa"), ["web3.example.org"]);
    assert!(KEYS.iter().zip(before.unwrap()).all(|(key, before)| machine.host_key(key) != before));
}

#[test]
fn of_removal() {
    if missing::root() {
        return;
    }
    let Some(page) = Page::enrolled() else { return };
    let machine = &page.member.machine;
    fs::create_dir_all(machine.path("units")).unwrap();
    fs::create_dir_all(machine.path("cron.d")).unwrap();
    for file in ["units/warded-renew.timer", "units/warded-renew.service", "cron.d/warded"] {
        fs::write(machine.path(file), "").unwrap();
    }
    let mut code = String::new();
    for (host, command) in commands_of(include_str!("../../../docs/REMOVAL.md")) {
        let (ended, said) = page.runs(host, command, &mut code);
        let plans = command.contains("--plan");
        assert!(ended == 0 || (plans && ended == 3), "{command}: {ended} {said}");
    }
    for gone in ["units/warded-renew.timer", "cron.d/warded", "web1/state", "web1/state-status", "bin/warded"] {
        assert!(!machine.path(gone).exists(), "{gone}");
    }
    let left = machine.tree().into_keys().filter(|path| path.to_string_lossy().contains("warded.conf"));
    assert_eq!(left.count(), 0);
    for key in KEYS {
        assert!(!page.member.certificate_file(key).exists());
        machine.client(&ClientKnowledge::Keys(machine.host_key(key))).connects();
    }
}
