//! Whatever a file holds: it is refused, or it answers every question.

use super::*;
use crate::decide::decide;
use crate::key::PartitionKey;
use crate::support::{section_offset, Random, TableWriter};

const FLIPS: usize = 20_000;
const TRUNCATIONS: usize = 2_000;
const KEYS_PER_TABLE: usize = 8;
/// Position of SLOTS in the directory. Most of the file is slots, and one is like the other.
const SLOTS: usize = 4;

/// What [`Table::new`] does, but for the comparison of checksums: as if every change had mended it. To compute it
/// twice for each change would take all of the test's time.
fn open_as_if_sealed(file: &[u8]) -> Option<Table<&[u8]>> {
    let epoch = layout::read_header(file).ok()?;
    Table::new_behind_checksum(file, epoch).ok()
}

fn question(table: &Table<&[u8]>, random: &mut Random) {
    let known = TableWriter::sample().tenants;
    for _ in 0..KEYS_PER_TABLE {
        let number = random.below(2 * known.len());
        let key = known
            .get(number)
            .map_or_else(|| format!("t{}", random.next()).into_bytes(), |row| row.key.clone());
        let key = PartitionKey::new(&key).unwrap();
        let health = random.next();
        let decision = decide(table, &key, random.below(2) == 0, |cell| health >> (cell % 64) & 1 == 0);
        let cell = match decision {
            Ok(route) => {
                // The first look at any text would panic, if the check had let through a place outside of STRINGS.
                table.pool_name(route.pool);
                Some(route.cell)
            }
            Err(refusal) => refusal.cell,
        };
        if let Some(cell) = cell {
            assert!(usize::from(cell) < table.cell_count());
            assert!(!table.cell_id(cell).is_empty());
        }
    }
    table.key_header();
}

#[test]
fn a_flipped_byte_is_refused_or_harmless() {
    let mut random = Random(1);
    let mut file = TableWriter::sample().encode();
    let slots = section_offset(&file, SLOTS)..section_offset(&file, SLOTS + 1);
    let (mut opened, mut refused) = (0, 0);
    while opened + refused < FLIPS {
        let place = random.below(file.len());
        if slots.contains(&place) && random.below(100) != 0 {
            continue;
        }
        let before = file[place];
        file[place] ^= 1 + random.below(255) as u8;
        match open_as_if_sealed(&file) {
            Some(table) => {
                opened += 1;
                question(&table, &mut random);
            }
            None => refused += 1,
        }
        file[place] = before;
    }
    assert!(opened > 0 && refused > FLIPS / 4, "opened {opened}, refused {refused}");
}

#[test]
fn a_truncated_file_is_refused() {
    let mut random = Random(2);
    let file = TableWriter::sample().encode();
    let index = section_offset(&file, SLOTS + 3);
    for _ in 0..TRUNCATIONS {
        let length = random.below(index + 16);
        let mut cut = file[..length].to_vec();
        assert!(open_as_if_sealed(&cut).is_none(), "cut to {length} bytes");
        if length >= 40 {
            cut[32..40].copy_from_slice(&(length as u64).to_le_bytes());
            assert!(
                open_as_if_sealed(&cut).is_none(),
                "cut to {length} bytes, length mended"
            );
        }
    }
}
