//! HMAC-SHA256 (RFC 2104): what signs a routing cookie.

use crate::sha256::{sha256, BLOCK_BYTES, DIGEST_BYTES};

/// Longest key: one block. RFC 2104 would hash a longer one first.
pub const MAX_KEY_BYTES: usize = BLOCK_BYTES;

/// A key, padded once.
#[derive(Clone)]
pub struct HmacKey {
    inner: [u8; BLOCK_BYTES],
    outer: [u8; BLOCK_BYTES],
}

impl HmacKey {
    /// The key of a secret; None where it is longer than [`MAX_KEY_BYTES`].
    pub fn new(secret: &[u8]) -> Option<Self> {
        let mut key = Self {
            inner: [0x36; BLOCK_BYTES],
            outer: [0x5c; BLOCK_BYTES],
        };
        if secret.len() > MAX_KEY_BYTES {
            return None;
        }
        for ((inner, outer), byte) in key.inner.iter_mut().zip(&mut key.outer).zip(secret) {
            *inner ^= byte;
            *outer ^= byte;
        }
        Some(key)
    }

    /// The MAC of all `parts`, one behind the other.
    pub fn mac<const N: usize>(&self, parts: [&[u8]; N]) -> [u8; DIGEST_BYTES] {
        let inner = sha256(std::iter::once(&self.inner[..]).chain(parts));
        sha256([&self.outer[..], &inner])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u8; DIGEST_BYTES]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// RFC 4231, test cases 1, 2 and 4.
    #[test]
    fn known_answers() {
        let counting: Vec<u8> = (1..=25).collect();
        for (secret, message, expected) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                &counting,
                &[0xcd; 50],
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            ),
        ] {
            let (head, tail) = message.split_at(message.len() / 2);
            assert_eq!(hex(HmacKey::new(secret).unwrap().mac([head, tail])), expected);
        }
    }

    #[test]
    fn a_secret_of_more_than_a_block_is_none() {
        assert!(HmacKey::new(&[1; MAX_KEY_BYTES]).is_some());
        assert!(HmacKey::new(&[1; MAX_KEY_BYTES + 1]).is_none());
    }
}
