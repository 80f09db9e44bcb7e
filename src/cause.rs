//! Errors with their causes, for the one place that prints them.

use std::error::Error;

/// The error and everything that led to it, on one line: `cannot read a.pem: permission denied`.
///
/// Errors here either print their cause or return it from `source()`, never both, so nothing is said twice.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read a.pem")]
    struct Outer {
        source: std::io::Error,
    }

    #[test]
    fn the_causes_follow_the_error() {
        let error = Outer {
            source: std::io::Error::other("permission denied"),
        };
        assert_eq!(with_causes(&error), "cannot read a.pem: permission denied");
    }
}
