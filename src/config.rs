//! The configuration: from the file as written to a valid [`Config`], or every problem at once.

mod settings;

pub use settings::*;
