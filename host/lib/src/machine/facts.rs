//! What kind of machine this is. Except for [`boot`], every function takes the directory that stands for `/`.

use super::users;
use std::{fs, path::Path};

/// The init system, which also starts the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// systemd is process 1.
    Systemd,
    /// OpenRC keeps its state in `/run/openrc`.
    Openrc,
    /// `init` of sysvinit or BusyBox, with scripts in `/etc/init.d`.
    Sysv,
    /// runit is process 1 (Void, antiX).
    Runit,
    /// A container, or an unknown init.
    None,
}

/// Identifies a boot of this machine, or a start of this container: the kernel's boot id, and when process 1 started
/// (proc_pid_stat(5), field 22). None if that is not known.
#[must_use]
pub fn boot() -> Option<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let first = fs::read_to_string("/proc/1/stat").ok()?;
    let started = first.rsplit_once(") ")?.1.split(' ').nth(19)?;
    Some(format!("{} {started}", kernel.trim()))
}

impl Init {
    /// Reads it from the machine.
    #[must_use]
    pub fn detect(root: &Path) -> Self {
        let first = read(root, "proc/1/comm").unwrap_or_default();
        // sd_booted(3) checks only for this directory, which also exists in containers that bind-mount /run.
        if root.join("run/systemd/system").is_dir() && first == "systemd" {
            Self::Systemd
        } else if root.join("run/openrc").is_dir() {
            Self::Openrc
        } else if first == "runit" {
            Self::Runit
        } else if first == "init" && root.join("etc/inittab").is_file() && root.join("etc/init.d").is_dir() {
            Self::Sysv
        } else {
            Self::None
        }
    }

    /// Its name in policies and facts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Openrc => "openrc",
            Self::Sysv => "sysv",
            Self::Runit => "runit",
            Self::None => "none",
        }
    }
}

/// The facts of a machine, read once.
#[derive(Clone, Debug)]
pub struct Facts {
    /// `ID` of os-release(5), empty where there is none.
    pub os_id: String,
    /// `VERSION_ID` of os-release(5), empty where there is none.
    pub os_version: String,
    /// The system's name for people: `PRETTY_NAME` of os-release(5).
    pub os_name: String,
    /// What starts services.
    pub init: Init,
    /// The host name.
    pub hostname: String,
    /// The home directory of the user who runs this.
    pub home: Option<String>,
    /// Identifies this machine.
    pub machine_id: String,
}

impl Facts {
    /// Reads them; `root` stands for `/`.
    #[must_use]
    pub fn read(root: &Path) -> Self {
        let os_id = os_id(root).unwrap_or_default();
        let os_name = os_release(root).and_then(|release| release_value(&release, "PRETTY_NAME"));
        Self {
            os_name: os_name.unwrap_or_else(|| os_id.clone()),
            os_id,
            os_version: os_version(root).unwrap_or_default(),
            init: Init::detect(root),
            hostname: hostname(root).unwrap_or_default(),
            home: home(root, rustix::process::geteuid().as_raw()),
            machine_id: machine_id(root),
        }
    }
}

/// `ID` of os-release(5): `debian`, `alpine` …; `linux` where the file does not say (its default).
#[must_use]
pub fn os_id(root: &Path) -> Option<String> {
    let release = os_release(root)?;
    Some(release_value(&release, "ID").unwrap_or_else(|| "linux".to_owned()))
}

/// `VERSION_ID` of os-release(5): `12`, `24.04` …; none on rolling systems.
#[must_use]
pub fn os_version(root: &Path) -> Option<String> {
    release_value(&os_release(root)?, "VERSION_ID")
}

/// The kernel's host name as it was set, with or without a domain.
#[must_use]
pub fn hostname(root: &Path) -> Option<String> {
    ["proc/sys/kernel/hostname", "etc/hostname"].into_iter().find_map(|path| read(root, path))
}

/// The home directory of a user: from `/etc/passwd`, else (a directory service) from `HOME`.
#[must_use]
pub fn home(root: &Path, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let passwd = users::table(&root.join("etc/passwd"));
    let listed = passwd.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        (fields.next()? == uid).then(|| fields.nth(2))?.map(str::to_owned)
    });
    listed.or_else(|| std::env::var("HOME").ok()).filter(|home| home.starts_with('/'))
}

/// Identifies this machine, to spread renewals over time: machine-id(5), else the host name. Not a secret here, and
/// never sent anywhere.
#[must_use]
pub fn machine_id(root: &Path) -> String {
    ["etc/machine-id", "var/lib/dbus/machine-id"]
        .into_iter()
        .filter_map(|path| read(root, path))
        .find(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .or_else(|| hostname(root))
        .unwrap_or_default()
}

fn os_release(root: &Path) -> Option<String> {
    ["etc/os-release", "usr/lib/os-release"].into_iter().find_map(|path| read(root, path))
}

/// One value of os-release(5), which is a subset of shell syntax.
fn release_value(release: &str, key: &str) -> Option<String> {
    let raw = release.lines().rev().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    let quoted = |quote| raw.strip_prefix(quote).and_then(|rest: &str| rest.strip_suffix(quote));
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(raw);
    (!value.is_empty() && !value.contains(['\\', '$', '`', '"'])).then(|| value.to_owned())
}

/// A small file as text without surrounding white space; none if it is missing, empty or not UTF-8.
fn read(root: &Path, path: &str) -> Option<String> {
    let text = fs::read_to_string(root.join(path)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like a machine's `/`. A path that ends in `/` becomes a directory.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, contents) in files {
            let full = root.path().join(path);
            if path.ends_with('/') {
                fs::create_dir_all(full).unwrap();
            } else {
                fs::create_dir_all(full.parent().unwrap()).unwrap();
                fs::write(full, contents).unwrap();
            }
        }
        root
    }

    #[test]
    fn the_init_system_is_the_one_that_runs() {
        for (files, init) in [
            (&[("run/systemd/system/", ""), ("proc/1/comm", "systemd\n")][..], Init::Systemd),
            (&[("run/systemd/system/", ""), ("proc/1/comm", "bash\n")], Init::None),
            (
                &[("run/openrc/", ""), ("proc/1/comm", "init\n"), ("etc/inittab", "x"), ("etc/init.d/", "")],
                Init::Openrc,
            ),
            (&[("proc/1/comm", "init\n"), ("etc/inittab", "x"), ("etc/init.d/", "")], Init::Sysv),
            (&[("proc/1/comm", "runit\n"), ("etc/runit/", "")], Init::Runit),
            (&[("proc/1/comm", "sh\n"), ("etc/inittab", "x"), ("etc/init.d/", "")], Init::None),
            (&[], Init::None),
        ] {
            assert_eq!(Init::detect(machine(files).path()), init, "{files:?}");
        }
    }

    #[test]
    fn os_release_is_read_with_its_quotes() {
        for (release, id, version) in [
            ("ID=debian\nVERSION_ID=\"12\"\n", Some("debian"), Some("12")),
            ("NAME=x\nID='rocky'\nVERSION_ID='9.4'\n", Some("rocky"), Some("9.4")),
            ("ID=arch\nBUILD_ID=rolling\n", Some("arch"), None),
            ("NAME=odd\nID_LIKE=debian\n", Some("linux"), None),
        ] {
            let root = machine(&[("usr/lib/os-release", release)]);
            assert_eq!(os_id(root.path()).as_deref(), id);
            assert_eq!(os_version(root.path()).as_deref(), version);
        }
        assert_eq!(os_id(machine(&[]).path()), None);
    }

    #[test]
    fn names_and_homes() {
        let id = "0123456789abcdef0123456789abcdef";
        let root = machine(&[
            ("etc/hostname", "web1\n"),
            ("etc/machine-id", "uninitialized\n"),
            ("var/lib/dbus/machine-id", id),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\njane:x:1000:1000::/home/jane:/bin/sh\n"),
        ]);
        assert_eq!(hostname(root.path()).as_deref(), Some("web1"));
        assert_eq!(machine_id(root.path()), id);
        assert_eq!(home(root.path(), 1000).as_deref(), Some("/home/jane"));
        assert_eq!(machine_id(machine(&[("etc/hostname", "web2\n")]).path()), "web2");
    }
}
