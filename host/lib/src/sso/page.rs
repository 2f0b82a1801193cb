//! The pages that the browser shows when it comes back: plain words, and nothing loaded from elsewhere.

use crate::digest::Digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// The login got a certificate.
    Done,
    /// The login got a token for a machine.
    Token,
    /// The login failed.
    Failed,
    /// The provider denied access, or the person refused.
    Denied,
    /// The answer belongs to another login.
    WrongWindow,
    /// The login's address was opened before.
    OpenedBefore,
    /// The answer came a second time.
    Over,
    /// There is nothing at this address.
    Nothing,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--text:#1b1f24;--dim:#4d5661;--line:#d5dae1;--good:#12703a;--bad:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ground:#14171b;--card:#1d2127;--text:#e8ebef;--dim:#a9b2bd;--line:#343b45;--good:#5fd38d;--bad:#ff8a80}}\
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--ground);color:var(--text);\
font:1.0625rem/1.5 system-ui,sans-serif}main{width:min(32rem,calc(100vw - 2rem));padding:2rem;background:var(--card);\
border:1px solid var(--line);border-radius:.5rem;border-top:.3rem solid var(--mark)}main.good{--mark:var(--good)}\
main.bad{--mark:var(--bad)}h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25;text-wrap:balance;color:var(--mark)}p{margin:.5rem 0 0}\
footer{margin-top:1.5rem;font-size:.875rem;color:var(--dim)}";

impl Page {
    /// All pages.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Token,
        Self::Failed,
        Self::Denied,
        Self::WrongWindow,
        Self::OpenedBefore,
        Self::Over,
        Self::Nothing,
    ];

    /// The page's HTTP status.
    pub(super) fn status(self) -> &'static str {
        match self {
            Self::Done | Self::Token | Self::Failed | Self::Denied => "200 OK",
            Self::WrongWindow => "400 Bad Request",
            Self::OpenedBefore | Self::Over => "410 Gone",
            Self::Nothing => "404 Not Found",
        }
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Done => (
                "You are logged in",
                "Your SSH certificate is ready. You can close this window and go back to the terminal.",
            ),
            Self::Token => (
                "You are signed in",
                "The terminal has the token for the machine. You can close this window and go back there.",
            ),
            // These texts are for certificates and tokens alike.
            Self::Failed => ("That did not work", "The terminal says why, and what to do next."),
            Self::Denied => {
                ("You are not signed in", "The sign-in was denied or cancelled. The terminal says what to do next.")
            }
            Self::WrongWindow => (
                "This is the wrong window",
                "This answer does not belong to the sign-in that the terminal waits for: perhaps to an earlier one. \
                 It was not used. Close this window, and go on in the newest one.",
            ),
            Self::OpenedBefore => (
                "This sign-in was opened before",
                "Its address can be opened once. If you did not open it yourself, another program did: go back to the \
                 terminal, end the command there (Ctrl+C) and begin again.",
            ),
            Self::Over => ("This sign-in is over", "Its answer was used already. Begin again in the terminal."),
            Self::Nothing => (
                "There is nothing here",
                "Warded waits at this address for a sign-in. Go on in the window that it opened.",
            ),
        }
    }

    #[must_use]
    pub fn html(self) -> String {
        let (title, text) = self.words();
        let class = if matches!(self, Self::Done | Self::Token) { "good" } else { "bad" };
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} - Warded</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">\
             <style>{STYLE}</style></head><body><main class=\"{class}\"><h1>{title}</h1><p>{text}</p>\
             <footer>Warded, on this computer</footer></main></body></html>\n"
        )
    }

    /// What the page allows a browser to do: only to show it.
    pub(super) fn content_security_policy() -> String {
        let style = STANDARD.encode(Digest::of(STYLE.as_bytes()).bytes());
        format!(
            "default-src 'none'; img-src data:; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_nothing_from_elsewhere() {
        for page in Page::ALL {
            let html = page.html();
            assert!(!html.contains("://") && !html.contains("<script") && !html.contains("url("), "{html}");
            assert!(html.contains("<html lang=\"en\">") && html.matches("<h1>").count() == 1, "{html}");
        }
    }

    /// The colours of a colour scheme, by name.
    fn colours(of: &str) -> Vec<(&str, [f64; 3])> {
        let after = STYLE.split(of).nth(1).unwrap().split('}').next().unwrap();
        let named = after.split("--").skip(1).map(|one| one.split_once(":#").unwrap());
        let wide = |digits: &str| match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => digits.to_owned(),
        };
        let channel = |digits: &str, at: usize| f64::from(u8::from_str_radix(&digits[at..at + 2], 16).unwrap()) / 255.0;
        named
            .map(|(name, value)| {
                let digits = wide(value.trim_end_matches(';'));
                (name, [channel(&digits, 0), channel(&digits, 2), channel(&digits, 4)])
            })
            .collect()
    }

    /// WCAG 2.2, "relative luminance" and "contrast ratio".
    fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
        let linear = |part: f64| if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) };
        let luminance = |[red, green, blue]: [f64; 3]| {
            0.0722f64.mul_add(linear(blue), 0.2126f64.mul_add(linear(red), 0.7152 * linear(green)))
        };
        let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn every_word_has_contrast_by_day_and_by_night() {
        for scheme in ["color-scheme:light dark;", "prefers-color-scheme:dark){:root{"] {
            let colours = colours(scheme);
            let of = |name: &str| colours.iter().find(|(found, _)| *found == name).unwrap().1;
            for name in ["text", "dim", "good", "bad"] {
                let contrast = contrast(of(name), of("card"));
                assert!(contrast >= 4.5, "{scheme} {name}: {contrast}");
            }
        }
    }
}
