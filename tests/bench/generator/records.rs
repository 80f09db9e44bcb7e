//! TLS records counted without opening them: what a client does with a large answer would else cost more than what the
//! proxy does.

/// Where one record ends and how much it carries.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The beginning of a record.
    held: Vec<u8>,
    /// Of the record whose header was seen last.
    left: usize,
}

impl Records {
    /// Takes from `wire` up to the end of a record; the record when it is whole.
    pub(super) fn whole(&mut self, wire: &mut &[u8]) -> Option<Vec<u8>> {
        while !wire.is_empty() {
            let end = HEADER + self.length().unwrap_or(0);
            self.hold(wire, end);
            if self
                .length()
                .is_some_and(|length| self.held.len() == HEADER + length)
            {
                return Some(std::mem::take(&mut self.held));
            }
        }
        None
    }

    /// Takes all of `wire`: the bytes of plaintext in the records that begin there.
    pub(super) fn count(&mut self, mut wire: &[u8]) -> u64 {
        let mut plain = 0;
        while !wire.is_empty() {
            let passed = self.left.min(wire.len());
            self.left -= passed;
            wire = &wire[passed..];
            self.hold(&mut wire, HEADER);
            if self.left == 0
                && let Some(length) = self.length()
            {
                self.held.clear();
                self.left = length;
                plain += length.saturating_sub(OVERHEAD) as u64;
            }
        }
        plain
    }

    /// Whether the last record that was counted is at its end.
    pub(super) fn is_at_end(&self) -> bool {
        self.left == 0 && self.held.is_empty()
    }

    fn hold(&mut self, wire: &mut &[u8], end: usize) {
        if self.left == 0 {
            let (now, later) = wire.split_at(end.saturating_sub(self.held.len()).min(wire.len()));
            self.held.extend_from_slice(now);
            *wire = later;
        }
    }

    /// What the header says, once it is there (RFC 8446 §5.2).
    fn length(&self) -> Option<usize> {
        let high = usize::from(*self.held.get(3)?);
        Some(high << 8 | usize::from(*self.held.get(4)?))
    }
}

const HEADER: usize = 5;
/// The content type and the tag of an AEAD with 16 bytes.
const OVERHEAD: usize = 17;
