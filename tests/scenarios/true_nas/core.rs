//! TrueNAS CORE and FreeNAS: the same guest with the policy `truenas-core`, and FreeBSD's paths in a namespace on
//! Linux. Warded itself does not run on FreeBSD.

use super::USER;
use crate::support::true_nas::{CERTIFY, REMOVE, Settings, TRUST, TrueNas};

#[test]
fn everything_comes_and_goes_with_the_paths_of_core() {
    for (version, options, two_factor) in
        [("13.3", "Banner none\n", true), ("12.0", "", true), ("11.3", "", false), ("11.2", "Banner none", false)]
    {
        let settings = Settings { password_user: USER, two_factor, options, version };
        let Some(machine) = TrueNas::start(settings) else { return };
        let before = machine.state();
        machine.lets_everybody_in(false);
        let plan = machine.warded(&["plan", "certify-host", "--set", "principal=web1.example.org"]).ends(3);
        let first = plan.stdout.lines().next().unwrap();
        assert!(first.contains("policy truenas-core 0.1.0 (") && first.contains("instead of unix"), "{first}");
        assert_eq!(machine.state(), before, "{version}");

        machine.warded(&CERTIFY).ends(0);
        machine.lets_everybody_in(true);
        machine.is_as_generated();
        machine.warded(&CERTIFY).ends(0).prints(&["Nothing to do"]);
        machine.calls(&["cronjob.run", "1", "true"]).ends(0);
        machine.warded(&["renew", "--force"]).ends(0);
        machine.calls(&["service.reload", "ssh"]).ends(0).prints(&["True"]);
        machine.lets_everybody_in(true);
        machine.lets_in_by_certificate(false);
        machine.warded(&TRUST).ends(0);
        machine.is_as_generated();
        machine.lets_everybody_in(true);
        machine.lets_in_by_certificate(true);
        machine.warded(&REMOVE).ends(0);
        assert_eq!(machine.state(), before, "{version}");
        machine.lets_everybody_in(false);
        machine.lets_in_by_certificate(false);

        machine.warded(&CERTIFY).ends(0);
        machine.is_as_generated();
        machine.warded(&["undo", "--yes"]).ends(0);
        assert_eq!(machine.state(), before, "{version}");
        machine.lets_everybody_in(false);
    }
}

/// There `$(…)` removes the last line end, so the file never has exactly the stored text.
#[test]
fn a_line_end_that_freenas_drops_is_told() {
    let Some(machine) = TrueNas::start(Settings { options: "Banner none\n", ..Settings::of("11.2") }) else { return };
    let before = machine.state();
    machine.warded(&CERTIFY).ends(1).says(&["stale-configuration"]);
    assert_eq!(machine.state(), before);
}
