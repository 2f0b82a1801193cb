//! A login on another device (RFC 8628).

use super::Member;
use crate::support::{Run, issuer::Wrong};

impl Member {
    /// On a machine without a browser.
    fn on_device(&self, more: &[&str]) -> Run {
        let mut command = self.command(more);
        for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
            command.env_remove(name);
        }
        Run::of(&mut command)
    }
}

#[test]
fn a_machine_without_a_browser_shows_a_code() {
    let Some(member) = Member::new() else { return };
    member.issuer.has_devices(&["authorization_pending", "slow_down", "authorization_pending"]);
    let run = member.on_device(&["root"]).ends(0).prints(&["root@lab.test has a certificate"]);
    run.says(&["/activate and enter the code WDJB-MJHT (within 2 min)", "/activate?user_code=WDJB-MJHT"]);
    member.person.ssh(member.socket(), &[]).ends(0).prints(&["in"]);
    // `slow_down` adds five seconds for good.
    let polls: Vec<_> = member.issuer.log().into_iter().filter(|(_, asked)| asked == "POST /token").collect();
    let gaps: Vec<i64> = polls.windows(2).map(|two| two[1].0.duration_since(two[0].0).as_secs()).collect();
    assert!(matches!(gaps.as_slice(), [first, second, third] if *first < 5 && *second >= 6 && *third >= 6), "{gaps:?}");
}

#[test]
fn a_device_is_chosen_by_name_and_its_refusals_are_told() {
    let Some(member) = Member::new() else { return };
    Run::of(&mut member.command(&["root", "--device"])).ends(1).says(&[
        "no login on another device",
        "device_authorization_endpoint",
        "ssh -L",
    ]);
    member.issuer.has_devices(&[]);
    member.issuer.goes_wrong(Wrong::NeverOnDevice);
    Run::of(&mut member.command(&["root", "--device"]))
        .ends(1)
        .says(&["the code was not used in time", "--device again"]);
    member.issuer.goes_wrong(Wrong::Denied);
    Run::of(&mut member.command(&["root", "--device"])).ends(1).says(&["denied by", "access_denied"]);
    member.issuer.goes_wrong(Wrong::OtherKey);
    Run::of(&mut member.command(&["root", "--device"])).ends(5).says(&["signature"]);
    assert!(!member.told().exists(), "a browser was opened");
}
