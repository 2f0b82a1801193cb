//! Our block in sshd's main file, as guests edit it and as the host judges that: it comes out as it
//! went in, every byte, and the host sees no change outside of it. The first line of the input is
//! the block's, the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use warded_fuzz::{guard::includes::directives, guest, marked_block};

fuzz_target!(|data: &[u8]| {
    let (line, text) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    let text = text.get(1..).unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let reads = guest::reads_outside_match(text, "/etc/ssh/sshd_config.d/50-warded.conf");
    assert!(!reads || text.len() > 8);
    assert!(guest::values(text, "hostcertificate").len() <= text.len());
    // The host never takes for whole what a guest takes for broken.
    let outside = marked_block::outside(text);
    let Some(without) = guest::without(text) else {
        assert!(outside.is_none());
        return;
    };
    assert_eq!(outside.map(|lines| lines.concat()), Some(without.clone()));
    // Nobody puts the marks themselves between the marks.
    if [marked_block::BEGIN, marked_block::END].contains(&line.trim()) || line.contains(['\n', '\r']) {
        return;
    }
    let made = guest::with(text, &[&line]).unwrap();
    assert_eq!(guest::with(&made, &[&line]).as_ref(), Some(&made), "a second time");
    assert_eq!(guest::without(&made), Some(without), "taken out");
    assert_eq!(marked_block::outside(&made), marked_block::outside(text));
    // It stands where it holds for everybody.
    let block = guest::find(&made).unwrap();
    let before = directives(&made[..block.start]).filter(|(_, one)| one.keyword == "match").count();
    assert!(before == 0 || text.contains(&b'"') || text.contains(&0), "it stands behind a Match");
});
