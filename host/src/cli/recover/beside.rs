//! A recovery at the same time as another process's. An init script and cron's line for boot may start at the same
//! moment: neither knows of the other, and only one of them gets the lock of the run.

use warded_lib::error::{Exit, Result};

/// Recovers until neither this process nor another one has a run to roll back. `others` gets each run that another
/// process rolled back meanwhile.
pub(super) fn until_none_is_left<R>(
    others: &mut Vec<R>,
    mut recover: impl FnMut() -> Result<()>,
    mut await_other: impl FnMut() -> Result<Option<R>>,
) -> Result<()> {
    let mut was_refused = false;
    loop {
        let refused = match recover() {
            Err(error) if error.exit() != Exit::Refused => return Err(error),
            recovered => recovered.err(),
        };
        match (await_other(), refused) {
            // That process may have been killed half-way, or have left the rest to the next process.
            (Ok(Some(run)), _) => others.push(run),
            (Ok(None), None) => return Ok(()),
            // It may have ended before this process waited for it.
            (Ok(None), Some(_)) if !was_refused => was_refused = true,
            (Ok(None), Some(error)) | (Err(error), _) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warded_lib::error::Error;

    /// Returns how often it recovered, the other processes' runs, and how it ended.
    fn tried(recoveries: &[Option<Error>], awaited: &[Option<u64>]) -> (usize, Vec<u64>, Option<Exit>) {
        let (mut begun, mut others) = (0, Vec::new());
        let mut awaited = awaited.iter();
        let recover = || {
            begun += 1;
            recoveries[begun - 1].clone().map_or(Ok(()), Err)
        };
        let await_other = || awaited.next().copied().ok_or_else(|| Error::refused("it takes too long"));
        let ended = until_none_is_left(&mut others, recover, await_other);
        (begun, others, ended.err().map(|error| error.exit()))
    }

    #[test]
    fn another_process_is_waited_for_however_the_two_meet() {
        let refused = || Some(Error::refused("another process works on run 7"));
        let failed = || Some(Error::failed("a file could not be put back"));
        for (what, recoveries, awaited, expected) in [
            ("nobody else is there", vec![None], &[None][..], (1, vec![], None)),
            ("the other one had the lock first", vec![refused(), None], &[Some(7), None], (2, vec![7], None)),
            ("it has ended before it is waited for", vec![refused(), None], &[None, None], (2, vec![], None)),
            (
                "nothing was seen of who refuses",
                vec![refused(), refused()],
                &[None, None],
                (2, vec![], Some(Exit::Refused)),
            ),
            ("it does not end", vec![refused()], &[], (1, vec![], Some(Exit::Refused))),
            ("it died in the middle", vec![None, None], &[Some(7), None], (2, vec![7], None)),
            ("another fault", vec![failed()], &[None], (1, vec![], Some(Exit::Failed))),
        ] {
            assert_eq!(tried(&recoveries, awaited), expected, "{what}");
        }
    }
}
