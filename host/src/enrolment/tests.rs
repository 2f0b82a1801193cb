use super::*;

const RENEWAL: &str = "renew-host";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A record of an earlier binary, and this binary's policy of the same name.
pub(super) fn earlier() -> (Enrolment, BoundPolicy) {
    let granting = components::find("/nonexistent".as_ref(), &name("unix")).unwrap();
    let (grants, accepted) = components::earlier_policies().next().unwrap();
    let config = "/etc/ssh/sshd_config".parse().unwrap();
    let mut record = Enrolment::new(&granting, (name(RENEWAL), 1), Vec::new(), BTreeSet::new(), config, String::new());
    (record.component, record.grants) = (accepted.component.unwrap(), grants);
    (record, granting)
}

#[test]
fn only_a_bundled_successor_that_is_granted_no_more_is_covered() {
    let (record, bundled) = earlier();
    let wider = |procedure: &str| {
        let mut wider = bundled.clone();
        let granted = wider.policy.procedures.get_mut(&name(procedure)).unwrap();
        granted.files.write.push("/etc/cron.d/*".parse().unwrap());
        wider
    };
    let from_a_file = BoundPolicy { origin: Origin::File("/etc/warded/policies/unix.toml".into()), ..bundled.clone() };
    let other_grants = Enrolment { grants: Digest::of(b""), ..record.clone() };
    let other_component = Enrolment { component: Digest::of(b""), ..record.clone() };
    let same_component = Enrolment { component: bundled.digest, ..other_grants.clone() };
    let accepted = Enrolment { grants: bundled.grants, ..same_component.clone() };
    let proxmox = || Standing::Wider(vec!["files.read /etc/pve/nodes".to_owned()]);
    let beyond = || Standing::Wider(vec!["files.write /etc/cron.d/*".to_owned()]);
    for (record, granting, procedure, standing) in [
        (&accepted, &bundled, RENEWAL, Standing::Accepted),
        (&record, &bundled, RENEWAL, Standing::Successor),
        // In this version, rekey-host additionally asks whether this is Proxmox VE.
        (&record, &bundled, "rekey-host", proxmox()),
        (&record, &bundled, "trust-host-ca", Standing::Successor),
        (&record, &wider(RENEWAL), RENEWAL, beyond()),
        // What another procedure is granted does not matter to the renewal, and vice versa.
        (&record, &wider("rekey-host"), RENEWAL, Standing::Successor),
        (&record, &wider("trust-host-ca"), "trust-host-ca", beyond()),
        (&record, &from_a_file, RENEWAL, Standing::OtherComponent),
        (&other_grants, &bundled, RENEWAL, Standing::OtherComponent),
        (&other_component, &bundled, RENEWAL, Standing::OtherComponent),
        (&same_component, &bundled, RENEWAL, Standing::OtherGrants),
    ] {
        assert_eq!(record.standing(granting, &name(procedure)), standing);
        assert_eq!(standing.is_covered(), matches!(standing, Standing::Accepted | Standing::Successor));
    }
}
