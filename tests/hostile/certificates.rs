//! Keys and certificates that do not belong together, or that this machine must not have.

use super::case::{Case, case};
use crate::support::{
    Machine,
    machine::keygen,
    script::{Argument::Expression, Argument::Text, Script},
};
use std::fs;

const KEY: &str = "{dir}/ssh/ssh_host_ed25519_key";
const OTHER: &str = "{dir}/ssh/ssh_host_ecdsa_key";
const CERTIFICATE: &str = "{dir}/ssh/ssh_host_ed25519_key-cert.pub";
const GRANTS: &[&str] =
    &["keys = [\"{dir}/ssh/*\"]", "files.read = [\"{dir}/ssh/*\"]", "authority = [\"renew host\", \"rekey host\"]"];

/// Makes a certificate for the key of [`KEY`], signed by `ca`.
fn certified(machine: &Machine, ca: &str, names: &str, validity: &str) {
    let ca = machine.path(ca);
    let words = ["-q", "-s", ca.to_str().unwrap(), "-h", "-I", "web1", "-n", names, "-V", validity];
    keygen(&words, &machine.path("ssh/ssh_host_ed25519_key.pub"));
}

/// Reads [`CERTIFICATE`], and asks for its successor with the key in `$h`.
fn succeeds(guest: &mut Script, function: &str) {
    guest.raw("(local.set $i (local.get $h)) ");
    guest.does("authority.read", &[Text(CERTIFICATE.as_bytes())]).takes(8);
    guest.does(function, &[Expression("(local.get $i)"), Expression("(local.get $h)")]);
}

fn renews(name: &str, key: &'static str, prepare: impl Fn(&Machine) + Send + Sync + 'static) -> Case<()> {
    case(name).granted(GRANTS).told(&["--set", "principal=localhost"]).given(prepare).does(move |guest| {
        guest.does("keys.open", &[Text(key.as_bytes())]).takes(8);
        succeeds(guest, "authority.renew");
    })
}

fn rekeys(name: &str, replaced: &'static str, function: &'static str) -> Case<()> {
    let prepare = |machine: &Machine| certified(machine, "ca/host_ca", "localhost", "-1m:+1d");
    case(name).granted(GRANTS).told(&["--set", "principal=localhost"]).given(prepare).does(move |guest| {
        guest.does(function, &[Text(replaced.as_bytes())]).takes(if function == "keys.open" { 8 } else { 4 });
        succeeds(guest, "authority.rekey");
    })
}

pub(super) fn cases() -> Vec<Case> {
    const HOST: &str = "host certificate for localhost";
    vec![
        case("a key of another algorithm than the one that is there")
            .granted(GRANTS)
            .does(|guest| {
                guest.does("keys.ensure", &[Text(OTHER.as_bytes()), Text(b"ssh-ed25519")]);
            })
            .gives_up("keys.ensure", OTHER, "algorithm", "is a key of the algorithm ecdsa-sha2-nistp256"),
        case("a new key in place of none")
            .granted(GRANTS)
            .does(|guest| {
                guest.does("keys.replace", &[Text(b"{dir}/ssh/none")]);
            })
            .gives_up("keys.replace", "{dir}/ssh/none", "not-a-key", "there is no private key in "),
        case("a new key in place of a file that is none")
            .granted(GRANTS)
            .given(|machine| fs::write(machine.path("ssh/none"), "text").unwrap())
            .does(|guest| {
                guest.does("keys.replace", &[Text(b"{dir}/ssh/none")]);
            })
            .gives_up("keys.replace", "{dir}/ssh/none", "not-a-key", "{dir}/ssh/none: "),
        renews("the successor of another key's certificate", OTHER, |machine| {
            certified(machine, "ca/host_ca", "localhost", "-1m:+1d");
        })
        .gives_up("authority.renew", HOST, "not-a-certificate", "is for another key"),
        renews("the successor of a certificate for a name that nobody confirmed", KEY, |machine| {
            certified(machine, "ca/host_ca", "bank.example.org", "-1m:+1d");
        })
        .gives_up(
            "authority.renew",
            "host certificate for bank.example.org",
            "unconfirmed",
            "bank.example.org is not a name that the operator confirmed",
        ),
        renews("the successor of another CA's certificate", KEY, |machine| {
            keygen(&["-q", "-N", "", "-t", "ed25519", "-f"], &machine.path("other_ca"));
            certified(machine, "other_ca", "localhost", "-1m:+1d");
        })
        .gives_up("authority.renew", HOST, "foreign", "was signed by another CA"),
        rekeys("the word of a key that nobody replaced", KEY, "keys.open").gives_up(
            "authority.rekey",
            HOST,
            "not-replaced",
            "is not replaced in this run",
        ),
        rekeys("the word of another key than the one that was replaced", OTHER, "keys.replace").gives_up(
            "authority.rekey",
            HOST,
            "not-a-certificate",
            "is for another key than the one that ",
        ),
    ]
}
