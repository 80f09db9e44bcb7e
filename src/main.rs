//! certgate.
fn main() {}
