//! SHA-256 by the SHA extensions of x86-64 processors.
//!
//! Source: Intel, *Intel SHA Extensions* (2013), on the layout of the two state registers and the message schedule.

use super::{Compress, BLOCK_BYTES, ROUND_CONSTANTS};
use std::arch::x86_64::*;

/// The fast path, where this processor has it.
pub(super) fn available() -> Option<Compress> {
    let found =
        is_x86_feature_detected!("sha") && is_x86_feature_detected!("ssse3") && is_x86_feature_detected!("sse4.1");
    if found {
        Some(compress)
    } else {
        None
    }
}

/// Private, and handed out only by [`available`], which has seen the processor's features.
fn compress(state: &mut [u32; 8], blocks: &[u8]) {
    // SAFETY: the features that the function needs were detected before it was handed out.
    unsafe { compress_with_extensions(state, blocks) }
}

#[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
unsafe fn compress_with_extensions(state: &mut [u32; 8], blocks: &[u8]) {
    // SAFETY: the caller has the features. All loads and stores are the unaligned ones. They stay inside of `state`
    // (16 bytes at 0 and at 16, of 32), `ROUND_CONSTANTS` (16 bytes at 16 × 0..16, of 256) and `block` (16 bytes at
    // 0, 16, 32 and 48, of the 64 that chunks_exact gives).
    unsafe {
        let big_endian = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let halves = state.as_mut_ptr().cast::<__m128i>();
        // From (a b c d) (e f g h) to (a b e f) (c d g h), as the round instruction wants it.
        let cdab = _mm_shuffle_epi32::<0xB1>(_mm_loadu_si128(halves));
        let hgfe = _mm_shuffle_epi32::<0x1B>(_mm_loadu_si128(halves.add(1)));
        let mut abef = _mm_alignr_epi8::<8>(cdab, hgfe);
        let mut cdgh = _mm_blend_epi16::<0xF0>(hgfe, cdab);
        let constants = ROUND_CONSTANTS.as_ptr().cast::<__m128i>();

        for block in blocks.chunks_exact(BLOCK_BYTES) {
            let (abef_before, cdgh_before) = (abef, cdgh);
            let input = block.as_ptr().cast::<__m128i>();
            let mut w0 = _mm_shuffle_epi8(_mm_loadu_si128(input), big_endian);
            let mut w1 = _mm_shuffle_epi8(_mm_loadu_si128(input.add(1)), big_endian);
            let mut w2 = _mm_shuffle_epi8(_mm_loadu_si128(input.add(2)), big_endian);
            let mut w3 = _mm_shuffle_epi8(_mm_loadu_si128(input.add(3)), big_endian);
            for four_rounds in 0..16 {
                let sum = _mm_add_epi32(w0, _mm_loadu_si128(constants.add(four_rounds)));
                cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
                abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32::<0x0E>(sum));
                // The four words of sixteen rounds later. The last four turns compute words that nobody reads;
                // the compiler unrolls the loop and drops them.
                let older = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                let next = _mm_sha256msg2_epu32(older, w3);
                w0 = w1;
                w1 = w2;
                w2 = w3;
                w3 = next;
            }
            abef = _mm_add_epi32(abef, abef_before);
            cdgh = _mm_add_epi32(cdgh, cdgh_before);
        }

        let feba = _mm_shuffle_epi32::<0x1B>(abef);
        let dchg = _mm_shuffle_epi32::<0xB1>(cdgh);
        _mm_storeu_si128(halves, _mm_blend_epi16::<0xF0>(feba, dchg));
        _mm_storeu_si128(halves.add(1), _mm_alignr_epi8::<8>(dchg, feba));
    }
}
