//! Nobody is locked out: what sshd makes of a change is found out before anything is touched, and
//! what it really serves is seen afterwards. In the order of a run:
//!
//! [`Baseline::take`] → [`Candidate::build`] → [`Candidate::check`] → [`Candidate::prove`] →
//! (commit, reload) → [`live::verify`].
//!
//! The guard only looks: it changes no live file, reloads nothing and rolls nothing back.

pub mod baseline;
pub mod candidate;
pub mod check;
pub mod connections;
pub mod files;
pub mod includes;
pub mod keywords;
pub mod known_hosts;
pub mod krl;
pub mod live;
pub mod offer;
pub mod probe;
pub mod proof;
pub mod revocation;
pub mod transcript;
pub mod unasked;
pub mod unchanged;
pub mod ways_in;

pub use baseline::Baseline;
pub use candidate::Candidate;
pub use keywords::MayChange;
pub use live::{Verified, served, verify};
pub use offer::{Offered, OfferedCertificate, OfferedKey};
pub use proof::Proof;

use crate::error::Result;

/// Two independent pieces of work at once: sshd and ssh spend their time elsewhere.
pub(crate) fn both<A: Send, B: Send>(
    first: impl FnOnce() -> Result<A> + Send,
    second: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        let second = second.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((first?, second?))
    })
}

/// Everything in `items` through `work`, on two threads; the results in the order of the items.
pub(crate) fn on_two_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        while let Some((index, item)) = {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            items.get(index).map(|item| (index, item))
        } {
            done.push((index, work(item)?));
        }
        Ok(done)
    };
    let (mut all, more) = both(run, run)?;
    all.extend(more);
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
