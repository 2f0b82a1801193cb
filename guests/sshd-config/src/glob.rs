//! The patterns of `Include`, as OpenSSH's own glob matches them (openbsd-compat/glob.c, without flags; it is what sshd
//! uses on Linux): `*`, `?`, `[…]`, `[!…]`, `[[:digit:]]`, and `\` before a literal character. They match bytes, and
//! none of them matches a slash, or a dot at the start of a name.

/// Whether a text has a character with a special meaning.
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// Whether one segment of a path matches one segment of a pattern.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some(pattern) = elements(pattern) else { return false };
    let hidden = name.starts_with('.') && !matches!(pattern.first(), Some(Element::Byte(b'.')));
    !hidden && matches_from(&pattern, name.as_bytes())
}

enum Element {
    /// Any number of bytes.
    Any,
    /// One byte, whatever it is.
    One,
    Byte(u8),
    Set(Set),
}

impl Element {
    fn has(&self, byte: u8) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Byte(own) => *own == byte,
            Self::Set(set) => set.members.iter().any(|member| member.has(byte)) != set.negated,
        }
    }
}

struct Set {
    negated: bool,
    members: Vec<Member>,
}

enum Member {
    Range(u8, u8),
    Class(fn(&u8) -> bool),
}

impl Member {
    fn has(&self, byte: u8) -> bool {
        match self {
            Self::Range(first, last) => (first..=last).contains(&&byte),
            Self::Class(has) => has(&byte),
        }
    }
}

/// If something does not match, only the last `*` needs to match more: it can also match whatever an earlier `*` could.
/// So no pattern makes this slow.
fn matches_from(pattern: &[Element], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut last_star: Option<(&[Element], &[u8])> = None;
    loop {
        if let [Element::Any, after @ ..] = pattern {
            last_star = Some((after, name));
            pattern = after;
            continue;
        }
        let Some((byte, rest)) = name.split_first() else { return pattern.is_empty() };
        if let [element, after @ ..] = pattern
            && element.has(*byte)
        {
            (pattern, name) = (after, rest);
            continue;
        }
        let Some((after, [_, shorter @ ..])) = last_star else { return false };
        last_star = Some((after, shorter));
        (pattern, name) = (after, shorter);
    }
}

/// A byte of a pattern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Symbol {
    /// It means itself, because a backslash stands before it.
    Literal(u8),
    Plain(u8),
}

impl Symbol {
    fn byte(self) -> u8 {
        match self {
            Self::Literal(byte) | Self::Plain(byte) => byte,
        }
    }
}

/// None for a pattern that matches nothing because it names a character class that does not exist.
fn elements(pattern: &str) -> Option<Vec<Element>> {
    let mut symbols = Vec::new();
    let mut rest = pattern.as_bytes();
    while let [byte, after @ ..] = rest {
        (rest, _) = match (byte, after) {
            (b'\\', [literal, after @ ..]) => (after, symbols.push(Symbol::Literal(*literal))),
            (b'\\', []) => (after, symbols.push(Symbol::Literal(b'\\'))),
            (byte, after) => (after, symbols.push(Symbol::Plain(*byte))),
        };
    }
    let mut elements = Vec::new();
    let mut rest = symbols.as_slice();
    while let [symbol, after @ ..] = rest {
        rest = after;
        elements.push(match symbol {
            Symbol::Plain(b'*') => Element::Any,
            Symbol::Plain(b'?') => Element::One,
            Symbol::Plain(b'[') if is_closed(after) => {
                let (set, after) = set(after)?;
                rest = after;
                Element::Set(set)
            }
            Symbol::Literal(byte) | Symbol::Plain(byte) => Element::Byte(*byte),
        });
    }
    Some(elements)
}

/// Whether what follows a `[` is a set: there is a `]` that does not come first.
fn is_closed(after: &[Symbol]) -> bool {
    let after = after.strip_prefix(&[Symbol::Plain(b'!')]).unwrap_or(after);
    after.iter().skip(1).any(|symbol| *symbol == Symbol::Plain(b']'))
}

/// The set after a `[`, and what follows its `]`.
fn set(after: &[Symbol]) -> Option<(Set, &[Symbol])> {
    let (negated, mut rest) = match after {
        [Symbol::Plain(b'!'), rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut members = Vec::new();
    loop {
        match rest {
            // A `]` that comes first stands for itself.
            [Symbol::Plain(b']'), after @ ..] if !members.is_empty() => return Some((Set { negated, members }, after)),
            [Symbol::Plain(b'['), Symbol::Plain(b':'), after @ ..] if let Some((name, after)) = class(after) => {
                members.push(Member::Class(character_class(&name)?));
                rest = after;
            }
            [first, Symbol::Plain(b'-'), last, after @ ..] if *last != Symbol::Plain(b']') => {
                members.push(Member::Range(first.byte(), last.byte()));
                rest = after;
            }
            [only, after @ ..] => {
                members.push(Member::Range(only.byte(), only.byte()));
                rest = after;
            }
            [] => return None,
        }
    }
}

/// The name of a character class after `[:`, and what follows its `:]`.
fn class(after: &[Symbol]) -> Option<(Vec<u8>, &[Symbol])> {
    let colon = after.iter().position(|symbol| *symbol == Symbol::Plain(b':'))?;
    let (name, rest) = after.split_at_checked(colon)?;
    let rest = rest.strip_prefix(&[Symbol::Plain(b':'), Symbol::Plain(b']')])?;
    // No name has a NUL in it, and none has a backslash before a letter.
    let letter = |symbol: &Symbol| if let Symbol::Plain(byte) = symbol { *byte } else { 0 };
    Some((name.iter().map(letter).collect(), rest))
}

/// sshd has the C locale.
fn character_class(name: &[u8]) -> Option<fn(&u8) -> bool> {
    Some(match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| b" \t".contains(byte),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
