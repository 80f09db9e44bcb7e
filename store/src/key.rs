//! Which keys there may be.

use crate::StoreError;

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 512;

/// Keys are printable ASCII (space excluded), 1 to [`MAX_KEY_BYTES`] bytes, their parts separated by single slashes.
/// So they can be shown, logged and sent to any backend without escaping.
pub(crate) fn check_key(key: &str) -> Result<(), StoreError> {
    let refuse = |reason| {
        Err(StoreError::InvalidKey {
            key: key.chars().take(80).collect(),
            reason,
        })
    };
    if key.is_empty() {
        return refuse("it is empty");
    }
    if key.len() > MAX_KEY_BYTES {
        return refuse("it is longer than 512 bytes");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse("only printable ASCII without spaces is allowed");
    }
    if key.contains("//") {
        return refuse("an empty part (`//`) is not allowed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_keys_up_to_the_limit_are_allowed() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        for key in [
            "a",
            "certificates/*.example.com/1",
            "/",
            "a/",
            "~!",
            longest.as_str(),
        ] {
            assert!(check_key(key).is_ok(), "{key}");
        }
    }

    #[test]
    fn other_keys_are_refused_with_the_reason() {
        let too_long = "k".repeat(MAX_KEY_BYTES + 1);
        for key in ["", "a b", "a\n", "ä", "a//b", "\0", too_long.as_str()] {
            assert!(
                matches!(check_key(key), Err(StoreError::InvalidKey { .. })),
                "{key}"
            );
        }
    }
}
