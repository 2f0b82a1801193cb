//! Several files in one, so that writing them takes only one wait for the disk: a tar archive (the ustar format of
//! POSIX) of plain files with short names, which tar(1) can read, too.

use std::{collections::BTreeMap, ops::Range};
use zeroize::Zeroizing;

const BLOCK: usize = 512;
const NAME: Range<usize> = 0..100;
const SIZE: Range<usize> = 124..136;
const CHECKSUM: Range<usize> = 148..156;
const MAGIC: Range<usize> = 257..263;
/// Mode 0600, owner root, dated 1970.
const FIXED: [(usize, &[u8]); 8] = [
    (100, b"0000600\0"),
    (108, b"0000000\0"),
    (116, b"0000000\0"),
    (136, b"00000000000\0"),
    (CHECKSUM.start, b"        "),
    (156, b"0"),
    (MAGIC.start, b"ustar\0"),
    (263, b"00"),
];

#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Zeroizing<Vec<u8>>,
    files: BTreeMap<String, Range<usize>>,
}

impl Archive {
    /// An archive of these files.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = (String, &'a [u8])>) -> Self {
        let files: Vec<(String, &[u8])> = files.into_iter().collect();
        let blocks = |length: usize| length.div_ceil(BLOCK);
        let room = files.iter().map(|(_, contents)| 1 + blocks(contents.len())).sum::<usize>() + 2;
        // Allocated at once: a growing buffer would leave copies of private keys behind in memory.
        let mut archive = Self { bytes: Zeroizing::new(Vec::with_capacity(room * BLOCK)), files: BTreeMap::new() };
        for (name, contents) in files {
            archive.bytes.extend_from_slice(&header(&name, contents.len()));
            let start = archive.bytes.len();
            archive.bytes.extend_from_slice(contents);
            archive.files.insert(name, start..archive.bytes.len());
            archive.bytes.resize(start + blocks(contents.len()) * BLOCK, 0);
        }
        let end = archive.bytes.len() + 2 * BLOCK;
        archive.bytes.resize(end, 0);
        archive
    }

    /// Reads an archive.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: Zeroizing<Vec<u8>>) -> Result<Self, &'static str> {
        let (mut files, mut at) = (BTreeMap::new(), 0);
        loop {
            let header = bytes.get(at..at + BLOCK).ok_or("it is cut off")?;
            if header.iter().all(|byte| *byte == 0) {
                return Ok(Self { bytes, files });
            }
            let (name, length) = entry(header).ok_or("it has an entry that Warded does not write")?;
            let start = at + BLOCK;
            let end = start.checked_add(length).filter(|end| *end <= bytes.len()).ok_or("it is cut off")?;
            files.insert(name, start..end);
            at = end.next_multiple_of(BLOCK);
        }
    }

    /// The bytes to write.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A file in it.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.bytes.get(self.files.get(name)?.clone())
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.keys().filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }
}

fn header(name: &str, length: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    put(NAME.start, name.as_bytes());
    put(SIZE.start, format!("{length:011o}\0").as_bytes());
    FIXED.into_iter().for_each(|(at, bytes)| put(at, bytes));
    let sum = sum(&header);
    let text = format!("{sum:06o}\0 ");
    header.iter_mut().skip(CHECKSUM.start).zip(text.as_bytes()).for_each(|(to, from)| *to = *from);
    header
}

/// Name and length of a file, from its header.
fn entry(header: &[u8]) -> Option<(String, usize)> {
    let text = |range: Range<usize>| {
        let field = header.get(range)?.split(|byte| *byte == 0).next()?;
        std::str::from_utf8(field).ok().map(str::trim)
    };
    let octal = |range| usize::from_str_radix(text(range)?, 8).ok();
    let (name, length) = (text(NAME)?.to_owned(), octal(SIZE)?);
    let is_ours = text(MAGIC) == Some("ustar") && header.get(156) == Some(&b'0');
    (is_ours && octal(CHECKSUM) == Some(sum(header))).then_some((name, length))
}

/// The checksum of a header, computed with blanks in the checksum field.
fn sum(header: &[u8]) -> usize {
    let byte = |(at, byte): (usize, &u8)| if CHECKSUM.contains(&at) { usize::from(b' ') } else { usize::from(*byte) };
    header.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    fn archive() -> (Vec<(String, Vec<u8>)>, Archive) {
        let lengths = [("new/0", 0), ("new/17", 511), ("old/0", 512), ("old/1", 513), ("old/20", 70_000)];
        let files: Vec<(String, Vec<u8>)> = lengths.map(|(name, length)| (name.to_owned(), vec![b'x'; length])).into();
        let archive = Archive::of(files.iter().map(|(name, contents)| (name.clone(), contents.as_slice())));
        (files, archive)
    }

    #[test]
    fn what_was_put_in_comes_out_with_tar_too() {
        let (files, archive) = archive();
        let read = Archive::parse(Zeroizing::new(archive.bytes().to_vec())).unwrap();
        let found: Vec<_> = read.files().map(|(name, contents)| (name.to_owned(), contents.to_vec())).collect();
        assert_eq!(found, files);
        assert_eq!(read.get("old/1").unwrap().len(), 513);
        assert!(read.get("old/2").is_none());
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("a.tar"), archive.bytes()).unwrap();
        let tar = Command::new("tar").args(["-xf", "a.tar"]).current_dir(scratch.path()).output().unwrap();
        assert!(tar.status.success() && tar.stderr.is_empty(), "{tar:?}");
        for (name, contents) in files {
            assert_eq!(fs::read(scratch.path().join(name)).unwrap(), contents);
        }
    }

    #[test]
    fn one_that_is_cut_off_or_altered_is_refused() {
        let (_, archive) = archive();
        let whole = archive.bytes();
        for length in [0, 1, 511, 512, 1536, whole.len() - 1025] {
            assert!(Archive::parse(Zeroizing::new(whole[..length].to_vec())).is_err(), "{length}");
        }
        for at in [0, SIZE.start + 3, 156, MAGIC.start] {
            let mut altered = whole.to_vec();
            altered[at] ^= 1;
            assert!(Archive::parse(Zeroizing::new(altered)).is_err(), "{at}");
        }
    }
}
