//! What a hostile guest does, written as calls: each becomes some lines of WebAssembly.

use super::guest::{Guest, data};
use std::collections::BTreeSet;

/// The address of the results of calls.
const RESULTS: usize = 1024;
/// The address of texts.
const TEXTS: usize = 4096;
/// The end of the texts: memory that the host allocates comes after it.
const ROOM: usize = 65536;

/// An argument of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument<'a> {
    /// A string, or a list of bytes.
    Text(&'a [u8]),
    /// A list of strings.
    Texts(&'a [&'a [u8]]),
    /// A list of settings.
    Settings(&'a [(&'a [u8], &'a [u8])]),
    /// A number, an address, a handle, or an enum case.
    Number(i32),
    /// The value of an expression.
    Expression(&'a str),
}

use Argument::{Number, Text};

/// A guest that is being built.
#[derive(Debug)]
pub(crate) struct Script {
    directory: String,
    imports: BTreeSet<String>,
    fields: String,
    locals: String,
    body: String,
    next: usize,
}

impl Script {
    /// An empty script. `{dir}` in texts becomes `directory`.
    pub(crate) fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            imports: BTreeSet::new(),
            fields: String::new(),
            locals: "(local $i i32) (local $h i32) ".to_owned(),
            body: String::new(),
            next: TEXTS,
        }
    }

    /// The component, whose procedure is `go`.
    pub(crate) fn component(self) -> Vec<u8> {
        let imports: String = self.imports.into_iter().collect();
        Guest::doing(&imports, &self.fields, &format!("{}{}", self.locals, self.body)).component()
    }

    /// WebAssembly as it is. It can use the locals `$i` and `$h`.
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.body.push_str(text);
        self
    }

    /// Adds functions, tables or data.
    pub(crate) fn field(&mut self, text: &str) -> &mut Self {
        self.fields.push_str(text);
        self
    }

    /// Calls a function, and ends with its error if it returns one.
    pub(crate) fn does(&mut self, function: &str, arguments: &[Argument<'_>]) -> &mut Self {
        self.tries(function, arguments)
            .raw(&format!("(if (i32.load8_u (i32.const {RESULTS})) (then (return (i32.const {RESULTS})))) "))
    }

    /// Calls a function, and continues whatever it returns.
    pub(crate) fn tries(&mut self, function: &str, arguments: &[Argument<'_>]) -> &mut Self {
        let call = self.call(function, arguments);
        self.raw(&call)
    }

    /// Repeats something so many times; `$i` counts down.
    pub(crate) fn repeats(&mut self, times: u32, body: impl FnOnce(&mut Self)) -> &mut Self {
        self.raw(&format!("(local.set $i (i32.const {times})) (loop $again "));
        body(self);
        self.raw("(br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))) ")
    }

    /// The same for a call with a text, in which the last `0000` is replaced by `$i` each time.
    pub(crate) fn repeats_counting(
        &mut self,
        times: u32,
        text: &str,
        body: impl FnOnce(&mut Self, [Argument<'_>; 2]),
    ) -> &mut Self {
        let behind = text.len() - (text.rfind("0000").unwrap() + 4);
        let (at, length) = self.text(text.as_bytes());
        let digit = |place: usize, divisor: u32| {
            format!(
                "(i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $i) \
                 (i32.const {divisor})) (i32.const 10)))) ",
                at + length - behind - place
            )
        };
        let digits = [digit(1, 1), digit(2, 10), digit(3, 100), digit(4, 1000)].concat();
        let (at, length) = (format!("(i32.const {at})"), format!("(i32.const {length})"));
        self.repeats(times, |guest| {
            body(guest.raw(&digits), [Argument::Expression(&at), Argument::Expression(&length)]);
        })
    }

    /// Loads a handle from the last result, at this offset, into `$h`.
    pub(crate) fn takes(&mut self, offset: usize) -> &mut Self {
        self.raw(&format!("(local.set $h (i32.load (i32.const {}))) ", RESULTS + offset))
    }

    /// Loads the first handle of the returned list into `$h`.
    pub(crate) fn takes_first(&mut self) -> &mut Self {
        self.raw(&format!("(local.set $h (i32.load (i32.load (i32.const {})))) ", RESULTS + 4))
    }

    pub(crate) fn reads(&mut self, path: &str) -> &mut Self {
        self.does("files.read", &[Text(path.as_bytes())])
    }

    pub(crate) fn writes(&mut self, path: &str, contents: &str) -> &mut Self {
        self.does("files.write", &[Text(path.as_bytes()), Text(contents.as_bytes()), Number(0), Number(0)])
    }

    pub(crate) fn says(&mut self, level: &str, words: &str) -> &mut Self {
        self.tries(&format!("log.{level}"), &[Text(words.as_bytes())])
    }

    /// Prints something if `$h` is not zero.
    pub(crate) fn says_if_any(&mut self) -> &mut Self {
        let say = self.call("log.info", &[Text(b"there were some")]);
        self.raw(&format!("(if (local.get $h) (then {say})) "))
    }

    /// Ends with an error of its own: code, message, and a detail that says what to do next.
    pub(crate) fn fails(&mut self, code: &[u8], message: &[u8], next: &[u8]) -> &mut Self {
        self.fails_with(code, message, [b"next", next])
    }

    /// The same with another name for the detail.
    pub(crate) fn fails_with(&mut self, code: &[u8], message: &[u8], [name, value]: [&[u8]; 2]) -> &mut Self {
        let [code, message, name, value] = [code, message, name, value].map(|text| self.bytes(text));
        let detail = self.bytes(&words(&[name, value]));
        let error = self.bytes(&words(&[(1, 0), code, message, (detail.0, 1)])[..]);
        // `(1, 0)` is the tag with its padding and one more word: the record begins at offset 4.
        self.raw(&format!(
            "(memory.copy (i32.const {}) (i32.const {}) (i32.const 24)) (i32.store (i32.const {RESULTS}) (i32.const 1)) \
             (return (i32.const {RESULTS})) ",
            RESULTS + 4,
            error.0 + 8
        ))
    }

    /// A call as WebAssembly; its result, if any, is stored at [`RESULTS`].
    pub(crate) fn call(&mut self, function: &str, arguments: &[Argument<'_>]) -> String {
        let (interface, name) = function.split_once('.').unwrap();
        let mut words = Vec::new();
        for argument in arguments {
            match argument {
                Text(bytes) => {
                    let (at, length) = self.text(bytes);
                    words.extend([at, length].map(|word| format!("(i32.const {word})")));
                }
                Argument::Texts(texts) => {
                    let pairs: Vec<_> = texts.iter().map(|text| self.text(text)).collect();
                    let list = self.bytes(&self::words(&pairs));
                    words.extend([list.0, texts.len()].map(|word| format!("(i32.const {word})")));
                }
                Argument::Settings(settings) => {
                    let texts = settings.iter().flat_map(|(name, value)| [*name, *value]);
                    let pairs: Vec<_> = texts.map(|text| self.text(text)).collect();
                    let list = self.bytes(&self::words(&pairs));
                    words.extend([list.0, settings.len()].map(|word| format!("(i32.const {word})")));
                }
                Number(number) => words.push(format!("(i32.const {number})")),
                Argument::Expression(text) => words.push((*text).to_owned()),
            }
        }
        if interface != "log" {
            words.push(format!("(i32.const {RESULTS})"));
        }
        let (params, id) = ("i32 ".repeat(words.len()), function.replace(['[', ']'], "-"));
        self.imports
            .insert(format!("(import \"warded:host/{interface}@0.1.0\" \"{name}\" (func ${id} (param {params})))"));
        format!("(call ${id} {}) ", words.join(" "))
    }

    /// Stores a text in the guest's memory, with `{dir}` replaced.
    pub(crate) fn text(&mut self, text: &[u8]) -> (usize, usize) {
        let replaced = std::str::from_utf8(text).map(|text| text.replace("{dir}", &self.directory));
        self.bytes(replaced.as_ref().map_or(text, String::as_bytes))
    }

    fn bytes(&mut self, bytes: &[u8]) -> (usize, usize) {
        let at = self.next;
        self.fields.push_str(&data(at, bytes));
        self.next = (at + bytes.len()).next_multiple_of(8);
        assert!(self.next < ROOM, "too much text for one guest");
        (at, bytes.len())
    }
}

/// Addresses and lengths, in their memory layout.
fn words(pairs: &[(usize, usize)]) -> Vec<u8> {
    let word = |word: usize| u32::try_from(word).unwrap().to_le_bytes();
    pairs.iter().flat_map(|(at, length)| [word(*at), word(*length)]).flatten().collect()
}
