//! What loading a component costs, precompiled and not. Prints medians and their ratio:
//! `cargo bench --bench component`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};
use warded::{
    components,
    sandbox::{Component, granting::BoundPolicy},
};
use warded_lib::error::Result;

const ROUNDS: usize = 25;

fn main() -> Result<()> {
    let policies = components::load(std::path::Path::new("/nonexistent"))?;
    for granting in policies.into_iter().chain([components::demo()?]) {
        let slow = BoundPolicy { precompiled: None, ..granting.clone() };
        let (fast, slow) = (median(&granting)?, median(&slow)?);
        println!(
            "{:6} {:6} bytes   precompiled {:8.3} ms   compiled {:8.3} ms   ratio {:5.1}",
            granting.policy.name.as_str(),
            granting.component.len(),
            fast.as_secs_f64() * 1000.0,
            slow.as_secs_f64() * 1000.0,
            slow.as_secs_f64() / fast.as_secs_f64(),
        );
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the bundled components, without the process that bounds the compiler")]
fn median(granting: &BoundPolicy) -> Result<Duration> {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(Component::load(granting)?);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(ROUNDS / 2).copied().unwrap_or_default())
}
