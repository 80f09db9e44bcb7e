//! What the meaning of a configuration depends on besides its text, as this process finds it.

use crate::config::Environment;

/// Calls `read` with the environment of this process.
pub(super) fn with<T>(read: impl FnOnce(&Environment<'_>) -> T) -> T {
    let state_directory = std::env::var_os("STATE_DIRECTORY");
    read(&Environment {
        state_directory: state_directory.as_deref(),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    })
}
