//! Whatever a file holds: it is refused, or it answers every question.

use super::header::{read_header, FileKind};
use super::*;
use crate::decide::{decide, Subject};
use crate::key::{KeyValues, PartitionKey, Seals};
use crate::support::{section_offset, OverlayWriter, Random, Source, TableWriter, Town};

const FLIPS: usize = 20_000;
const TRUNCATIONS: usize = 2_000;
const KEYS_PER_TABLE: usize = 8;
/// Position of SLOTS in the directory of a base. Most of the file is slots, and one is like the other.
const SLOTS: usize = 4;
const LAST_SECTION_OF_A_BASE: usize = 8;
const LAST_SECTION_OF_AN_OVERLAY: usize = 3;

type Bytes<'a> = &'a [u8];

/// A base in which all that a fleet may say is said.
fn sample() -> Vec<u8> {
    let mut writer = TableWriter::sample();
    writer.key_sources = vec![
        Source::header("x-org"),
        Source::subdomain("example.com"),
        Source::path("/t/"),
    ];
    writer.missing_key = 1;
    writer.default_shard = Some(3);
    writer.pools.push(("assigned", None));
    writer.encode()
}

/// What [`Base::new`] does, but for the comparison of checksums: as if every change had mended it. To compute it
/// twice for each change would take all of the test's time.
fn base_as_if_sealed(file: Bytes) -> Option<Base<Bytes>> {
    let header = read_header(file, FileKind::Base).ok()?;
    Base::new_behind_checksum(file, &header).ok()
}

/// What [`Table::with_overlay`] does, but for the comparison of checksums.
fn overlaid_as_if_sealed<'a>(base: &Arc<Base<Bytes<'a>>>, file: Bytes<'a>) -> Option<Table<Bytes<'a>>> {
    let header = read_header(file, FileKind::Overlay).ok()?;
    let overlay = Overlay::new_behind_checksum(file, &header, base).ok()?;
    Some(Table {
        base: base.clone(),
        overlay: Some(overlay),
    })
}

fn question(table: &Table<Bytes>, random: &mut Random) {
    let known = TableWriter::sample().tenants;
    for _ in 0..KEYS_PER_TABLE {
        let number = random.below(2 * known.len() + 2);
        let key = known
            .get(number)
            .map_or_else(|| format!("t{}", random.next()).into_bytes(), |row| row.key.clone());
        let key = if number == 2 * known.len() {
            b"arrived".to_vec()
        } else {
            key
        };
        let subject = Subject::Key(PartitionKey::new(&key).unwrap());
        ask(table, &subject, random);
    }
    let nothing = KeyValues::new(table.base().key_sources());
    if let Ok(subject) = Subject::of(table.base(), &nothing, false, Seals::NONE, || b"192.0.2.1:443") {
        ask(table, &subject, random);
    }
}

fn ask(table: &Table<Bytes>, subject: &Subject, random: &mut Random) {
    let health = random.next();
    let mut town = Town {
        down: (0..u16::MAX)
            .filter(|cell| health >> (cell % 64) & 1 == 1)
            .take(256)
            .collect(),
        turn: random.next(),
        chance: random.below(10_000) as u16,
        ..Town::default()
    };
    let decision = decide(table, subject, random.below(2) == 0, &mut town);
    let base = table.base();
    let cell = match decision {
        Ok(route) => {
            // The first look at any text would panic, if the check had let through a place outside of STRINGS.
            route.pool.map(|pool| base.pool_name(pool));
            Some(route.cell)
        }
        Err(refusal) => refusal.cell,
    };
    if let Some(cell) = cell {
        assert!(usize::from(cell) < base.cell_count());
        assert!(!base.cell_id(cell).is_empty());
    }
}

#[test]
fn a_flipped_byte_of_a_base_is_refused_or_harmless() {
    let mut random = Random(1);
    let mut file = sample();
    let slots = section_offset(&file, SLOTS)..section_offset(&file, SLOTS + 1);
    let (mut opened, mut refused) = (0, 0);
    while opened + refused < FLIPS {
        let place = random.below(file.len());
        if slots.contains(&place) && random.below(100) != 0 {
            continue;
        }
        let before = file[place];
        file[place] ^= 1 + random.below(255) as u8;
        match base_as_if_sealed(&file) {
            Some(base) => {
                opened += 1;
                question(&Table::new(Arc::new(base)), &mut random);
            }
            None => refused += 1,
        }
        file[place] = before;
    }
    assert!(opened > 0 && refused > FLIPS / 4, "opened {opened}, refused {refused}");
}

#[test]
fn a_truncated_base_is_refused() {
    let mut random = Random(2);
    let file = sample();
    let last = section_offset(&file, LAST_SECTION_OF_A_BASE);
    for _ in 0..TRUNCATIONS {
        let mut cut = file[..random.below(last + 16)].to_vec();
        assert!(base_as_if_sealed(&cut).is_none(), "cut to {} bytes", cut.len());
        mend_length(&mut cut);
        assert!(
            base_as_if_sealed(&cut).is_none(),
            "cut to {} bytes, length mended",
            cut.len()
        );
    }
}

#[test]
fn every_flipped_byte_of_an_overlay_is_refused_or_harmless() {
    let mut random = Random(3);
    let base_file = sample();
    let base = Arc::new(base_as_if_sealed(&base_file).unwrap());
    let sound = OverlayWriter::sample(&base_file).encode();
    assert!(overlaid_as_if_sealed(&base, &sound).is_some());
    let (mut opened, mut refused) = (0, 0);
    for place in 0..sound.len() {
        // Each value of each byte: there are few.
        for change in 1..=255 {
            let mut file = sound.clone();
            file[place] ^= change;
            match overlaid_as_if_sealed(&base, &file) {
                Some(table) => {
                    opened += 1;
                    question(&table, &mut random);
                }
                None => refused += 1,
            }
        }
    }
    assert!(opened > 0 && refused > opened / 4, "opened {opened}, refused {refused}");
}

#[test]
fn many_flipped_bytes_of_an_overlay_are_refused_or_harmless() {
    let mut random = Random(4);
    let base_file = sample();
    let base = Arc::new(base_as_if_sealed(&base_file).unwrap());
    let sound = OverlayWriter::sample(&base_file).encode();
    for _ in 0..FLIPS {
        let mut file = sound.clone();
        // Behind the directory, where one change may make up for another.
        let sections = section_offset(&file, 0);
        for _ in 0..2 + random.below(4) {
            let place = sections + random.below(file.len() - sections);
            file[place] = [0, 1, 255, random.next() as u8][random.below(4)];
        }
        if let Some(table) = overlaid_as_if_sealed(&base, &file) {
            question(&table, &mut random);
        }
    }
}

#[test]
fn every_truncated_overlay_is_refused() {
    let base_file = sample();
    let base = Arc::new(base_as_if_sealed(&base_file).unwrap());
    let sound = OverlayWriter::sample(&base_file).encode();
    let index = section_offset(&sound, LAST_SECTION_OF_AN_OVERLAY);
    for length in 0..index + 12 {
        let mut cut = sound[..length].to_vec();
        assert!(overlaid_as_if_sealed(&base, &cut).is_none(), "cut to {length} bytes");
        mend_length(&mut cut);
        assert!(
            overlaid_as_if_sealed(&base, &cut).is_none(),
            "cut to {length} bytes, length mended"
        );
    }
}

/// Makes the header say how long the file is, where it is long enough to say so.
fn mend_length(file: &mut [u8]) {
    let length = file.len() as u64;
    if let Some(field) = file.get_mut(32..40) {
        field.copy_from_slice(&length.to_le_bytes());
    }
}
