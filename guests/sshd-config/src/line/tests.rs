use super::*;

/// The keyword and the arguments, one after the other; empty for a line that says nothing.
fn words(line: &[u8], splitting: Splitting) -> Vec<String> {
    let Some(directive) = Directive::split(line, splitting) else { return Vec::new() };
    std::iter::once(directive.keyword).chain(directive.arguments.into_iter().map(|one| one.text)).collect()
}

#[test]
fn lines_are_split_as_sshd_does_it() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("  \t", &[]),
        ("\r\n", &[]),
        ("# HostKey /x", &[]),
        ("  #Match", &[]),
        ("HostKey /a", &["hostkey", "/a"]),
        ("\thostkey=/a", &["hostkey", "/a"]),
        ("  \tPORT\t22\r\n", &["port", "22"]),
        ("Port = 22\r", &["port", "22"]),
        ("Include \"/a b\" '/c' d\\ e # f", &["include", "/a b", "/c", "d e"]),
        ("Include a\\d \\\"c", &["include", "a\\d", "\"c"]),
        ("Include # x", &["include"]),
        ("Include \"open", &["include", "open"]),
        ("Banner a\"b c\"d", &["banner", "ab cd"]),
        ("Banner x#y", &["banner", "x#y"]),
        ("Banner a\rb", &["banner", "a\rb"]),
        ("\"Port\" 22", &["port", "22"]),
        ("Mat\"ch\" all", &["match", "all"]),
        ("Match", &["match"]),
        (" = Include /a", &["include", "/a"]),
        ("=Include = /a", &["include", "/a"]),
        ("==Include /a", &[]),
        ("Inc\"lude\" /a", &["include", "/a"]),
        ("\"\"Include /a", &["include", "/a"]),
        ("Include\"/a", &[]),
        ("Match all\u{b}# x", &["match", "all\u{b}#", "x"]),
        ("\u{c}\r", &["\u{c}"]),
        (" \u{c}", &["\u{c}"]),
        ("Port 22\u{c}\r", &["port", "22"]),
        ("\u{feff}Match all", &["\u{feff}match", "all"]),
        ("\u{212a}ey x", &["\u{212a}ey", "x"]),
    ];
    for (line, expected) in cases {
        assert_eq!(words(line.as_bytes(), Splitting::ArgvSplit), *expected, "{line:?}");
    }
}

#[test]
fn older_releases_split_the_arguments_in_another_way() {
    let cases: &[(&str, &[&str])] = &[
        ("HostKey \"/a b\" # c", &["hostkey", "/a b"]),
        ("HostKey /a#b", &["hostkey", "/a"]),
        ("HostKey \"/a#b\"", &["hostkey"]),
        ("HostKey /a=b", &["hostkey", "/a", "b"]),
        ("HostKey '/a b'", &["hostkey", "'/a", "b'"]),
        ("HostKey /a\\ b", &["hostkey", "/a\\", "b"]),
        ("HostKey /a\"b c\"d", &["hostkey", "/ab c", "d"]),
        ("Host#Key /a", &["host"]),
        ("#", &[]),
    ];
    for (line, expected) in cases {
        assert_eq!(words(line.as_bytes(), Splitting::Strdelim), *expected, "{line:?}");
    }
}

#[test]
fn lines_are_numbered_and_values_found() {
    let text = b"# x\r\nHostKey /a\n\nhostkey=\"/b c\" # y\nHostKeyAgent /c\nHostKey\n";
    assert_eq!(directives(text).map(|(line, _)| line).collect::<Vec<_>>(), [2, 4, 5, 6]);
    assert_eq!(values(text, "HOSTKEY"), ["/a", "/b c"]);
}

#[test]
fn arguments_are_replaced_in_place() {
    let line = b"  HostCertificate = \"/a b\"  # why\r";
    let directive = Directive::parse(line).unwrap();
    let replaced = with_arguments(line, &[(directive.arguments[0].span.clone(), vec!["/tmp/0 1".into()])]);
    assert_eq!(String::from_utf8(replaced).unwrap(), "  HostCertificate = \"/tmp/0 1\"  # why\r");
}

#[test]
fn lines_that_mean_the_same_have_one_normal_form() {
    for (line, normal) in [
        ("Port 22", "port \"22\""),
        ("  PORT=22 # x\r\n", "port \"22\""),
        ("AcceptEnv A 'B C'", "acceptenv \"A\" \"B C\""),
        ("Banner a\\\\b\\\"", "banner \"a\\\\b\\\"\""),
        ("Match", "match"),
    ] {
        assert_eq!(Directive::parse(line.as_bytes()).unwrap().normal(), normal, "{line}");
    }
}

#[test]
fn only_match_all_is_unconditional() {
    for (line, conditional) in
        [("Match all", false), ("match ALL", false), ("Match User x", true), ("Match all user x", true), ("X", false)]
    {
        assert_eq!(Directive::parse(line.as_bytes()).unwrap().is_conditional(), conditional, "{line}");
    }
}

#[test]
fn paths_are_quoted_where_needed() {
    for (path, line) in [
        ("/etc/ssh/k", Some("X /etc/ssh/k")),
        ("/a b/k", Some("X \"/a b/k\"")),
        ("/a=b'c", Some("X \"/a=b'c\"")),
        ("/a\\b", Some("X /a\\b")),
        ("/a\\\\b", None),
        ("/a#b", None),
        ("/a\"b", None),
        ("/a\nb", None),
        ("/a\tb", None),
        ("k", None),
        ("", None),
    ] {
        assert_eq!(path_line("X", path).as_deref(), line, "{path:?}");
    }
}
