//! The CA rotates its host key, and lists both keys for a while. Clients learn the new one before a host is certified
//! with it, and forget the former one last.

use super::Site;
use crate::support::{ClientKnowledge, jwk, machine::keygen};
use serde_json::json;
use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

const KNOWN: &str = "/etc/ssh/ssh_known_hosts";

impl Site {
    /// The keys in the lines that `trust-host-ca` wrote.
    fn known(&self) -> String {
        let lines = fs::read_to_string(self.machine.file(KNOWN)).unwrap();
        lines
            .lines()
            .map(|line| format!("{}\n", line.strip_prefix("@cert-authority *.example.org ").unwrap()))
            .collect()
    }

    fn trusts(&self) -> String {
        self.warded("apply trust-host-ca --yes --set domain='*.example.org'").ends(0);
        self.known()
    }

    /// A login by a client with the known_hosts of this machine's users.
    fn gets_in(&self) -> Result<(), String> {
        let knows = ClientKnowledge::Authority(self.known());
        let run = super::in_a_moment(|| self.machine.client(&knows).tries());
        if run.code == Some(0) { Ok(()) } else { Err(run.stderr) }
    }
}

#[test]
fn nobody_is_out_while_the_ca_exchanges_its_key() {
    let Some(mut site) = Site::of(|_| 24 * 3600, |setup| setup) else { return };
    site.enrols();
    // The timer must not interfere.
    site.rests();
    let former = site.ca.authority("host");
    assert_eq!(site.trusts().lines().count(), 1);
    site.gets_in().unwrap();

    // The CA lists the next key, and still signs with the former one.
    keygen(&["-q", "-N", "", "-C", "", "-t", "ecdsa", "-f"], &site.ca.path("next_host_ca"));
    let next = fs::read_to_string(site.ca.path("next_host_ca.pub")).unwrap();
    let listed = |key: &str| json!([{ "type": "host", "federated": false, "key": jwk::public_of(key) }]);
    site.ca.reconfigure(|config| config["ssh"]["keys"] = listed(&next));
    during(&site, |site| {
        let both = site.trusts();
        assert_eq!(both.lines().count(), 2, "{both}");
        assert!([&former, &next].iter().all(|key| both.contains(key.split(' ').nth(1).unwrap().trim())), "{both}");
    });

    // The CA signs with the next key, and still lists the former one.
    for name in ["host_ca", "host_ca.pub"] {
        fs::rename(site.ca.path(name), site.ca.path(&format!("former_{name}"))).unwrap();
        fs::rename(site.ca.path(&format!("next_{name}")), site.ca.path(name)).unwrap();
    }
    site.ca.reconfigure(|config| config["ssh"]["keys"] = listed(&former));
    during(&site, |site| {
        let before = site.all_on_disk();
        site.warded("renew --force").ends(4).says(&["signs with a new key"]);
        assert_eq!(site.all_on_disk(), before);
        site.warded("renew --force --accept-risk=new-ca-key").ends(0);
        assert!(site.all_on_disk().iter().zip(&before).all(|(now, before)| now != before));
        assert_eq!(site.trusts().lines().count(), 2);
    });

    // The CA no longer lists the former key.
    site.ca.reconfigure(|config| config["ssh"]["keys"] = json!([]));
    during(&site, |site| {
        let left = site.trusts();
        assert_eq!(left.lines().count(), 1, "{left}");
        assert!(left.contains(next.split(' ').nth(1).unwrap().trim()), "{left}");
    });
    site.warded("remove --yes").ends(0);
    assert!(!site.machine.file(KNOWN).exists());
}

/// Does something while a client logs in again and again. The client must get in every time.
#[track_caller]
fn during(site: &Site, act: impl FnOnce(&Site)) {
    let (over, tried, out) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) || tried.load(Ordering::Relaxed) < 2 {
                out.lock().unwrap().extend(site.gets_in().err());
                tried.fetch_add(1, Ordering::Relaxed);
            }
        });
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(site)));
        over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let out = out.into_inner().unwrap();
    assert!(out.is_empty(), "{out:#?}");
    site.gets_in().unwrap();
}
