//! A machine from an image without host keys, before anything has made new ones.

use super::{KINDS, Site};

#[test]
fn a_machine_without_host_keys_gets_them_with_their_certificates() {
    let Some(site) = Site::of(|_| 24 * 3600, |setup| setup) else { return };
    site.machine.shell("systemctl stop ssh.service; rm /etc/ssh/ssh_host_*_key*").ends(0);
    site.admin(&format!("bootstrap --ca-url {} --fingerprint {}", site.ca.url(), site.ca.fingerprint()));
    site.admin("invite web1.example.org >/root/code");
    let enrol = site.warded("enrol --yes --code-file - </root/code").ends(0);
    enrol.prints(&["private key, made here", "Certified 3 keys"]);
    // One token is enough: the first key's certificate lets the CA certify the others, even before it was in place.
    let requests = |path: &str| site.ca.log().matches(&format!("\"path\":\"{path}\"")).count();
    assert_eq!((requests("/ssh/sign"), requests("/ssh/rekey")), (1, 2));
    site.machine.shell("systemctl start ssh.service").ends(0);
    for (kind, _, algorithm) in KINDS {
        assert_eq!(site.client(algorithm), (site.on_disk(kind), true), "{kind}");
    }
    site.warded("renew --force").ends(0);
}
