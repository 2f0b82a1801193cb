//! Builds an HTML page.

use std::fmt::Display;
use warded_lib::text::neutral;

/// A page. Only texts in this program's source can become markup in it; every other text is escaped.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Adds markup. The `'static` lifetime excludes texts from a guest, a file or the machine.
    pub(super) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, which cannot become markup, and whose invisible characters are made visible.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        for character in neutral(&text.to_string()).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// The page as it is written to a file.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_markup() {
        let mut page = Page::default();
        page.markup("<p>").text("<script>alert('1')</script>\" onload=\"x\u{202e}&amp;\n");
        assert_eq!(
            page.finish(),
            "<p>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x\\u{202e}&amp;amp;\\n"
        );
    }
}
