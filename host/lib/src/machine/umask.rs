//! The umask of this process.

use rustix::{fs::Mode, process::umask};

/// Clears the owner's bits of the umask. With a umask such as 777, only root could read the files that this process
/// makes. To be called before there are threads.
pub fn spare_owner() {
    let others = Mode::RWXG | Mode::RWXO;
    umask(umask(others) & others);
}
