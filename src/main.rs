//! The certgate program; everything it does is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Keeps objects of one size together, so that what a handshake took and gave back leaves no holes between the
/// connections that stay.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    certgate::cli::main()
}
