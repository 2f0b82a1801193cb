//! Match blocks of sshd's configuration that apply to all connections or to none, and name neither a user nor an
//! address: those that match sshd's version (since OpenSSH 10), and those that match its port.

use crate::support::{ClientKnowledge, Peer, machine::NAME};
use std::fs;

const SET: &str = "principal=web1.example.org";

fn with(peer: &Peer, lines: &str) {
    let config = peer.file("/etc/ssh/sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + lines).unwrap();
}

/// Checks that clients that know one of the host keys can connect.
fn connects(peer: &Peer) {
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let key = fs::read_to_string(peer.file(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))).unwrap();
        peer.client(&ClientKnowledge::Keys(key)).connects();
    }
}

/// Whether the lines of such a block apply is taken from sshd's own output.
#[test]
fn a_block_that_asks_for_the_version_is_taken_by_what_sshd_shows() {
    let block = |pattern: &str| {
        format!(
            "Match Version {pattern}\n  X11Forwarding no\n  Include /etc/ssh/more/*.conf\n\
             Match Version=OpenSSH_* User backup\n  PermitTTY no\nMatch User backup\n  AllowTcpForwarding no\n"
        )
    };
    for (pattern, holds) in [("OpenSSH_10*", true), ("OpenSSH_9*", false), ("*", true)] {
        for is_there_before in [true, false] {
            let peer = Peer::prepared("trixie", |peer| {
                fs::create_dir(peer.file("/etc/ssh/more")).unwrap();
                fs::write(peer.file("/etc/ssh/more/a.conf"), "Banner none\nMatch Version *\n  PermitTunnel no\n")
                    .unwrap();
                if is_there_before {
                    with(peer, &block(pattern));
                }
            });
            let Some(peer) = peer else { return };
            peer.renews_by_cron();
            peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
            if !is_there_before {
                with(&peer, &block(pattern));
            }
            let shown = crate::support::Run::of(peer.command("/usr/sbin/sshd").args(["-T", "-C", "lport=7"])).ends(0);
            assert_eq!(shown.stdout.contains("x11forwarding no"), holds, "{pattern}: {}", shown.stdout);
            let authority = peer.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned();
            peer.client(&ClientKnowledge::Authority(authority.clone())).connects();
            peer.warded(&["status"]).ends(0);
            peer.warded(&["renew", "--force"]).ends(0);
            peer.client(&ClientKnowledge::Authority(authority)).connects();
            peer.warded(&["undo", "--yes"]).ends(0);
            peer.warded(&["undo", "--yes"]).ends(0);
            assert!(!peer.file("/etc/ssh/sshd_config.d/50-warded.conf").exists(), "{NAME}");
            // Certifies anew beside the block.
            peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
            connects(&peer);
        }
    }
}

const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/*.conf\n";

/// Moves the Include of the stock configuration into a block that matches the version.
fn include_in_block(peer: &Peer, pattern: &str) {
    let config = peer.file("/etc/ssh/sshd_config");
    let stock = fs::read_to_string(&config).unwrap();
    assert!(stock.contains(INCLUDE), "{stock}");
    fs::write(config, format!("{}Match Version {pattern}\n  {INCLUDE}", stock.replace(INCLUDE, ""))).unwrap();
}

/// In a file that a block includes, Warded's lines would apply only with some releases of sshd. So Warded writes them
/// into the main file, before the block.
#[test]
fn no_line_of_wardeds_comes_into_a_block_that_asks_for_the_version() {
    for pattern in ["OpenSSH_*", "OpenSSH_9*"] {
        let Some(peer) = Peer::prepared("trixie", |peer| include_in_block(peer, pattern)) else { return };
        peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
        assert!(!peer.file("/etc/ssh/sshd_config.d/50-warded.conf").exists(), "{pattern}");
        let config = fs::read_to_string(peer.file("/etc/ssh/sshd_config")).unwrap();
        let place = |text: &str| config.find(text).unwrap_or_else(|| panic!("no {text} in {config}"));
        assert!(
            place("# BEGIN warded\n") < place("HostCertificate ") && place("# END warded\n") < place("Match Version ")
        );
        let authority = peer.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned();
        peer.client(&ClientKnowledge::Authority(authority)).connects();
        connects(&peer);
    }
}

/// If such a block was added later, the drop-in is served as long as the block matches. Otherwise the error quotes
/// sshd.
#[test]
fn a_drop_in_that_came_into_a_block_that_asks_for_the_version() {
    for (pattern, holds) in [("OpenSSH_*", true), ("OpenSSH_9*", false)] {
        let Some(peer) = Peer::start("trixie", "") else { return };
        peer.renews_by_cron();
        peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
        include_in_block(&peer, pattern);
        let (renew, apply) = (["renew", "--force"], ["apply", "certify-host", "--set", SET, "--yes"]);
        let authority =
            || ClientKnowledge::Authority(peer.warded(&["ca", "roots", "--host"]).ends(0).stdout.trim().to_owned());
        if holds {
            // sshd shows that the lines apply to every connection.
            peer.warded(&renew).ends(0).prints(&["Seen live: 3 certificates served"]);
            peer.warded(&apply).ends(0).prints(&["Nothing to do."]);
            peer.client(&authority()).connects();
        } else {
            let not_in_force = "50-warded.conf line 2: Directive 'HostCertificate' is not allowed within a Match block";
            peer.warded(&renew).ends(5).says(&[not_in_force, "state: nothing was changed"]);
            peer.warded(&apply).ends(5).says(&[not_in_force, "state: nothing was changed"]);
        }
        connects(&peer);
    }
}

#[test]
fn a_block_that_asks_for_the_port_and_comes_later_stops_nothing() {
    for suite in ["bookworm", "trixie"] {
        let Some(peer) = Peer::start(suite, "") else { return };
        peer.renews_by_cron();
        peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
        with(&peer, "Match LocalPort 2222\n  PermitTTY no\n  ForceCommand /bin/false\n");
        peer.warded(&["status"]).ends(0);
        peer.warded(&["doctor"]).ends(0);
        peer.warded(&["renew", "--force"]).ends(0);
        peer.warded(&["undo", "--yes"]).ends(0);
        peer.warded(&["undo", "--yes"]).ends(0);
        connects(&peer);
    }
}
