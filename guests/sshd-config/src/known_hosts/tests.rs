use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3Nza";
const OLD: &str = "ssh-ed25519 AAAAold";
const PIN: &str = "web9.example ssh-ed25519 AAAApin\n";
const OURS: &str = "@cert-authority *.lab.test ssh-ed25519 AAAAC3Nza warded trust-host-ca https://ca\n";
const STALE: &str = "@cert-authority *.lab.test ssh-ed25519 AAAAold warded trust-host-ca https://ca\n";

fn with<T>(patterns: &[&str], judge: impl FnOnce(Trust<'_>) -> T) -> T {
    let patterns: Vec<String> = patterns.iter().map(|one| (*one).to_owned()).collect();
    judge(Trust { patterns: &patterns, keys: &[KEY.to_owned()], authority: "https://ca" })
}

fn edited(file: &[u8]) -> Vec<u8> {
    with(&["*.lab.test"], |trust| {
        let result = trust.added_to(file);
        assert_eq!(trust.refuse_others(file, &result), Ok(()));
        assert_eq!(trust.added_to(&result), result, "a second time changes nothing");
        result
    })
}

#[test]
fn our_lines_come_and_every_other_byte_stays() {
    let joined = |parts: &[&[u8]]| parts.concat();
    for (before, after) in [
        (joined(&[]), joined(&[OURS.as_bytes()])),
        (joined(&[b"web9 ssh-rsa AAAA"]), joined(&[b"web9 ssh-rsa AAAA\n", OURS.as_bytes()])),
        (joined(&[PIN.as_bytes(), b"\n\n"]), joined(&[PIN.as_bytes(), b"\n\n", OURS.as_bytes()])),
        // Lines of Windows stay so, and ours are like them.
        (
            joined(&[b"a ssh-rsa AAAA\r\n# W\r\n"]),
            joined(&[b"a ssh-rsa AAAA\r\n# W\r\n", OURS.trim_end().as_bytes(), b"\r\n"]),
        ),
        (
            joined(&[b"a ssh-rsa AAAA\r\nb ssh-rsa AAAA"]),
            joined(&[b"a ssh-rsa AAAA\r\nb ssh-rsa AAAA\r\n", OURS.trim_end().as_bytes(), b"\r\n"]),
        ),
        // A file that is cut off within its last end of line, and one of the old Macintosh.
        (
            joined(&[b"a ssh-rsa AAAA\r\nb ssh-rsa AAAA\r"]),
            joined(&[b"a ssh-rsa AAAA\r\nb ssh-rsa AAAA\r\n", OURS.trim_end().as_bytes(), b"\r\n"]),
        ),
        (
            joined(&[b"a ssh-rsa AAAA\rb ssh-rsa AAAA\r"]),
            joined(&[b"a ssh-rsa AAAA\rb ssh-rsa AAAA\r\n", OURS.as_bytes()]),
        ),
        // What a crash leaves of a file, and a line that ssh reads up to its NUL.
        (joined(&[PIN.as_bytes(), &[0; 64]]), joined(&[PIN.as_bytes(), &[0; 64], b"\n", OURS.as_bytes()])),
        (joined(&[b"a ssh-rsa AAAA a\0b\n"]), joined(&[b"a ssh-rsa AAAA a\0b\n", OURS.as_bytes()])),
        // Latin-1 in a comment, and what no ssh of today reads.
        (
            joined(&[b"a ssh-rsa AAAA M\xfcller\nb 1024 37 1591\n"]),
            joined(&[b"a ssh-rsa AAAA M\xfcller\nb 1024 37 1591\n", OURS.as_bytes()]),
        ),
        // A commented line is no trust.
        (joined(&[b"#", OURS.as_bytes()]), joined(&[b"#", OURS.as_bytes(), OURS.as_bytes()])),
        // The CA has dropped a key of ours; of another CA's, or by hand, it stays.
        (joined(&[STALE.as_bytes(), PIN.as_bytes()]), joined(&[PIN.as_bytes(), OURS.as_bytes()])),
        (
            joined(&[STALE.replace("//ca", "//other").as_bytes()]),
            joined(&[STALE.replace("//ca", "//other").as_bytes(), OURS.as_bytes()]),
        ),
        (
            joined(&[STALE.replace(" warded trust-host-ca https://ca", "").as_bytes()]),
            joined(&[STALE.replace(" warded trust-host-ca https://ca", "").as_bytes(), OURS.as_bytes()]),
        ),
    ] {
        assert_eq!(edited(&before), after, "{:?}", String::from_utf8_lossy(&before));
    }
}

#[test]
fn a_line_that_ssh_takes_for_ours_is_not_repeated() {
    for there in [
        OURS.to_owned(),
        OURS.trim_end().to_owned(),
        OURS.replace('\n', "\r\n"),
        "@cert-authority *.lab.test ssh-ed25519 AAAAC3Nza\n".to_owned(),
        "@cert-authority *.lab.test ssh-ed25519 AAAAC3Nza\r\n".to_owned(),
        "  @cert-authority  *.LAB.test\tssh-ed25519   AAAAC3Nza by hand\n".to_owned(),
        "\t@cert-authority\t*.lab.test\tssh-ed25519\tAAAAC3Nza\tcomment\n".to_owned(),
        format!("{OURS}{OURS}"),
    ] {
        assert_eq!(edited(there.as_bytes()), there.as_bytes(), "{there:?}");
    }
    for other in [
        // A tab after the marker, and a space somewhere: no marker to ssh.
        "@cert-authority\t*.lab.test ssh-ed25519 AAAAC3Nza\n",
        "@cert-authority @cert-authority *.lab.test ssh-ed25519 AAAAC3Nza\n",
        "@cert-authority *.lab.test ssh-ed25519 AAAAC3Nz\n",
        "@cert-authority *.lab.tes ssh-ed25519 AAAAC3Nza\n",
        "@Cert-Authority *.lab.test ssh-ed25519 AAAAC3Nza\n",
        "*.lab.test ssh-ed25519 AAAAC3Nza\n",
        "@cert-authority *.lab.test ssh-ed25519\n",
    ] {
        assert_eq!(edited(other.as_bytes()), [other, OURS].concat().as_bytes(), "{other:?}");
    }
}

#[test]
fn what_speaks_against_our_lines_is_found() {
    let conflict = |file: &[u8]| with(&["*.lab.test"], |trust| trust.conflict(file));
    let utf16: Vec<u8> = PIN.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(conflict(PIN.as_bytes()), None);
    assert_eq!(conflict(b"\xef\xbb\xbfweb9 ssh-rsa AAAA\n"), None);
    assert!(matches!(conflict(&[b"\xff\xfe", utf16.as_slice()].concat()), Some(Conflict::Encoding(_))));
    assert!(matches!(conflict(&utf16), Some(Conflict::Encoding(_))));
    let utf32: Vec<u8> = PIN.chars().flat_map(|letter| u32::from(letter).to_le_bytes()).collect();
    assert!(matches!(conflict(&utf32), Some(Conflict::Encoding(_))));
    // PowerShell has appended to a file of lines that ssh reads.
    assert_eq!(conflict(&[PIN.as_bytes(), &utf16].concat()), None);
    assert_eq!(conflict(&[PIN.as_bytes(), &[0; 512]].concat()), None);
    assert_eq!(conflict(format!("{PIN}@revoked * {KEY}\n").as_bytes()), Some(Conflict::Revoked(2)));
    for (hosts, is_told) in [
        ("*.other", false),
        ("db.lab.test", true),
        ("web?.lab.*", true),
        ("[*.lab.test]:2222", true),
        ("lab.test,other", false),
        ("other,*test", true),
        ("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=", true),
    ] {
        let file = format!("@revoked {hosts} {KEY}\n");
        assert_eq!(conflict(file.as_bytes()).is_some(), is_told, "{hosts}");
    }
    assert_eq!(conflict(format!("@revoked web9 {OLD}\n#@revoked * {KEY}\n").as_bytes()), None);
    let excluded = format!("@cert-authority *.lab.test,!db.lab.test {KEY}\n");
    assert_eq!(conflict(excluded.as_bytes()), Some(Conflict::Excluded(1, "db.lab.test".to_owned())));
    for (ours, is_let_in) in [
        (&["*.lab.test,!DB.lab.test"][..], false),
        (&["*.test,!*.lab.test"], false),
        // Names of which nothing was left out.
        (&["*.other.test"], false),
        (&["web1.lab.test,[db2.lab.test]:2222"], false),
        (&["[db.lab.test]:2222"], true),
        // Each list is a line of its own.
        (&["*.lab.test,!db.lab.test", "*.test"], true),
    ] {
        let found = with(ours, |trust| trust.conflict(excluded.as_bytes()));
        assert_eq!(found.is_some(), is_let_in, "{ours:?}");
    }
}

#[test]
fn only_our_lines_may_change() {
    let before = format!("{PIN}{STALE}# c\n");
    let refused =
        |after: &str| with(&["*.lab.test"], |trust| trust.refuse_others(before.as_bytes(), after.as_bytes())).is_err();
    assert!(!refused(&format!("{PIN}{STALE}# c\n")) && !refused(&format!("{PIN}# c\n")));
    assert!(!refused(&format!("{PIN}# c\n{OURS}")) && !refused(&format!("{OURS}{PIN}{STALE}# c\n")));
    for after in [
        "".to_owned(),
        format!("{STALE}# c\n"),
        format!("# c\n{PIN}"),
        format!("{PIN}{STALE}# d\n"),
        format!("{PIN}{STALE}# c"),
        format!("{PIN}{PIN}{STALE}# c\n"),
        format!("{before}evil ssh-ed25519 AAAAevil\n"),
        format!("{before}{}", OURS.replace("*.lab.test", "*")),
        format!("{before}{}", OURS.replace("AAAAC3Nza", "AAAAevil")),
        format!("{before}{}", OURS.replace("@cert-authority ", "")),
        format!("{before}{}", OURS.replace("cert-authority", "revoked")),
        format!("{before}{}", OURS.replace("//ca", "//other")),
        format!("{before}{}", OURS.trim_end().to_owned() + "\revil ssh-ed25519 AAAAevil\n"),
    ] {
        assert!(refused(&after), "{after:?}");
    }
    // What takes the place of a last line without an end is that line, or one of ours before it.
    let in_place = |after: &[u8]| with(&["*.lab.test"], |trust| trust.refuse_others(PIN.trim_end().as_bytes(), after));
    assert_eq!(in_place(PIN.as_bytes()), Ok(()));
    assert!(in_place(b"evil ssh-ed25519 AAAAevil\n").unwrap_err().starts_with("line 1 is neither in the present file"));
    let gone = with(&["*.lab.test"], |trust| trust.refuse_others(before.as_bytes(), PIN.as_bytes()));
    assert!(gone.unwrap_err().starts_with("line 3 would be removed"));
    // A line of ours for a key that the CA has, stays.
    let kept = with(&["*.lab.test"], |trust| trust.refuse_others(OURS.as_bytes(), b""));
    assert!(kept.is_err());
    // A list that is given twice gives one line.
    assert_eq!(with(&["*.lab.test", "*.LAB.test"], |trust| trust.added_to(b"")), OURS.as_bytes());
    // Another domain's line of ours stays, too.
    assert_eq!(
        with(&["*.other"], |trust| trust.added_to(OURS.as_bytes())),
        [OURS, &OURS.replace("lab.test", "other")].concat().as_bytes()
    );
}

#[test]
fn what_was_written_since_survives_an_undo() {
    let new = "web1.lab.test ssh-ed25519 AAAAnew\n";
    for (before, left, now, expected) in [
        (PIN.to_owned(), format!("{PIN}{OURS}"), format!("{PIN}{OURS}{new}"), format!("{PIN}{new}")),
        (String::new(), OURS.to_owned(), OURS.to_owned(), String::new()),
        (String::new(), OURS.to_owned(), format!("{OURS}{OURS}"), OURS.to_owned()),
        (STALE.to_owned(), OURS.to_owned(), format!("{new}{OURS}"), format!("{new}{STALE}")),
        // A line that was there before the run stays, and what the user wrote between is not the run's.
        (OURS.to_owned(), format!("{OURS}{new}"), format!("{OURS}{new}"), format!("{OURS}{new}")),
        (PIN.to_owned(), format!("{PIN}{OURS}"), PIN.to_owned(), PIN.to_owned()),
        // A line comes back only if the run took it out.
        (OURS.to_owned(), OURS.to_owned(), new.to_owned(), new.to_owned()),
        (STALE.to_owned(), OURS.to_owned(), OURS.to_owned(), STALE.to_owned()),
        (STALE.to_owned(), OURS.to_owned(), format!("{OURS}{}", new.trim_end()), format!("{new}{STALE}")),
    ] {
        let result = undone(before.as_bytes(), left.as_bytes(), now.as_bytes());
        assert_eq!(String::from_utf8(result).unwrap(), expected, "{before:?} {now:?}");
    }
}

#[test]
fn a_line_needs_hosts_type_and_key() {
    for (line, is_one) in [
        ("web9 ssh-rsa AAAA", true),
        ("@revoked web9 ssh-rsa AAAA", true),
        ("web9 ssh-rsa", false),
        ("web9", false),
        ("web9 # ssh-rsa AAAA", false),
        ("@revoked", false),
        ("@revoked ", false),
        (" \t", false),
    ] {
        assert_eq!(Entry::parse(line.as_bytes()).is_some(), is_one, "{line:?}");
    }
}

#[test]
fn files_of_sshs_are_known_by_their_names() {
    for (name, expected) in [
        ("known_hosts", true),
        ("known_hosts2", true),
        ("ssh_known_hosts", true),
        ("ssh_known_hosts2", true),
        ("known_hosts3", false),
        ("known_hosts.old", false),
        ("Known_hosts", false),
        ("", false),
    ] {
        assert_eq!(is_file_name(name), expected, "{name}");
    }
}

#[test]
fn lists_match_as_ssh_matches_them() {
    for (list, name, expected) in [
        ("*.lab.test", "web1.lab.test", true),
        ("*.LAB.test", "Web1.lab.Test", true),
        ("*.lab.test", "lab.test", false),
        ("*.lab.test", "web1", false),
        ("*.lab.test,!db.lab.test", "db.lab.test", false),
        ("!db.lab.test,*.lab.test", "web.lab.test", true),
        ("!db.lab.test", "web.lab.test", false),
        ("10.0.0.?", "10.0.0.7", true),
        ("10.0.0.?", "10.0.0.77", false),
        ("[*.lab.test]:2222", "[w.lab.test]:2222", true),
        ("a*b*c", "aXbXbc", true),
        ("a*b*c", "aXcXb", false),
    ] {
        assert_eq!(matches(list.as_bytes(), name), expected, "{list} {name}");
    }
}

#[test]
fn two_lists_overlap_where_a_name_may_be_in_both() {
    for (left, right, expected) in [
        ("*", "*", true),
        ("a", "a", true),
        ("a", "b", false),
        ("a*", "*b", true),
        ("a*c", "ab*", true),
        ("a?c", "a*", true),
        ("a?c", "abcd", false),
        ("*a*b*", "*b*a*", true),
        ("*.a", "*.b", false),
        ("A.lab", "a.LAB", true),
        ("x,*.lab", "!w.lab,w.lab", true),
        ("", "a", false),
        ("[w.lab]:22", "w.lab", true),
        ("[w.lab]:22", "[w.lab]:23", false),
        ("|1|a|b", "w.lab", true),
    ] {
        assert_eq!(overlap(left.as_bytes(), right.as_bytes()), expected, "{left} {right}");
        assert_eq!(overlap(right.as_bytes(), left.as_bytes()), expected, "{right} {left}");
    }
    let long = "*a".repeat(600);
    assert!(!overlap(long.as_bytes(), b"*"), "ssh passes it over");
}

#[test]
fn what_an_operator_may_name() {
    for (text, inside, covers) in [
        ("*.lab.test", "warded-example.lab.test", None),
        ("*.Lab.test,!db.lab.test", "warded-example.lab.test", None),
        ("web*-a.lab.test", "webwarded-example-a.lab.test", None),
        ("*.a.b.lab.test", "warded-example.a.b.lab.test", None),
        ("web1,10.0.0.7,lab.test", "web1", None),
        ("[*.lab.test]:2222", "[warded-example.lab.test]:2222", None),
        ("[*.lab.test]:*", "[warded-example.lab.test]:2222", None),
        ("[*.lab.test]:*,![db.lab.test]:2223", "[warded-example.lab.test]:2222", None),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("*", "warded-example", Some("github.com")),
        ("*.*", "warded-example.warded-example", Some("github.com")),
        ("*.com", "warded-example.com", Some("github.com")),
        ("*.lan", "warded-example.lan", None),
        ("*lan", "warded-examplelan", Some("anotherlan")),
        ("*.test", "warded-example.test", None),
        ("*lab.test", "warded-examplelab.test", Some("anotherlab.test")),
        ("*.lab.*", "warded-example.lab.warded-example", Some("warded-example.lab.warded-example")),
        ("web*", "webwarded-example", Some("web.github.com")),
        ("web?.lab", "webw.lab", Some("webw.lab")),
        ("[*]:*", "[warded-example]:2222", Some("github.com")),
        ("10.0.0.*", "10.0.0.7", Some("10.0.0.github.com")),
        ("10.0.0.?", "10.0.0.7", Some("10.0.0.7")),
        ("*.0.0.1", "7.0.0.1", Some("7.0.0.1")),
        ("fd00::*", "fd00::7", Some("fd00::7")),
        ("fd00:*", "fd00:7::7", Some("fd00:7::7")),
    ] {
        let list: Patterns = text.parse().unwrap();
        assert_eq!(list.to_string(), text.to_ascii_lowercase());
        assert_eq!(list.example(Wanted::Inside).as_deref(), Some(inside), "{text}");
        assert_eq!(list.wide().map(|wide| wide.covers).next().as_deref(), covers, "{text}");
        assert_eq!(list.example(Wanted::Outside).is_none(), ["*"].contains(&text) || text == "*.*", "{text}");
    }
    // ssh writes an address in one form alone.
    assert_eq!("2001:DB8:0::1".parse::<Patterns>().unwrap().to_string(), "2001:db8::1");
    let longest = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert!(longest.parse::<Patterns>().is_ok() && format!("{longest}d").parse::<Patterns>().is_err());
}

#[test]
fn a_pattern_that_holds_for_no_name_of_sshs_is_refused() {
    for (bad, words) in [
        ("", "is not a list"),
        ("a b", "is not a list"),
        ("*.lab.test\n", "is not a list"),
        ("@cert-authority", "is not a list"),
        ("|1|a|b", "is not a list"),
        ("#x", "is not a list"),
        ("bücher.test", "is not a list"),
        ("a,,b", "an empty pattern"),
        ("!", "an empty pattern"),
        ("!*.lab.test", "excludes nothing"),
        ("*,!*", "matches no name"),
        ("web1.lab.test:2222", "[web1.lab.test]:2222"),
        ("*.lab.test,!db.lab.test:2222", "[db.lab.test]:2222"),
        ("*:2222", "[*]:2222"),
        ("[*.lab.test]:22", "write *.lab.test"),
        ("[web1]", "write web1"),
        ("[web1]:0", "no port"),
        ("[web1]:022", "no port"),
        ("[web1]:22?", "no port"),
        ("[web1", "without a closing one"),
        (".lab.test", "write *.lab.test"),
        ("lab.test.", "without the final dot"),
        ("lab..test", "between dots"),
        ("-x", "between dots"),
        ("web1%eth0", "between dots"),
        ("10.1", "four numbers"),
        ("010.0.0.1", "four numbers"),
        ("2001:db8::1::1", "not an IPv6 address"),
        ("fd00::*::1", "not an IPv6 address"),
        // What leaves nothing out, or is let in again.
        ("*.lab.test,!db.other.test", "excludes nothing"),
        ("*.lab.test,![db.lab.test]:2222", "excludes nothing"),
        ("[*.lab.test]:2222,!db.lab.test", "excludes nothing"),
        ("*.lab.test,[*.lab.test]:2222,!db.lab.test", "exclude [db.lab.test]:2222 as well"),
        ("*.lab.test,[*.lab.test]:2222,![db.lab.test]:2222", "exclude db.lab.test as well"),
        ("*,!db.lab.test", "exclude [db.lab.test]:* as well"),
    ] {
        let said = bad.parse::<Patterns>().unwrap_err();
        assert!(said.contains(words), "{bad:?}: {said}");
    }
    for whole in ["*,!db.lab.test,![db.lab.test]:*", "*.lab.test,[*.lab.test]:2222,!db.lab.test,![db.lab.test]:2222"] {
        assert!(whole.parse::<Patterns>().is_ok(), "{whole}");
    }
}
