//! How entries are written as records, so that a record that is not what was written is noticed.
//!
//! A record is a head and the first part of the value; the rest of a long value follows in further parts under keys
//! of their own. sled keeps up to some twenty neighbours on a page, and moves a page that outgrows a quarter of a log
//! segment to a side file that it never syncs: parts of at most [`PART_BYTES`] keep every page in the synced log.
//!
//! Head: format (1 byte), revision (8), length of the value (4), CRC-32C of the value (4), CRC-32C of all that and the
//! key (4). Numbers are little-endian.

use crate::{MAX_VALUE_BYTES, Revision};

/// What is wrong with a record.
pub(super) type Flaw = &'static str;

/// A log segment of sled. Its buffers are of this size too.
pub(super) const SEGMENT_BYTES: usize = 1 << 20;

/// Twenty of them, with keys of the greatest length, fit a quarter of a segment.
pub(super) const PART_BYTES: usize = 11 << 10;

/// What is known of an entry without its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    pub(super) revision: Revision,
    length: u32,
    value_checksum: u32,
    /// Over all the above and the key: it stands for the entry in [`Totals`].
    checksum: u32,
}

impl Head {
    pub(super) fn new(key: &str, value: &[u8], revision: Revision) -> Self {
        let mut head = Self {
            revision,
            // No value is longer than `MAX_VALUE_BYTES`.
            length: value.len() as u32,
            value_checksum: crc32c::crc32c(value),
            checksum: 0,
        };
        head.checksum = head.compute_checksum(key);
        head
    }

    /// Splits a record into its head and the first part of the value.
    pub(super) fn decode<'record>(key: &str, record: &'record [u8]) -> Result<(Self, &'record [u8]), Flaw> {
        let Some((head, inline)) = record.split_first_chunk::<HEAD_BYTES>() else {
            return Err("the record is too short");
        };
        let [format, rest @ ..] = head;
        if *format != FORMAT {
            return Err("the record has an unknown format");
        }
        let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let head = Self {
            revision: Revision::new(u64::from(number(0)) | u64::from(number(4)) << 32),
            length: number(8),
            value_checksum: number(12),
            checksum: number(16),
        };
        if head.checksum != head.compute_checksum(key) {
            return Err("the checksum of the head does not fit");
        }
        if head.length as usize > MAX_VALUE_BYTES || inline.len() != (head.length as usize).min(PART_BYTES) {
            return Err("the record has the wrong length");
        }
        Ok((head, inline))
    }

    /// The record: this head and the first part of `value`.
    pub(super) fn encode(&self, value: &[u8]) -> Vec<u8> {
        let inline = &value[..value.len().min(PART_BYTES)];
        let mut record = Vec::with_capacity(HEAD_BYTES + inline.len());
        record.extend(self.covered());
        record.extend(self.checksum.to_le_bytes());
        record.extend(inline);
        record
    }

    /// How many parts follow the first.
    pub(super) fn further_parts(&self) -> u32 {
        (self.length as usize).div_ceil(PART_BYTES).saturating_sub(1) as u32
    }

    pub(super) fn check_value(&self, value: &[u8]) -> Result<(), Flaw> {
        if value.len() != self.length as usize {
            return Err("a part of the value is missing");
        }
        if crc32c::crc32c(value) != self.value_checksum {
            return Err("the checksum of the value does not fit");
        }
        Ok(())
    }

    fn compute_checksum(&self, key: &str) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.covered()), key.as_bytes())
    }

    fn covered(&self) -> [u8; HEAD_BYTES - 4] {
        let mut bytes = [FORMAT; HEAD_BYTES - 4];
        bytes[1..9].copy_from_slice(&self.revision.value().to_le_bytes());
        bytes[9..13].copy_from_slice(&self.length.to_le_bytes());
        bytes[13..17].copy_from_slice(&self.value_checksum.to_le_bytes());
        bytes
    }
}

/// What all entries of a store come to. Kept with every commit, so that a missing or outdated record is noticed, too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Totals {
    /// The latest commit.
    pub(super) revision: Revision,
    /// How many entries there are.
    pub(super) count: u64,
    /// The sum of the checksums of their heads.
    pub(super) digest: u64,
}

impl Totals {
    pub(super) fn add(&mut self, head: &Head) {
        self.count = self.count.wrapping_add(1);
        self.digest = self.digest.wrapping_add(head.checksum.into());
    }

    pub(super) fn subtract(&mut self, head: &Head) {
        self.count = self.count.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(head.checksum.into());
    }

    /// Whether both are of the same entries.
    pub(super) fn same_entries(&self, other: &Self) -> bool {
        (self.count, self.digest) == (other.count, other.digest)
    }

    pub(super) fn encode(&self) -> [u8; TOTALS_BYTES] {
        let mut bytes = [FORMAT; TOTALS_BYTES];
        bytes[1..9].copy_from_slice(&self.revision.value().to_le_bytes());
        bytes[9..17].copy_from_slice(&self.count.to_le_bytes());
        bytes[17..25].copy_from_slice(&self.digest.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..25]);
        bytes[25..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let Ok(bytes) = <&[u8; TOTALS_BYTES]>::try_from(bytes) else {
            return Err("the totals have the wrong length");
        };
        let number = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .rev()
                .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
        };
        let totals = Self {
            revision: Revision::new(number(1)),
            count: number(9),
            digest: number(17),
        };
        if totals.encode() != *bytes {
            return Err("the checksum of the totals does not fit");
        }
        Ok(totals)
    }
}

pub(super) const TOTALS_BYTES: usize = 29;
const HEAD_BYTES: usize = 21;
const FORMAT: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_of_any_bit_of_a_record_is_noticed() {
        let head = Head::new("a/key", b"some value", Revision::new(7));
        let record = head.encode(b"some value");
        for bit in 0..record.len() * 8 {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = Head::decode("a/key", &flipped).and_then(|(head, value)| head.check_value(value));
            assert!(found.is_err(), "bit {bit}");
        }
        assert!(Head::decode("another/key", &record).is_err());
    }

    #[test]
    fn a_record_cut_anywhere_is_noticed() {
        let record = Head::new("k", &[5; PART_BYTES + 3], Revision::new(7)).encode(&[5; PART_BYTES + 3]);
        assert!(Head::decode("k", &record).is_ok_and(|(head, _)| head.further_parts() == 1));
        for length in 0..record.len() {
            assert!(Head::decode("k", &record[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn totals_survive_encoding_and_nothing_else_does() {
        let totals = Totals {
            revision: Revision::new(1 << 40),
            count: 3,
            digest: u64::MAX,
        };
        assert_eq!(Totals::decode(&totals.encode()), Ok(totals));
        for bit in 0..TOTALS_BYTES * 8 {
            let mut flipped = totals.encode();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Totals::decode(&flipped).is_err(), "bit {bit}");
        }
    }
}
