//! The output of `sshd -T` and the messages of `sshd -t`, as values that can be compared.

use crate::text;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The keyword that accepts several files in one line since OpenSSH 10.3.
const LIST: &str = "revokedkeys";
const HOST_KEY_ALGORITHMS: &str = "hostkeyalgorithms";
/// Since this release of OpenSSH, RSA certificates have names with SHA-2, and HostKeyAlgorithms filters certificates,
/// too (`append_hostkey_type` in its sshd.c). Before it, a plain key name also covered the certificate.
pub const CERTIFICATES_HAVE_NAMES: (u32, u32) = (7, 8);

/// sshd's effective configuration, for one connection or for none in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effective {
    values: BTreeMap<String, Vec<String>>,
    /// The private host key files that sshd would use, without default ones that do not exist.
    pub host_keys: Vec<PathBuf>,
}

/// A keyword whose value differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The keyword, in lower case, by its current name.
    pub keyword: String,
    /// Its values before.
    pub before: Vec<String>,
    /// Its values after.
    pub after: Vec<String>,
}

impl Effective {
    /// Reads the output of `sshd -T`.
    #[must_use]
    pub fn parse(stdout: &str) -> Self {
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in stdout.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
            values.entry(keyword.to_lowercase()).or_default().push(value.to_owned());
        }
        // The three default host keys are printed whether they exist or not. For a key in an agent, only its public
        // half exists.
        let mut host_keys: Vec<PathBuf> = Vec::new();
        let has_agent = values.get("hostkeyagent").is_some_and(|agent| agent.iter().any(|agent| agent != "none"));
        let is_in_agent = |path: &str| has_agent && Path::new(&format!("{path}.pub")).exists();
        if let Some(named) = values.get_mut("hostkey") {
            named.retain(|path| Path::new(path).exists() || is_in_agent(path));
            host_keys.extend(named.iter().map(PathBuf::from));
        }
        Self { values, host_keys }
    }

    /// The values of a keyword in any spelling; several for a keyword that accumulates (`HostKey`).
    #[must_use]
    pub fn values(&self, keyword: &str) -> &[String] {
        let (printed, current) = (keyword.to_lowercase(), canonical(keyword));
        // An older sshd prints a renamed keyword by its former name.
        let former = || self.values.iter().find(|(known, _)| canonical(known) == current).map(|(_, values)| values);
        let found = self.values.get(&printed).or_else(|| self.values.get(&current)).or_else(former);
        found.map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether this sshd prints a keyword by exactly this name, and so knows that name.
    #[must_use]
    pub fn prints(&self, keyword: &str) -> bool {
        self.values.contains_key(&keyword.to_lowercase())
    }

    /// Whether a line of [`LIST`] may name several files, as it can since 10.3.
    pub(super) fn may_have_lists(&self) -> bool {
        self.values(LIST).iter().any(|value| value.contains(" /"))
    }

    /// Splits such a line into one value for each file. sshd prints the paths without quotes, so a blank before a slash
    /// is taken for the end of a path.
    pub(super) fn split_lists(&mut self) {
        if let Some(values) = self.values.get_mut(LIST) {
            *values = values.iter().flat_map(|value| split_list(value)).collect();
        }
    }

    /// Whether the list of host key algorithms could be from a release before [`CERTIFICATES_HAVE_NAMES`].
    pub(super) fn may_name_no_certificates(&self) -> bool {
        let named = |list: &String| list.contains("rsa-sha2-") && list.contains("-cert-v01@openssh.com");
        !self.values(HOST_KEY_ALGORITHMS).iter().any(named)
    }

    /// Rewrites such a list as a later release would print it, with the names of the certificates that it covers. An
    /// RSA key is offered only if `ssh-rsa` is listed; its certificate would be signed with SHA-1, and is left out.
    pub(super) fn name_certificates(&mut self) {
        let Some(values) = self.values.get_mut(HOST_KEY_ALGORITHMS) else { return };
        for list in values {
            let mut names: Vec<String> = list.split(',').map(str::to_owned).collect();
            let has_rsa = names.iter().any(|name| name == "ssh-rsa");
            names
                .retain(|name| (has_rsa || !name.starts_with("rsa-sha2-")) && !name.ends_with("-cert-v01@openssh.com"));
            let certified =
                names.iter().filter(|name| matches!(name.as_str(), "ssh-ed25519") || name.starts_with("ecdsa-"));
            let certificates: Vec<String> = certified.map(|name| format!("{name}-cert-v01@openssh.com")).collect();
            names.extend(certificates);
            *list = names.join(",");
        }
    }

    /// The path that a keyword names; none for `none`.
    #[must_use]
    pub fn path(&self, keyword: &str) -> Option<PathBuf> {
        self.values(keyword).first().filter(|value| value.starts_with('/')).map(PathBuf::from)
    }

    /// The addresses on which it would listen. The zones of link-local addresses are dropped, since the kernel's tables
    /// do not name them either.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.values("listenaddress").iter().filter_map(|value| address(value.split(' ').next()?))
    }

    /// Applies `name` to every value: it maps the private paths of a candidate to the real ones.
    #[must_use]
    pub fn renamed(mut self, name: impl Fn(&str) -> String) -> Self {
        for value in self.values.values_mut().flatten() {
            *value = name(value);
        }
        self
    }

    /// The keywords whose values differ in `after`.
    #[must_use]
    pub fn differences(&self, after: &Self) -> Vec<Difference> {
        let keywords: BTreeSet<_> = self.values.keys().chain(after.values.keys()).collect();
        let difference = |keyword: &String| {
            let (before, after) = (self.values(keyword), after.values(keyword));
            (before != after).then(|| Difference {
                keyword: canonical(keyword),
                before: before.to_vec(),
                after: after.to_vec(),
            })
        };
        keywords.into_iter().filter_map(difference).collect()
    }

    /// The same without this keyword.
    #[must_use]
    pub fn without(mut self, keyword: &str) -> Self {
        self.values.remove(keyword);
        self
    }

    pub(super) fn forget_host_keys(&mut self) {
        self.values.remove("hostkey");
        self.host_keys.clear();
    }
}

/// `192.0.2.1:22`, `[fe80::7%eth0]:22`.
fn address(text: &str) -> Option<SocketAddr> {
    let without_zone = || {
        let (address, rest) = text.split_once('%')?;
        format!("{address}]{}", rest.split_once(']')?.1).parse().ok()
    };
    text.parse().ok().or_else(without_zone)
}

fn split_list(value: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in value.split(' ') {
        match names.last_mut() {
            Some(name) if !word.starts_with('/') => {
                name.push(' ');
                name.push_str(word);
            }
            Some(_) | None => names.push(word.to_owned()),
        }
    }
    names
}

/// A keyword as `sshd -T` spells it: lower case, and old names replaced (servconf.c, keywords[]).
#[must_use]
pub fn canonical(keyword: &str) -> String {
    let keyword = keyword.to_lowercase();
    let current = match keyword.as_str() {
        "challengeresponseauthentication" | "skeyauthentication" => "kbdinteractiveauthentication",
        "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms",
        "hostbasedacceptedkeytypes" => "hostbasedacceptedalgorithms",
        "hostdsakey" => "hostkey",
        "keepalive" => "tcpkeepalive",
        "dsaauthentication" => "pubkeyauthentication",
        "verifyreversemapping" | "reversemappingcheck" => "usedns",
        "authorizedkeysfile2" => "authorizedkeysfile",
        _ => return keyword,
    };
    current.to_owned()
}

/// sshd's messages on standard error, sorted, without their place (`FILE line 3: `), which changes when a line is
/// inserted above.
#[must_use]
pub fn words(stderr: &str) -> Vec<String> {
    let mut lines: Vec<_> =
        stderr.lines().map(|line| text::neutral(placeless(line.trim()))).filter(|line| !line.is_empty()).collect();
    lines.sort();
    lines
}

/// A message without its place: `FILE line 3: ` or `FILE: line 3: `.
fn placeless(line: &str) -> &str {
    let stripped = || {
        let (before, rest) = line.split_once(" line ")?;
        let (number, words) = rest.split_once(": ")?;
        let numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        (before.starts_with('/') && numbered).then_some(words)
    };
    stripped().unwrap_or(line)
}

/// The version in a banner of OpenSSH: `OpenSSH_9.2p1 Debian-2, …` is `9.2p1`.
#[must_use]
pub fn version(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("OpenSSH_")?;
    let version: String =
        rest.chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '.').collect();
    (!version.is_empty()).then_some(version)
}

/// Major and minor number of a version: `9.2p1` is (9, 2).
#[must_use]
pub fn major_minor(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_accumulate_and_compare() {
        let before = Effective::parse(
            "port 22\nhostkey /\nhostkey /nonexistent\nhostkey /dev\nusepam no\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22 rdomain x\nlistenaddress [fe80::7%eth0]:2222\n",
        );
        assert_eq!(before.values("HostKey"), ["/", "/dev"]);
        assert_eq!(
            before.addresses().map(|address| address.to_string()).collect::<Vec<_>>(),
            ["[::]:22", "0.0.0.0:22", "[fe80::7]:2222"]
        );
        let scratch = tempfile::tempdir().unwrap();
        let key = scratch.path().join("key");
        std::fs::write(key.with_extension("pub"), "").unwrap();
        for (agent, kept) in [("/run/agent", 1), ("none", 0)] {
            let text = format!("hostkey {}\nhostkeyagent {agent}\n", key.display());
            assert_eq!(Effective::parse(&text).values("HostKey").len(), kept, "{agent}");
        }
        let after = Effective::parse("port 22\nhostkey /\nusepam no\ndenyusers x\n");
        let keywords: Vec<_> = before.differences(&after).into_iter().map(|one| one.keyword).collect();
        assert_eq!(keywords, ["denyusers", "hostkey", "listenaddress"]);
        assert!(before.differences(&before).is_empty());
        for printed in ["pubkeyacceptedalgorithms", "pubkeyacceptedkeytypes"] {
            let effective = Effective::parse(&format!("{printed} x\n"));
            for asked in ["PubkeyAcceptedKeyTypes", "PubkeyAcceptedAlgorithms"] {
                assert_eq!(effective.values(asked), ["x"], "{asked} of {printed}");
                assert_eq!(effective.prints(asked), asked.eq_ignore_ascii_case(printed));
            }
            let [difference] = &effective.differences(&Effective::default())[..] else { panic!("{printed}") };
            assert_eq!(difference.keyword, "pubkeyacceptedalgorithms");
        }
        assert_eq!(Effective::parse("revokedkeys none\n").path("RevokedKeys"), None);
        assert_eq!(Effective::parse("revokedkeys /k\n").path("RevokedKeys"), Some("/k".into()));
    }

    #[test]
    fn several_lists_of_revoked_keys_are_several_values() {
        for (said, names) in [
            ("", &[][..]),
            ("RevokedKeys /a\n", &["/a"]),
            ("RevokedKeys /a /b /c\n", &["/a", "/b", "/c"]),
            ("RevokedKeys /a b /c\n", &["/a b", "/c"]),
            ("revokedkeys none\n", &["none"]),
        ] {
            let mut effective = Effective::parse(said);
            assert_eq!(effective.may_have_lists(), names.len() > 1, "{said}");
            effective.split_lists();
            assert_eq!(effective.values("RevokedKeys"), names, "{said}");
        }
    }

    #[test]
    fn an_old_list_covers_certificates() {
        for (said, expected) in [
            ("ssh-ed25519,ssh-rsa", "ssh-ed25519,ssh-rsa,ssh-ed25519-cert-v01@openssh.com"),
            // A list as on NethServer 7: its RSA key is not offered.
            ("ssh-dss,ssh-ed25519,rsa-sha2-256", "ssh-dss,ssh-ed25519,ssh-ed25519-cert-v01@openssh.com"),
            (
                "ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-rsa-cert-v01@openssh.com,ecdsa-sha2-nistp256",
                "ecdsa-sha2-nistp256,ecdsa-sha2-nistp256-cert-v01@openssh.com",
            ),
        ] {
            let mut effective = Effective::parse(&format!("hostkeyalgorithms {said}\n"));
            assert!(effective.may_name_no_certificates(), "{said}");
            effective.name_certificates();
            assert_eq!(effective.values("HostKeyAlgorithms"), [expected]);
        }
        let new = Effective::parse("hostkeyalgorithms ssh-ed25519,rsa-sha2-512-cert-v01@openssh.com\n");
        assert!(!new.may_name_no_certificates());
    }

    #[test]
    fn words_have_no_place() {
        for (line, expected) in [
            ("/etc/ssh/sshd_config line 12: Deprecated option X\r", "Deprecated option X"),
            ("/etc/ssh/a.conf: line 1: Bad configuration option: Foo", "Bad configuration option: Foo"),
            (
                "Could not load host certificate \"/x\": No such file",
                "Could not load host certificate \"/x\": No such file",
            ),
            ("a line 3: b", "a line 3: b"),
            ("/a line x: b", "/a line x: b"),
        ] {
            assert_eq!(words(line), [expected]);
        }
        assert_eq!(words("b\r\n\na\r\nb"), ["a", "b", "b"]);
    }

    #[test]
    fn versions_are_found() {
        for (said, expected) in [
            ("OpenSSH_9.2, OpenSSL 3.0.19", Some("9.2")),
            ("unknown option -- V\nOpenSSH_8.4p1 Debian-5, OpenSSL", Some("8.4p1")),
            ("Sun_SSH", None),
        ] {
            assert_eq!(version(said).as_deref(), expected);
        }
        assert_eq!(major_minor("9.2p1"), Some((9, 2)));
        assert_eq!(major_minor("10.0"), Some((10, 0)));
    }
}
