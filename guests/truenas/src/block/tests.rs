//! Layouts of the appliance's releases, and what administrators store.

use super::*;

/// 13.3 to 25.04.0: what follows depends on the settings.
const FIRST: &str = "Port 22\nPubkeyAuthentication yes\n";
const FOLLOWED: &str = "SetEnv LC_ALL=C.UTF-8\nMatch User \"jane\"\n\tPasswordAuthentication yes\n";
/// 25.04.1 and later.
const LAST: &str =
    "Port 22\nPubkeyAuthentication yes\n\nUsePAM yes\n# These are aux params that MUST COME LAST\n# in the config.\n";
const LAST_OPEN: &str = "Port 22\nPubkeyAuthentication yes\n\nMatch User \"jane\"\n\tPasswordAuthentication yes\n# These are aux params that MUST COME LAST\n# in the config.\n";

const LINE: &str = "HostCertificate /root/a-cert.pub";

fn texts((before, after): (&str, &str), options: &str) -> Texts {
    Texts { options: options.to_owned(), live: format!("{before}{options}\n{after}").into_bytes() }
}

fn lines() -> Vec<String> {
    vec![LINE.to_owned()]
}

fn block(more: &str) -> String {
    format!("# BEGIN warded\n{COMMENT}\n{more}{LINE}\n# END warded")
}

#[test]
fn the_block_stands_where_it_holds_for_everybody_and_comes_out_byte_for_byte() {
    const MATCH: &str = "Match User bob\n  X11Forwarding no\n";
    let (plain, all) = (block(""), block("Match all\n"));
    let (ended, ended_all) = (block(&format!("{LINE_END}\n")), block(&format!("{LINE_END}\nMatch all\n")));
    let open = MATCH.trim_end();
    for (layout, options, expected) in [
        ((FIRST, ""), "", format!("{plain}\n")),
        ((FIRST, ""), "Banner none\n", format!("Banner none\n{plain}\n")),
        ((FIRST, ""), "Banner none", format!("Banner none\n{ended}")),
        ((FIRST, ""), MATCH, format!("{MATCH}{all}\n")),
        ((FIRST, ""), open, format!("{MATCH}{ended_all}")),
        ((FIRST, FOLLOWED), "", format!("{plain}\n")),
        ((FIRST, FOLLOWED), "Banner none", format!("Banner none\n{ended}")),
        ((FIRST, FOLLOWED), MATCH, format!("{plain}\n{MATCH}")),
        ((FIRST, FOLLOWED), open, format!("{plain}\n{open}")),
        ((FIRST, FOLLOWED), &format!("{MATCH}Match all\n"), format!("{MATCH}Match all\n{plain}\n")),
        ((LAST, ""), "", format!("{all}\n")),
        ((LAST, ""), "Banner none", format!("Banner none\n{ended_all}")),
        ((LAST, ""), MATCH, format!("{MATCH}{all}\n")),
        ((LAST_OPEN, ""), "", format!("{all}\n")),
        ((LAST_OPEN, ""), "Banner none\n", format!("Banner none\n{all}\n")),
        ((LAST_OPEN, ""), open, format!("{MATCH}{ended_all}")),
        ((FIRST, ""), "Banner none\r\n", format!("Banner none\r\n{plain}\n")),
        ((FIRST, ""), "\n", format!("\n{plain}\n")),
    ] {
        let before = texts(layout, options);
        let made = before.with(&lines()).unwrap();
        assert_eq!(made, texts(layout, &expected), "{layout:?} {options:?}");
        assert_eq!(made.with(&lines()).unwrap(), made, "a second time: {options:?}");
        assert_eq!(made.lines().unwrap(), lines());
        assert_eq!(made.foreign().unwrap(), options);
        // Outside of the block the file stays as it is: the host would refuse anything else.
        let outside = |texts: &Texts| {
            let lines = warded_guest::block::outside(&texts.live).unwrap();
            lines.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(outside(&made), outside(&before), "{layout:?} {options:?}");
        let more = [lines(), vec!["TrustedUserCAKeys /root/ca.pub".to_owned()]].concat();
        let both = made.with(&more).unwrap();
        assert_eq!(both.lines().unwrap(), more);
        assert_eq!(both.with(&[]).unwrap(), before, "taken out: {layout:?} {options:?}");
    }
}

#[test]
fn a_block_is_moved_only_out_of_a_match() {
    let plain = block("");
    // An update brought the later layout.
    let updated = texts((LAST_OPEN, ""), &format!("Banner none\n{plain}\n"));
    let moved = updated.with(&lines()).unwrap();
    assert_eq!(moved.options, format!("Banner none\n{}\n", block("Match all\n")));
    let quiet = texts((LAST, ""), &format!("{plain}\n")).with(&lines()).unwrap();
    assert_eq!(quiet.options, format!("{}\n", block("Match all\n")));
    // The administrator put text around it.
    let before = texts((FIRST, FOLLOWED), &format!("Match User bob\n{plain}\n"));
    assert_eq!(before.with(&lines()).unwrap().options, format!("{plain}\nMatch User bob\n"));
    let after = format!("Banner none\n{}\nPort 23\n", block(&format!("{LINE_END}\n")));
    assert_eq!(texts((FIRST, ""), &after).with(&[]).unwrap().options, "Banner none\nPort 23\n");
    assert_eq!(texts((FIRST, ""), &after).with(&lines()).unwrap().options, after);
}

#[test]
fn what_is_not_known_is_refused() {
    let with = |options: &str, live: &str| {
        let texts = Texts { options: options.to_owned(), live: live.as_bytes().to_vec() };
        texts.with(&lines()).map(|made| made.options)
    };
    for (options, live, expected) in [
        ("Banner none", "Port 22\nPubkeyAuthentication yes\n\n", Fault::Stale),
        ("Banner none", "Banner none\nPort 22\nBanner none\n", Fault::Stale),
        ("Banner none", "PubkeyAuthentication yes\nBanner none # x\n", Fault::Stale),
        ("Banner none", "PubkeyAuthentication yes\nxBanner none\n", Fault::Stale),
        ("", "PubkeyAuthentication yes\nBanner none\n", Fault::Stale),
        ("", "Port 22\n", Fault::Stale),
        ("# BEGIN warded\n", "PubkeyAuthentication yes\n# BEGIN warded\n\n", Fault::BrokenBlock),
        ("Match User a", "Match User b\nMatch User a\nSetEnv X=1\n", Fault::NoPlace),
    ] {
        assert_eq!(with(options, live), Err(expected), "{options:?} {live:?}");
    }
    // The template may have a line that says the same as the stored text.
    for (live, made) in [
        (
            "UsePAM yes\nPubkeyAuthentication yes\nUsePAM yes\nPort 22\n",
            "UsePAM yes\nPubkeyAuthentication yes\nUsePAM yes\n# BEGIN",
        ),
        (&*format!("{LAST}UsePAM yes\n"), "# in the config.\nUsePAM yes\n# BEGIN"),
    ] {
        let texts = Texts { options: "UsePAM yes".to_owned(), live: live.as_bytes().to_vec() };
        let made_live = String::from_utf8(texts.with(&lines()).unwrap().live).unwrap();
        assert!(made_live.contains(made) && made_live.matches("UsePAM yes").count() == 2, "{made_live}");
    }
    // The anchor stands before an empty line there, too.
    assert!(with("", &format!("{LAST}\n")).is_ok());
}

/// The template of the appliance's releases leaves its own line out where the stored text has one of these words
/// (truenas/middleware, etc_files/local/ssh/sshd_config).
#[test]
fn nothing_of_ours_has_a_word_that_the_template_looks_for() {
    let ours =
        format!("{}\n{}", block(&format!("{LINE_END}\nMatch all\n")), "TrustedUserCAKeys /root/warded-user-ca.pub");
    for word in [
        "Protocol",
        "UseDNS",
        "ChallengeResponseAuthentication",
        "ClientAliveCountMax",
        "ClientAliveInterval",
        "VersionAddendum",
        "Ciphers",
        "NoneEnabled",
    ] {
        assert!(!ours.contains(word), "{word}");
    }
}

#[test]
fn only_the_earlier_layout_has_a_block_that_an_update_would_break() {
    let is = |layout, options: &str| texts(layout, options).with(&lines()).unwrap().is_for_an_earlier_layout().unwrap();
    assert!(is((FIRST, FOLLOWED), ""));
    assert!(!is((LAST, ""), ""));
    assert!(!texts((FIRST, ""), "Banner none").is_for_an_earlier_layout().unwrap());
}
