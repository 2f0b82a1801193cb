//! When a candidate takes over the answers that sshd gave for an earlier candidate, instead of asking sshd again.

use crate::private_sshd::PrivateSshd;
use warded_lib::{guard::Candidate, machine::sshd::tree::StagedFiles};

#[test]
fn what_sshd_said_is_taken_over_only_where_certificates_alone_differ() {
    let private = PrivateSshd::new();
    let sshd = private.found();
    let of = |serial| private.staged(&[("ed25519", &private.certificate("ed25519", serial, &[]))]);
    let candidate = |staged: &StagedFiles| Candidate::build(&sshd, staged).unwrap();
    let checked = candidate(&of(1));
    checked.view().unwrap();
    let again = candidate(&of(2)).after(&checked);
    assert!(again.is_asked());
    assert_eq!(again.view().unwrap(), checked.view().unwrap());
    let (mut other, mut more, mut fewer, mut no_certificate) = (of(2), of(2), of(2), of(2));
    other.insert(private.drop_in(), Some(b"HostCertificate /nowhere\n".to_vec()));
    more.insert(private.path("other").into(), Some(b"x".to_vec()));
    let certificate = other.keys().find(|path| path.to_string_lossy().ends_with("-cert.pub")).unwrap().clone();
    fewer.remove(&certificate);
    no_certificate.insert(certificate, Some(b"x".to_vec()));
    for staged in [other, more, fewer, no_certificate] {
        assert!(!candidate(&staged).after(&checked).is_asked(), "{staged:?}");
    }
    assert!(!candidate(&of(2)).after(&candidate(&of(1))).is_asked(), "it was never asked");
}
