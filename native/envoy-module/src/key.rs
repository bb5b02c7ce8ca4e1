//! The partition key: what a request says about whom it is for.

use crate::problem::{Code, Refusal};

/// Longest partition key, in bytes.
pub const MAX_KEY_BYTES: usize = 128;

/// Whether these bytes are a key. Nothing is decoded first: `%41` is not `A`.
pub fn is_key(value: &[u8]) -> bool {
    let first_is_plain = match value.first() {
        Some(first) => first.is_ascii_alphanumeric(),
        None => false,
    };
    let rest_is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:@|+=~-".contains(byte);
    first_is_plain && value.len() <= MAX_KEY_BYTES && value.iter().all(rest_is_allowed)
}

/// A valid key, copied out of the request, so that the request's headers may change.
#[derive(Clone, Copy)]
pub struct PartitionKey {
    bytes: [u8; MAX_KEY_BYTES],
    length: usize,
}

impl PartitionKey {
    /// The key, or None where these bytes are none.
    pub fn new(value: &[u8]) -> Option<Self> {
        if !is_key(value) {
            return None;
        }
        let mut bytes = [0; MAX_KEY_BYTES];
        bytes[..value.len()].copy_from_slice(value);
        Some(Self {
            bytes,
            length: value.len(),
        })
    }

    /// The key's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What a scan over a request's headers saw of the key header.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyValues<'a> {
    count: usize,
    first: &'a [u8],
}

impl<'a> KeyValues<'a> {
    /// Adds a value of the key header.
    pub fn add(&mut self, value: &'a [u8]) {
        if self.count == 0 {
            self.first = value;
        }
        self.count += 1;
    }

    /// Step 1 of the decision: the one valid key, or the refusal.
    pub fn key(self) -> Result<PartitionKey, Refusal> {
        match (self.count, self.first) {
            (0, _) | (1, []) => Err(Code::MissingKey.into()),
            (1, value) => PartitionKey::new(value).ok_or_else(|| Code::InvalidKey.into()),
            _ => Err(Code::AmbiguousKey.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(values: &[&[u8]]) -> Option<Code> {
        let mut seen = KeyValues::default();
        for value in values {
            seen.add(value);
        }
        seen.key().err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_key_has_1_to_128_bytes_of_the_alphabet() {
        for key in [
            &b"a"[..],
            b"0",
            b"tenant-001",
            b"urn:acct:7+8=15~.@_",
            b"auth0|5f7c",
            &[b'x'; 128],
        ] {
            assert!(is_key(key), "{key:?}");
        }
        for other in [
            &b""[..],
            b"-a",
            b".a",
            b"a b",
            b"a/b",
            b"%41",
            b"a,b",
            b"a\0",
            b"\xc3\xbc",
            &[b'x'; 129],
        ] {
            assert!(!is_key(other), "{other:?}");
        }
    }

    #[test]
    fn every_byte_is_either_in_the_alphabet_or_not() {
        let allowed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@|+=~-";
        for byte in 0..=255 {
            assert_eq!(is_key(&[b'a', byte]), allowed.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn one_value_is_needed_and_only_one() {
        assert_eq!(code_of(&[]), Some(Code::MissingKey));
        assert_eq!(code_of(&[b""]), Some(Code::MissingKey));
        assert_eq!(code_of(&[b"a", b"a"]), Some(Code::AmbiguousKey));
        assert_eq!(code_of(&[b"", b""]), Some(Code::AmbiguousKey));
        assert_eq!(code_of(&[b"%41"]), Some(Code::InvalidKey));
        assert_eq!(code_of(&[b"a"]), None);
    }

    #[test]
    fn a_key_keeps_its_bytes() {
        assert_eq!(PartitionKey::new(b"Tenant.1").unwrap().as_bytes(), b"Tenant.1");
    }
}
