//! Blocks of sshd's configuration that hold for all connections, or for none, without a user or an address: those that ask
//! for sshd's version (since OpenSSH 10), and those that ask for its port.

use crate::support::{ClientKnowledge, Peer, machine::NAME};
use std::fs;

const SET: &str = "principal=web1.example.org";

fn with(peer: &Peer, lines: &str) {
    let config = peer.file("/etc/ssh/sshd_config");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(config, text + lines).unwrap();
}

/// Whoever knows a host key, or the CA alone, gets in.
fn connects(peer: &Peer) {
    for kind in ["rsa", "ecdsa", "ed25519"] {
        let key = fs::read_to_string(peer.file(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))).unwrap();
        peer.client(&ClientKnowledge::Keys(key)).connects();
    }
}

/// Its lines are taken by what sshd shows of them, whether they hold or not.
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
            // Anew beside the block.
            peer.warded(&["apply", "certify-host", "--set", SET, "--yes"]).ends(0);
            connects(&peer);
        }
    }
}

const INCLUDE: &str = "Include /etc/ssh/sshd_config.d/*.conf\n";

/// Puts the Include of the stock configuration into a block that asks for the version.
fn include_in_block(peer: &Peer, pattern: &str) {
    let config = peer.file("/etc/ssh/sshd_config");
    let stock = fs::read_to_string(&config).unwrap();
    assert!(stock.contains(INCLUDE), "{stock}");
    fs::write(config, format!("{}Match Version {pattern}\n  {INCLUDE}", stock.replace(INCLUDE, ""))).unwrap();
}

/// In a file that a block includes, ours would hold for some releases of sshd alone: they come into the main file, before it.
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

/// Where that block came later, the drop-in is served as long as the block holds, and else it is said what sshd says of it.
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
            // For every connection, as sshd shows.
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
