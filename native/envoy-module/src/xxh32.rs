//! xxHash, 32 bits: with seed 0, the hash of partition keys.
//!
//! Source: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>, *XXH32 algorithm description*.

const PRIME_1: u32 = 0x9E37_79B1;
const PRIME_2: u32 = 0x85EB_CA77;
const PRIME_3: u32 = 0xC2B2_AE3D;
const PRIME_4: u32 = 0x27D4_EB2F;
const PRIME_5: u32 = 0x1656_67B1;

const STRIPE_BYTES: usize = 16;
const LANE_BYTES: usize = 4;

/// The xxh32 of `data` with seed 0.
pub fn xxh32(data: &[u8]) -> u32 {
    xxh32_seeded(data, 0)
}

/// The xxh32 of `data` with a seed.
pub fn xxh32_seeded(data: &[u8], seed: u32) -> u32 {
    let stripes = data.chunks_exact(STRIPE_BYTES);
    let tail = stripes.remainder();
    let mut hash = if data.len() < STRIPE_BYTES {
        seed.wrapping_add(PRIME_5)
    } else {
        let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u32.wrapping_sub(PRIME_1)]
            .map(|start| seed.wrapping_add(start));
        for stripe in stripes {
            for (lane, input) in lanes.iter_mut().zip(stripe.chunks_exact(LANE_BYTES)) {
                *lane = lane
                    .wrapping_add(word(input).wrapping_mul(PRIME_2))
                    .rotate_left(13)
                    .wrapping_mul(PRIME_1);
            }
        }
        lanes[0]
            .rotate_left(1)
            .wrapping_add(lanes[1].rotate_left(7))
            .wrapping_add(lanes[2].rotate_left(12))
            .wrapping_add(lanes[3].rotate_left(18))
    };
    // The length enters modulo 2^32, as the algorithm says.
    hash = hash.wrapping_add(data.len() as u32);
    let words = tail.chunks_exact(LANE_BYTES);
    let bytes = words.remainder();
    for input in words {
        hash = hash
            .wrapping_add(word(input).wrapping_mul(PRIME_3))
            .rotate_left(17)
            .wrapping_mul(PRIME_4);
    }
    for &byte in bytes {
        hash = hash
            .wrapping_add(u32::from(byte).wrapping_mul(PRIME_5))
            .rotate_left(11)
            .wrapping_mul(PRIME_1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 16)
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::xxh32;

    #[test]
    fn known_answers() {
        assert_eq!(xxh32(b""), 0x02CC_5D05);
        assert_eq!(xxh32(b"a"), 0x550D_7456);
        assert_eq!(xxh32(b"abc"), 0x32D1_53FF);
        assert_eq!(xxh32(b"tenant-001") & 0xFFFF, 39609);
    }

    /// Prefixes of the bytes 0, 7, 14, … around each boundary, from Python's xxhash 4.1.0.
    #[test]
    fn lengths_around_the_boundaries() {
        let data: Vec<u8> = (0..=255u8).map(|n| n.wrapping_mul(7)).collect();
        for (length, expected) in [
            (1, 0xCF65_B03E),
            (3, 0x1474_4175),
            (4, 0xC8F6_0FC5),
            (5, 0xFD68_F46F),
            (7, 0x3332_8EED),
            (8, 0x6EDE_EB34),
            (12, 0x548E_862F),
            (15, 0x8807_D6B2),
            (16, 0xB59B_7E13),
            (17, 0x20DD_4529),
            (19, 0xB5BB_4FCD),
            (20, 0x6125_86F6),
            (31, 0xDC5B_7443),
            (32, 0xD7F7_0F45),
            (33, 0xE5B6_0F32),
            (36, 0x405E_37A0),
            (47, 0x1C7D_AC3F),
            (48, 0xEB58_FAFF),
            (63, 0xC7C2_1636),
            (64, 0xB925_8763),
            (65, 0xE96C_3B91),
            (127, 0x161F_0ED2),
            (128, 0x188C_98A1),
            (255, 0xF1A7_A107),
        ] {
            assert_eq!(xxh32(&data[..length]), expected, "of {length} bytes");
        }
    }
}
