//! This machine's sshd judges the files that a scenario's run leaves.

use super::{SCENARIO, folder, tried};
use crate::support::{Grants, missing, script::Script};
use std::fs;

const JUDGED: &str = "summary = 'x'\nprocedure = 'go'\n\
                      [expect.files]\n'/etc/ssh/sshd_config.d/mine.conf' = \"LINE\\n\"\n\
                      [machine]\nkeys = { '/etc/ssh/ssh_host_ed25519_key' = 'ssh-ed25519' }\n\
                      [machine.files]\n'/etc/ssh/sshd_config' = \"FIRST\\nInclude sshd_config.d/*.conf\\n\"\n\
                      '/etc/ssh/sshd_config.d/other.conf' = \"RevokedKeys /etc/ssh/revoked\\n\"\n\
                      [machine.sshd]\nversion = '9.2p1'\nhost-keys = ['/etc/ssh/ssh_host_ed25519_key']\n\
                      effective = { revokedkeys = ['/etc/ssh/revoked'] }\n";

/// The sshd of this machine reads what a run leaves, and nothing of this machine's configuration.
#[test]
fn sshd_judges_what_a_run_leaves() {
    if missing::program("/usr/sbin/sshd", "openssh-server") {
        return;
    }
    let tries = |line: &str, scenario: &str| {
        let scratch = tempfile::tempdir().unwrap();
        let mut script = Script::new("");
        script.writes("/etc/ssh/sshd_config.d/mine.conf", &format!("{line}\n").replace("\\n", "\n"));
        let grants = Grants::of(&["files.write = [\"/etc/ssh/sshd_config.d/mine.conf\"]"]);
        grants.write(scratch.path(), "mine", "go", &script.component());
        fs::create_dir(scratch.path().join("scenarios")).unwrap();
        let scenario = scenario.replace("LINE", line);
        let scenario = scenario.replace("FIRST", "HostKey /etc/ssh/ssh_host_ed25519_key");
        fs::write(scratch.path().join("scenarios/first.toml"), scenario).unwrap();
        (tried(scratch.path(), &[]), tried(scratch.path(), &["--json"]).object("warded.policy-test/1"))
    };
    let lists = "TrustedUserCAKeys /etc/ssh/ca.pub";
    for (line, scenario, says) in [
        (lists, JUDGED.to_owned(), ""),
        // Without a `HostKey` line sshd gets the scenario's keys, and none of this machine's.
        (lists, JUDGED.replace("FIRST", ""), ""),
        (
            "NoSuchKeyword yes",
            JUDGED.to_owned(),
            "sshd accepts /etc/ssh/sshd_config as it was, and not as the run leaves it: ",
        ),
        ("NoSuchKeyword yes", JUDGED.to_owned(), "/etc/ssh/sshd_config.d/mine.conf: line 1: Bad configuration option"),
        (
            lists,
            JUDGED.replace("FIRST", "TrustedUserCAKeys /etc/ssh/theirs.pub"),
            "the run writes trustedusercakeys /etc/ssh/ca.pub, and sshd reads /etc/ssh/theirs.pub",
        ),
        (
            "Match User bob\\nTrustedUserCAKeys /etc/ssh/ca.pub",
            JUDGED.to_owned(),
            "the run writes trustedusercakeys /etc/ssh/ca.pub, and sshd reads none",
        ),
        (
            "HostCertificate /etc/ssh/none-cert.pub",
            JUDGED.to_owned(),
            "sshd complains of what the run leaves: Could not load host certificate",
        ),
        (
            lists,
            JUDGED.replace(
                "effective = { revokedkeys = ['/etc/ssh/revoked'] }",
                "effective = { revokedkeys = ['none'] }",
            ),
            "before the run the scenario has sshd answer revokedkeys none, and it reads /etc/ssh/revoked",
        ),
    ] {
        let (run, object) = tries(line, &scenario);
        let run = run.ends(i32::from(!says.is_empty())).prints(&[says]);
        assert!(!run.stdout.contains("judged"), "{}", run.stdout);
        assert_eq!(object["not_judged"], 0, "{object}");
        assert_eq!(object["scenarios"][0]["judged"], true, "{object}");
        assert!(!run.stdout.contains("warded-run-"), "{}", run.stdout);
    }
    let folder = folder(SCENARIO);
    tried(folder.path(), &["--sshd", "/nonexistent/sshd"]).ends(2).says(&["/nonexistent/sshd: no such program"]);
    for (scenario, cause) in [
        (JUDGED.replace("FIRST", "AnotherVersions yes"), "Bad configuration option: AnotherVersions"),
        (JUDGED.replace("['/etc/ssh/ssh_host_ed25519_key']", "[]").replace("FIRST", ""), "no host key that it can use"),
    ] {
        let (run, object) = tries(lists, &scenario);
        run.ends(0).prints(&["not judged by sshd: ", cause, "1 scenario, all as expected; 1 not judged by sshd."]);
        assert_eq!(object["not_judged"], 1, "{object}");
        assert!(object["scenarios"][0]["not_judged"].as_str().unwrap().contains(cause), "{object}");
    }
}
