//! Our block in sshd's main file, as guests edit it and as the host judges that: it comes out as it
//! went in, every byte, and the host sees no change outside of it. The first line of the input is
//! the block's, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sshd_config::{
    block::{self, BEGIN, END, Marks},
    include, line,
};
use warded_fuzz::reference::{outside_of_marks, sshd_line};

fuzz_target!(|data: &[u8]| {
    let (wanted, text) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let text = text.get(1..).unwrap_or_default();
    let wanted = String::from_utf8_lossy(wanted).into_owned();
    let reads = include::reads_outside_match(text, "/etc/ssh/sshd_config.d/50-warded.conf");
    assert!(!reads || text.len() > 8);
    assert!(line::values(text, "hostcertificate").len() <= text.len());
    let outside = |text: &[u8]| block::outside(text).ok().map(|lines| lines.concat());
    let marks = Marks::default();
    let without = marks.remove(text);
    // The plainer reading knows no blocks of procedures.
    let has_named = [BEGIN, END]
        .iter()
        .any(|mark| text.windows(mark.len() + 1).any(|part| part == [mark.as_bytes(), b" "].concat()));
    if !has_named {
        assert_eq!(outside(text), outside_of_marks(text, BEGIN, END));
        assert_eq!(outside(text).as_ref(), without.as_ref().ok());
    }
    // Nobody puts the marks themselves between the marks.
    let is_mark = [BEGIN, END].iter().any(|mark| wanted.trim().starts_with(mark));
    if without.is_err() || is_mark || wanted.contains(['\n', '\r']) {
        return;
    }
    let made = marks.set(text, &[&wanted]).unwrap();
    assert_eq!(marks.set(&made, &[&wanted]).as_ref(), Ok(&made), "a second time");
    assert_eq!(marks.remove(&made), without, "taken out");
    assert_eq!(outside(&made), outside(text));
    // It stands where it holds for everybody.
    let range = marks.find(&made).unwrap().unwrap();
    let is_match =
        |line: &[u8]| matches!(sshd_line(line), Ok(Some((keyword, _))) if keyword.eq_ignore_ascii_case(b"match"));
    assert!(!made[..range.start].split(|byte| *byte == b'\n').any(is_match), "it stands behind a Match");
});
