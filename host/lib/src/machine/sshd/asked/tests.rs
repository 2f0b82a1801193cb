//! Tests with a program that counts how often it is started. The procedure and the guard ask the same question; when
//! something that sshd read has changed, it is asked again.

use super::*;
use crate::machine::path::AbsolutePath;
use std::{fs, os::unix::fs::PermissionsExt as _, thread};

struct Bench {
    _scratch: tempfile::TempDir,
    at: PathBuf,
    config: AbsolutePath,
    key: PathBuf,
    /// A configuration that names the host key.
    base: String,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let at = scratch.path().canonicalize().unwrap();
        let (key, config) = (at.join("key"), at.join("odd.conf"));
        let base = format!("HostKey {}\n", key.display());
        fs::write(&key, "one").unwrap();
        fs::write(&config, &base).unwrap();
        let bench = Self { at, config: config.as_path().try_into().unwrap(), key, base, _scratch: scratch };
        bench.program("");
        bench
    }

    /// Installs the program, which also runs `besides`.
    fn program(&self, besides: &str) {
        let (calls, key) = (self.at.join("calls"), self.key.display());
        let script = format!("#!/bin/sh\n[ $1 = -V ] || echo x >>{}\n{besides}\necho hostkey {key}\n", calls.display());
        fs::write(self.at.join("new"), script).unwrap();
        fs::set_permissions(self.at.join("new"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(self.at.join("new"), self.at.join("sshd")).unwrap();
    }

    fn sshd(&self) -> Sshd {
        Sshd::find(&self.config, Some(&self.at.join("sshd"))).unwrap().unwrap()
    }

    fn configure(&self, text: &str) {
        fs::write(self.config.as_path(), text).unwrap();
    }

    fn tree(&self) -> Tree {
        Tree::read(self.config.as_path(), Overlay(&StagedFiles::new())).unwrap()
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.at.join("calls")).map_or(0, |text| text.lines().count())
    }

    /// Waits until the written files are older than a tick of the kernel's clock.
    fn settle(&self) {
        let is_fresh =
            |name: &str| FileIdentity::of(&self.at.join(name)).is_some_and(|file| file.is_fresh_at(SystemTime::now()));
        while ["sshd", "key", "key.pub", "cert"].iter().any(|name| is_fresh(name)) {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How often four questions start the program.
    fn asks(&self, sshd: &Sshd) -> usize {
        self.settle();
        let before = self.calls();
        sshd.look().unwrap();
        sshd.for_nobody().unwrap();
        sshd.view(self.config.as_path(), &self.tree()).unwrap();
        self.sshd().look().unwrap();
        self.calls() - before
    }
}

#[test]
fn sshd_is_asked_once_while_nothing_changes() {
    let bench = Bench::new();
    let Bench { at, key, base, .. } = &bench;
    let mut sshd = bench.sshd();
    assert_eq!((bench.asks(&sshd), bench.asks(&sshd)), (1, 0));
    let included = at.join("included");
    for (what, path, contents) in [
        ("a host key", key, "two".to_owned()),
        ("its public half", &at.join("key.pub"), String::new()),
        ("a line", &bench.config.as_path().to_owned(), format!("{base}HostCertificate {}/cert\n", at.display())),
        ("a certificate", &at.join("cert"), String::new()),
        ("an Include", &bench.config.as_path().to_owned(), format!("{base}Include {}\n", included.display())),
        ("a file that is included", &included, "Port 2222\n".to_owned()),
        ("what that says", &included, "Port 2223\n".to_owned()),
    ] {
        fs::write(path, contents).unwrap();
        assert_eq!((bench.asks(&sshd), bench.asks(&sshd)), (1, 0), "{what}");
    }
    // A new program needs to be asked once, too.
    bench.configure(base);
    assert_eq!(bench.asks(&sshd), 1);
    bench.program("");
    assert_eq!(bench.asks(&sshd), 1);
    sshd.arguments = vec!["-p".to_owned(), "2222".to_owned()];
    assert_eq!(bench.asks(&sshd), 2);
    sshd.arguments = vec!["-oHostKey=/elsewhere".to_owned()];
    assert_eq!(bench.asks(&sshd), 3);
}

#[test]
fn sshd_is_asked_each_time_where_its_answer_depends_on_what_is_not_watched() {
    let bench = Bench::new();
    let sshd = bench.sshd();
    for line in ["Match exec true", "Match user x Exec=true", "HostKeyAgent none", "Include ~/more"] {
        bench.configure(&format!("{}{line}\n", bench.base));
        assert_eq!((bench.asks(&sshd), bench.asks(&sshd)), (4, 4), "{line}");
    }
    // The default keys lie elsewhere, whether they exist or not.
    bench.configure("");
    assert_eq!((bench.asks(&sshd), bench.asks(&sshd)), (4, 4));
    bench.configure(&bench.base);
    bench.program("echo hostkey /elsewhere/key");
    assert_eq!((bench.asks(&sshd), bench.asks(&sshd)), (4, 4));
}

#[test]
fn an_answer_is_not_kept_where_a_file_may_have_changed_meanwhile() {
    let bench = Bench::new();
    let sshd = bench.sshd();
    let ask = || {
        let before = bench.calls();
        sshd.look().unwrap();
        bench.calls() - before
    };
    // A key that was written right before the question: the file could be written again within the same clock tick.
    bench.settle();
    let mut next = 0;
    let soon = loop {
        next += 1;
        fs::write(&bench.key, format!("{next}")).unwrap();
        let asked = (ask(), ask());
        // On a busy machine this takes longer than a tick.
        if asked == (1, 1) || next == 100 {
            break asked;
        }
        bench.settle();
    };
    assert_eq!(soon, (1, 1));
}

#[test]
fn an_answer_about_another_configuration_is_not_kept() {
    let bench = Bench::new();
    let sshd = bench.sshd();
    bench.settle();
    // The configuration changes after it was read for the question, and is changed back later.
    let tree = bench.tree();
    bench.configure(&format!("{}Port 2222\n", bench.base));
    sshd.view(bench.config.as_path(), &tree).unwrap();
    bench.configure(&bench.base);
    let ask = || {
        let before = bench.calls();
        sshd.look().unwrap();
        bench.calls() - before
    };
    assert_eq!((ask(), ask()), (1, 0));
}

#[test]
fn an_answer_is_old_after_a_moment() {
    let bench = Bench::new();
    let sshd = bench.sshd();
    bench.settle();
    let ask = |moment| {
        let before = bench.calls();
        sshd.asked_within(moment, &bench.tree()).unwrap();
        bench.calls() - before
    };
    assert_eq!([MOMENT, MOMENT, Duration::ZERO, MOMENT].map(ask), [1, 0, 1, 0]);
}
