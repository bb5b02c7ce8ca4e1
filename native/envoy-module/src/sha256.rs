//! SHA-256 (FIPS 180-4): the checksum of a routing table.
//!
//! Envoy's main thread runs it over the whole file, tens of MB, so it uses the processor's own instructions where
//! there are some. The portable path gives the same digests, an order of magnitude slower.

#[cfg(target_arch = "x86_64")]
mod x86;

/// Length of a digest in bytes.
pub const DIGEST_BYTES: usize = 32;

/// Length of a block in bytes.
pub const BLOCK_BYTES: usize = 64;
/// Bytes at the end of the last block that hold the message's length in bits.
const LENGTH_BYTES: usize = 8;

const INITIAL_STATE: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

#[rustfmt::skip]
const ROUND_CONSTANTS: [u32; 64] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The SHA-256 of all `parts`, one behind the other.
pub fn sha256<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; DIGEST_BYTES] {
    digest(parts, fastest())
}

/// Updates a state with whole blocks of 64 bytes.
type Compress = fn(&mut [u32; 8], &[u8]);

fn fastest() -> Compress {
    #[cfg(target_arch = "x86_64")]
    if let Some(compress) = x86::available() {
        return compress;
    }
    compress_portable
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>, compress: Compress) -> [u8; DIGEST_BYTES] {
    let mut state = INITIAL_STATE;
    let mut pending = [0; BLOCK_BYTES];
    let mut pending_bytes = 0;
    let mut message_bytes: u64 = 0;
    for part in parts {
        message_bytes += part.len() as u64;
        let (head, rest) = part.split_at(part.len().min((BLOCK_BYTES - pending_bytes) % BLOCK_BYTES));
        pending[pending_bytes..pending_bytes + head.len()].copy_from_slice(head);
        pending_bytes += head.len();
        if pending_bytes == BLOCK_BYTES {
            compress(&mut state, &pending);
            pending_bytes = 0;
        }
        let (blocks, tail) = rest.split_at(rest.len() / BLOCK_BYTES * BLOCK_BYTES);
        compress(&mut state, blocks);
        pending[pending_bytes..pending_bytes + tail.len()].copy_from_slice(tail);
        pending_bytes += tail.len();
    }

    pending[pending_bytes] = 0x80;
    pending[pending_bytes + 1..].fill(0);
    if pending_bytes + 1 > BLOCK_BYTES - LENGTH_BYTES {
        compress(&mut state, &pending);
        pending.fill(0);
    }
    pending[BLOCK_BYTES - LENGTH_BYTES..].copy_from_slice(&(message_bytes * 8).to_be_bytes());
    compress(&mut state, &pending);

    let mut digest = [0; DIGEST_BYTES];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn compress_portable(state: &mut [u32; 8], blocks: &[u8]) {
    for block in blocks.chunks_exact(BLOCK_BYTES) {
        let mut schedule = [0u32; 64];
        for (word, bytes) in schedule.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for t in 16..64 {
            let (w2, w15) = (schedule[t - 2], schedule[t - 15]);
            let sigma0 = w15.rotate_right(7) ^ w15.rotate_right(18) ^ (w15 >> 3);
            let sigma1 = w2.rotate_right(17) ^ w2.rotate_right(19) ^ (w2 >> 10);
            schedule[t] = sigma1
                .wrapping_add(schedule[t - 7])
                .wrapping_add(sigma0)
                .wrapping_add(schedule[t - 16]);
        }
        // The eight working variables have the names of the standard.
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
        for (constant, word) in ROUND_CONSTANTS.iter().zip(schedule) {
            let sum1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let t1 = h
                .wrapping_add(sum1)
                .wrapping_add((e & f) ^ (!e & g))
                .wrapping_add(*constant)
                .wrapping_add(word);
            let sum0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let t2 = sum0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d.wrapping_add(t1);
            d = c;
            c = b;
            b = a;
            a = t1.wrapping_add(t2);
        }
        for (word, change) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: [u8; DIGEST_BYTES]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn paths() -> Vec<(&'static str, Compress)> {
        vec![("portable", compress_portable), ("fastest", fastest())]
    }

    /// FIPS 180-4 and NIST's CAVP examples.
    #[test]
    fn known_answers() {
        let million = vec![b'a'; 1_000_000];
        let cases: [(&[u8], &str); 6] = [
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            ),
            (b"\xd3", "28969cdfa74a12c82f3bad960b0b000aca2ac329deea5c2328ebc6f2ba9802c1"),
            (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ];
        for (name, compress) in paths() {
            for (message, expected) in cases {
                assert_eq!(
                    hex(digest([message], compress)),
                    expected,
                    "{name}, {} bytes",
                    message.len()
                );
            }
        }
    }

    #[test]
    fn both_paths_agree_however_the_message_is_cut() {
        let data: Vec<u8> = (0..1_000u32).map(|n| (n * n / 8) as u8).collect();
        for length in (0..200).chain([255, 256, 257, 999]) {
            let message = &data[..length];
            let whole = digest([message], compress_portable);
            for cut in [0, 1, 31, 63, 64, 65, 96, 128, 150] {
                let (first, second) = message.split_at(cut.min(length));
                let (middle, last) = second.split_at(second.len() / 3);
                for (name, compress) in paths() {
                    let cut_up = digest([first, middle, &[], last], compress);
                    assert_eq!(cut_up, whole, "{name}, {length} bytes cut at {cut}");
                }
            }
        }
    }
}
