//! What the umask takes from the files that this process makes.

use rustix::{fs::Mode, process::umask};

/// Leaves the owner what a umask such as 777 would take: nobody but root reads a file whose owner may not. To be called
/// before there are threads.
pub fn spare_owner() {
    let others = Mode::RWXG | Mode::RWXO;
    umask(umask(others) & others);
}
