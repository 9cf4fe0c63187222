//! The limit of open files, which is the limit of connections.

use std::io;

/// Raises the soft limit of open files to the hard one and returns it.
///
/// # Errors
/// The system refuses; the limit is what it was.
pub fn raise_open_files_limit() -> io::Result<u64> {
    let (soft, hard) = rlimit::Resource::NOFILE.get()?;
    if soft < hard {
        rlimit::Resource::NOFILE.set(hard, hard)?;
    }
    Ok(hard)
}
