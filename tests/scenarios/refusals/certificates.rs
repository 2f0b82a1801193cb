//! Host certificates that sshd accepts silently, and clients reject.

use super::{drop_in, refused, serves};
use crate::support::{
    Machine,
    machine::{NAME, keygen},
};
use std::{fs, path::PathBuf};

#[test]
fn a_certificate_that_no_client_would_take() {
    let machine = Machine::start();
    let own = "ssh/ssh_host_ed25519_key.pub";
    keygen(&["-q", "-N", "", "-t", "ed25519", "-f"], &machine.path("client/other"));
    let other = "client/other.pub";
    for (name, of, options, says) in [
        ("foreign", other, vec!["-h", "-n", NAME], "No matching private key for certificate"),
        ("user", own, vec!["-n", "root", "-V", "-1m:+1h"], "is a user certificate"),
        ("expired", own, vec!["-h", "-n", NAME, "-V", "20200101:20200102"], "expired at 2020-01-02"),
        ("early", own, vec!["-h", "-n", NAME, "-V", "20990101:20990102"], "is not valid before 2099-01-01"),
        ("nameless", own, vec!["-h", "-V", "-1m:+1h"], "names no principal"),
    ] {
        let certificate = sign(&machine, name, of, &options);
        let line = format!("HostCertificate {}", certificate.display());
        refused(&machine, r#"["HostCertificate"]"#, &[&line], &[says, certificate.to_str().unwrap()]);
    }
    let missing = machine.path("client/missing-cert.pub");
    let line = format!("HostCertificate {}", missing.display());
    refused(&machine, r#"["HostCertificate"]"#, &[&line], &["missing-cert.pub", "No such file"]);
    fs::write(&missing, "no certificate\n").unwrap();
    refused(&machine, r#"["HostCertificate"]"#, &[&line], &["missing-cert.pub"]);
    serves(&machine);

    // Correct certificates are accepted, so the others were refused for their faults.
    let good = |name: &str, of: &str| {
        let certificate = sign(&machine, name, of, &["-h", "-n", NAME, "-V", "-1m:+1h"]);
        format!("HostCertificate {}", certificate.display())
    };
    let lines = [good("good", own), good("good-ecdsa", "ssh/ssh_host_ecdsa_key.pub")];
    // With only one of them, clients that know only the other key would reject sshd.
    for line in &lines {
        refused(&machine, r#"["HostCertificate"]"#, &[line], &["clients that know only sshd's", "replace-host-keys"]);
    }
    drop_in(&machine, r#"["HostCertificate"]"#, &lines.each_ref().map(String::as_str)).ends(0);
}

/// Makes the machine's CA sign a public key.
fn sign(machine: &Machine, name: &str, of: &str, options: &[&str]) -> PathBuf {
    let public = machine.path(&format!("client/{name}.pub"));
    if machine.path(of) != public {
        fs::copy(machine.path(of), &public).unwrap();
    }
    let ca = machine.path("ca/host_ca");
    let mut arguments = vec!["-q", "-s", ca.to_str().unwrap(), "-I", name];
    arguments.extend(options);
    keygen(&arguments, &public);
    machine.path(&format!("client/{name}-cert.pub"))
}
