//! Makes boards for tests.

const MAGIC: &[u8; 8] = b"\x89CPB\r\n\x1a\n";

/// An empty board of so many workers and cells, of the base with this checksum.
pub fn board_bytes(workers: u64, cells: u64, base_sha256: &[u8; 32]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for word in [2, workers, cells] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(base_sha256);
    let words = 16 + cells * 3 + workers * cells * (64 + 384);
    bytes.resize(words as usize * 8, 0);
    bytes
}
