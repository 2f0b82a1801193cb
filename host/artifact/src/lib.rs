//! The formats of files that reach Warded from outside, read without running anything: components and what they can
//! call, the manifests and lists of signers beside them, lock files and archives of policies, recordings of runs.
//! Nothing here needs an engine, so that fuzz targets can be built with coverage.

pub mod archive;
pub mod embed;
pub mod imports;
pub mod lock;
pub mod manifest;
pub mod reach;
pub mod read;
pub mod recording;
pub mod signers;
