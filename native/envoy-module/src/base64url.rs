//! Base64url without padding (RFC 4648, section 5).

use crate::sha256::DIGEST_BYTES;

/// Length of a digest's text.
pub const DIGEST_CHARS: usize = 43;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The text of a digest.
pub fn digest_text(digest: &[u8; DIGEST_BYTES]) -> [u8; DIGEST_CHARS] {
    let mut text = [0; DIGEST_CHARS];
    for (chars, bytes) in text.chunks_mut(4).zip(digest.chunks(3)) {
        let mut group = 0;
        for place in 0..3 {
            group = group << 8 | u32::from(*bytes.get(place).unwrap_or(&0));
        }
        for (place, char) in chars.iter_mut().enumerate() {
            *char = ALPHABET[(group >> (18 - 6 * place) & 63) as usize];
        }
    }
    text
}

/// The bytes of a text, with or without padding; None where it is no base64url.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for chars in text.chunks(4) {
        if chars.len() == 1 {
            return None;
        }
        let mut group = 0;
        for place in 0..4 {
            let value = match chars.get(place) {
                Some(char) => ALPHABET.iter().position(|known| known == char)?,
                None => 0,
            };
            group = group << 6 | value as u32;
        }
        bytes.extend(&group.to_be_bytes()[1..chars.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg", b"f"),
            ("Zg==", b"f"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYmFy", b"foobar"),
            ("-_8", b"\xfb\xff"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["A", "Zm9vA", "Zm9v+A", "Zm 9", "Zm=9", "Zg\n"] {
            assert_eq!(decode(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_comes_back_from_its_text() {
        let mut digest = [0; DIGEST_BYTES];
        for (place, byte) in digest.iter_mut().enumerate() {
            *byte = (place * 37 + 5) as u8;
        }
        let text = digest_text(&digest);
        assert_eq!(decode(std::str::from_utf8(&text).unwrap()), Some(digest.to_vec()));
        assert_eq!(&digest_text(&[0; DIGEST_BYTES]), &[b'A'; DIGEST_CHARS]);
    }
}
