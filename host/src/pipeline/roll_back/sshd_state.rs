//! What sshd has read and offers when a run is rolled back: whether it may be reloaded, and whether it is as before.

use std::{
    thread,
    time::{Duration, Instant},
};
use warded_lib::{
    error::{Error, Exit, Result},
    guard::{self, ListenerOffer, config_digest},
    machine::{
        facts,
        sshd::{Listener, Sshd},
    },
    text::{count, neutral},
    transaction::SshdBefore,
};

/// How long sshd may take until it offers again what it offered before.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether sshd has read the files of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadState {
    Yes,
    No,
    Unknown,
}

/// Whether sshd has read the files of a run, whatever made it do so: the run, another process, or its own start.
pub(super) fn has_read(before: &SshdBefore, listener: Option<&Listener>, boot: Option<&str>) -> ReadState {
    let Some(listener) = listener else { return ReadState::No };
    match (before.boot.as_deref(), boot) {
        (Some(then), Some(now)) if then != now => return ReadState::Yes,
        (Some(_), Some(_)) => {}
        _ => return ReadState::Unknown,
    }
    match (&before.offered, &before.reading, listener.reading()) {
        (Some(_), Some(then), Some(now)) if *then == now => ReadState::No,
        (None, _, _) | (Some(_), Some(_), Some(_)) => ReadState::Yes,
        (Some(_), _, _) => ReadState::Unknown,
    }
}

/// Refuses to reload sshd if somebody else edited its configuration during the run: they decide when their edit takes
/// effect. sshd is reloaded all the same if it has read the run's files, or has stopped serving a key: its present
/// configuration may lock everybody out, which a check without a login does not see.
pub(super) fn may_reload(sshd: &Sshd, before: &SshdBefore, read: ReadState) -> Result<()> {
    // A journal of an older version does not list these files.
    if read == ReadState::Yes || before.files.is_empty() {
        return Ok(());
    }
    let now = config_digest::now(before.config.as_path())?;
    let Some(path) = config_digest::difference(&before.files, &now) else { return Ok(()) };
    if let SshdState::Lost(_) = seen_now(sshd, before) {
        return Ok(());
    }
    Err(Error::refused(format!("sshd is not told to reload: {} was changed by somebody else", path.display()))
        .cause("a reload would make sshd read an edit that may be unfinished; it still offers the same keys as before")
        .next("when that edit is finished, reload sshd"))
}

/// Checks that sshd offers every host key and serves every certificate that it did before. Without a listener, as at
/// boot, there is none to ask.
pub(super) fn as_before(sshd: &Sshd, before: &SshdBefore) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (SshdState::Lost(fault) | SshdState::Unknown(fault)) = seen_now(sshd, before) else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(fault);
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Checks that sshd accepts its configuration, if somebody else changed that during the run. A listening sshd keeps
/// what it has read, so nobody would notice until the next one does not start.
pub(super) fn would_start(sshd: &Sshd, before: &SshdBefore) -> Result<()> {
    let now = config_digest::now(before.config.as_path());
    if now.is_ok_and(|now| config_digest::difference(&before.files, &now).is_none()) {
        return Ok(());
    }
    sshd.test().map(drop).map_err(|error| {
        if error.exit() != Exit::Refused {
            return error;
        }
        Error::failed(format!(
            "{}; somebody else changed it, and sshd could not start with it: correct it until `{} -t -f {}` is silent",
            error.brief().replace('\n', "; "),
            sshd.binary.display(),
            sshd.config
        ))
    })
}

/// The result of one look at sshd.
enum SshdState {
    AsBefore,
    Lost(Error),
    /// The look could not be completed, which tells nothing about sshd.
    Unknown(Error),
}

fn seen_now(sshd: &Sshd, before: &SshdBefore) -> SshdState {
    let Some(expected) = &before.offered else { return SshdState::AsBefore };
    let mut now = sshd.clone();
    now.listener = match sshd.listener_now() {
        Ok(listener) => listener,
        Err(error) => return SshdState::Unknown(error),
    };
    // If sshd could not be asked before, it is not asked now.
    let served = if expected.is_empty() {
        Ok(now.listener.as_ref().map(|_| ListenerOffer::default()))
    } else {
        guard::served(&now)
    };
    match served {
        // After a reboot there is no listener yet. In the same boot, sshd did not survive its reload.
        Ok(None) if sshd.listener.is_none() && before.boot != facts::boot() => SshdState::AsBefore,
        Ok(None) => {
            SshdState::Lost(Error::failed("sshd does not listen any more").next("start it: systemctl start ssh"))
        }
        Ok(Some(offered)) => {
            let lost: Vec<_> = expected
                .iter()
                .filter(|print| !offered.keys.iter().any(|key| key.fingerprint == **print))
                .map(|print| neutral(print))
                .collect();
            if !lost.is_empty() {
                let message = format!("sshd does not offer {} as before", count(lost.len(), "host key"));
                return SshdState::Lost(Error::failed(message).seen(lost.join("\n")));
            }
            let is_served = |serial: &u64| offered.certificates.iter().any(|one| one.seen.serial == *serial);
            let lost: Vec<String> =
                before.served.iter().filter(|serial| !is_served(serial)).map(ToString::to_string).collect();
            if lost.is_empty() {
                return SshdState::AsBefore;
            }
            let message = format!("sshd does not serve {} as before", count(lost.len(), "certificate"));
            SshdState::Lost(Error::failed(message).seen(format!("serial {}", lost.join(", "))))
        }
        Err(error) => SshdState::Unknown(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::machine::sshd::Socket;

    #[test]
    fn who_was_not_told_may_have_read_it_all_the_same() {
        let socket = |inode, inherited| Socket { address: ([127, 0, 0, 1], 22).into(), inherited, inode };
        let listener = |sockets| Listener {
            pid: 7,
            unit: None,
            binary: None,
            gone: None,
            arguments: Vec::new(),
            is_completed: false,
            sockets,
        };
        let own = |inode| Some(listener(Some(vec![socket(inode, false)])));
        let inherited = || Some(listener(Some(vec![socket(1, true)])));
        let before = |listener: Option<Listener>, boot: Option<&str>| SshdBefore {
            config: "/etc/ssh/sshd_config".parse().unwrap(),
            binary: None,
            offered: listener.as_ref().map(|_| Vec::new()),
            served: Vec::new(),
            files: [].into(),
            reading: listener.as_ref().and_then(Listener::reading),
            boot: boot.map(str::to_owned),
            unit: None,
        };
        for (then, now, boots, read) in [
            (own(1), own(1), [Some("a"), Some("a")], ReadState::No),
            (own(1), None, [Some("a"), Some("a")], ReadState::No),
            (None, None, [Some("a"), Some("a")], ReadState::No),
            // sshd was reloaded, was started since, or was started with the machine.
            (own(1), own(2), [Some("a"), Some("a")], ReadState::Yes),
            (None, own(1), [Some("a"), Some("a")], ReadState::Yes),
            (own(1), own(1), [Some("a"), Some("b")], ReadState::Yes),
            (own(1), None, [Some("a"), Some("b")], ReadState::No),
            // Process 1 has the sockets, the sockets are not visible to this user, or a boot has no ID.
            (inherited(), inherited(), [Some("a"), Some("a")], ReadState::Unknown),
            (Some(listener(None)), Some(listener(None)), [Some("a"), Some("a")], ReadState::Unknown),
            (own(1), own(1), [None, Some("a")], ReadState::Unknown),
            (own(1), own(1), [Some("a"), None], ReadState::Unknown),
        ] {
            assert_eq!(has_read(&before(then.clone(), boots[0]), now.as_ref(), boots[1]), read, "{then:?} {now:?}");
        }
    }
}
