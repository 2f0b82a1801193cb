//! One request of a browser.

use url::form_urlencoded;

/// The parts of a request that a login reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// Whether the browser only prefetches the page.
    pub(super) is_prefetch: bool,
    host: String,
    /// Whether this is a navigation by the person, as far as the browser says: not an image, script or frame of a page.
    is_navigation: bool,
}

impl Request {
    /// Parses a complete request; `None` if it is not the kind that a browser sends for a page.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (head, _) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (Some("GET"), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return None;
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let mut found =
            Self { path: path.to_owned(), query, is_prefetch: false, host: String::new(), is_navigation: true };
        for line in lines {
            let (name, value) = line.split_once(':')?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "host" if found.host.is_empty() => value.clone_into(&mut found.host),
                "host" => return None,
                "sec-fetch-dest" => found.is_navigation &= value == "document",
                "sec-fetch-mode" => found.is_navigation &= value == "navigate",
                "sec-purpose" | "purpose" => found.is_prefetch |= value.contains("prefetch"),
                _ => {}
            }
        }
        Some(found)
    }

    /// Whether the request is for exactly this host, and a navigation by the person.
    pub(super) fn is_of(&self, host: &str) -> bool {
        self.host == host && self.is_navigation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_person_who_goes_there_counts() {
        let request = |lines: &str| Request::parse(format!("{lines}\r\n\r\n").as_bytes());
        for (lines, expected) in [
            ("GET /?code=a HTTP/1.1\r\nHost: 127.0.0.1:10000", Some(true)),
            (
                "GET /?code=a HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate",
                Some(true),
            ),
            // Requests from a page of another site: an image, a script, a frame; and another name that resolves to this
            // machine.
            ("GET /?code=a HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nSec-Fetch-Dest: image", Some(false)),
            ("GET /?code=a HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nSec-Fetch-Mode: cors", Some(false)),
            ("GET /?code=a HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nSec-Fetch-Dest: iframe", Some(false)),
            ("GET /?code=a HTTP/1.1\r\nHost: evil.example:10000", Some(false)),
            ("GET /?code=a HTTP/1.1\r\nHost: localhost:10000", Some(false)),
            ("GET /?code=a HTTP/1.1", Some(false)),
            ("GET / HTTP/1.1\r\nHost: 127.0.0.1:10000\r\nHost: evil.example", None),
            ("POST / HTTP/1.1\r\nHost: 127.0.0.1:10000", None),
            ("GET / HTTP/2", None),
            ("GET /", None),
            ("\u{16}\u{3}\u{1}", None),
        ] {
            assert_eq!(request(lines).map(|found| found.is_of("127.0.0.1:10000")), expected, "{lines}");
        }
        let found = request("GET /a?x=1&y=a%20b HTTP/1.1\r\nHost: h\r\nSec-Purpose: prefetch;prerender").unwrap();
        assert!(found.is_prefetch && found.path == "/a");
        assert_eq!(found.query, [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "a b".to_owned())]);
    }
}
