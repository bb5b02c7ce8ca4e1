//! What opens as an overlay, what does not, and what it changes.

use super::*;
use crate::support::{assemble, seal, section_offset, Identity, OverlayWriter, SectionBytes, TableWriter, TenantRow};
use crate::xxh32::xxh32;

const SHARDS: usize = 1;
const TENANTS: usize = 2;
const TENANT_INDEX: usize = 3;

fn base() -> Arc<Base<Vec<u8>>> {
    Arc::new(Base::new(TableWriter::sample().encode()).unwrap())
}

fn writer() -> OverlayWriter {
    OverlayWriter::sample(&TableWriter::sample().encode())
}

fn open(file: Vec<u8>) -> Table<Vec<u8>> {
    Table::with_overlay(base(), file).unwrap()
}

fn refusal(file: Vec<u8>) -> String {
    Table::with_overlay(base(), file).map(|_| ()).unwrap_err().to_string()
}

fn refusal_of(change: impl FnOnce(&mut OverlayWriter)) -> String {
    let mut writer = writer();
    change(&mut writer);
    refusal(writer.encode())
}

fn refusal_of_sections(change: impl FnOnce(&mut Vec<SectionBytes>)) -> String {
    let mut sections = writer().sections();
    change(&mut sections);
    refusal(assemble(&writer().identity(), &sections))
}

/// The refusal of the sample with `bytes` written at `offset` of a section, its checksum mended.
fn refusal_inside(section: usize, offset: usize, bytes: &[u8]) -> String {
    let mut file = writer().encode();
    let start = section_offset(&file, section) + offset;
    file[start..start + bytes.len()].copy_from_slice(bytes);
    seal(&mut file);
    refusal(file)
}

fn cells(table: &Table<Vec<u8>>, key: &str) -> Option<Vec<u16>> {
    let tenant = table.tenant(key.as_bytes(), xxh32(key.as_bytes()))?;
    Some(tenant.shard.map_or_else(Vec::new, |shard| shard.cells().collect()))
}

#[test]
fn an_overlay_hides_what_the_base_says_of_its_keys() {
    let table = open(writer().encode());
    assert_eq!((table.epoch(), table.base().epoch()), (18, 17));
    assert_eq!(table.entry_counts(), (6, 4));
    // Its own shards, not those of the base.
    assert_eq!(cells(&table, "arrived"), Some(vec![0, 3]));
    assert_eq!(cells(&table, "pinned"), Some(vec![1]));
    let tenant = table.tenant(b"suspended", xxh32(b"suspended")).unwrap();
    assert_eq!((tenant.shard, tenant.state), (None, TenantState::Active));
    assert_eq!(cells(&table, "enterprise"), None);
    assert_eq!(cells(&table, "quarantined"), Some(vec![1]));
    assert_eq!(cells(&table, "unheard-of"), None);
}

#[test]
fn overlays_come_one_after_the_other_on_one_base() {
    let base = base();
    let mut writer = writer();
    let first = Table::with_overlay(base.clone(), writer.encode()).unwrap();
    writer.epoch = 30;
    writer.tenants.truncate(1);
    let second = Table::with_overlay(base.clone(), writer.encode()).unwrap();
    assert_eq!((first.epoch(), second.epoch()), (18, 30));
    assert_eq!(cells(&second, "pinned"), Some(vec![3, 1, 0]));
    assert_eq!(cells(&first, "pinned"), Some(vec![1]));
    assert!(std::ptr::eq(first.base(), second.base()));
}

#[test]
fn an_overlay_may_be_empty() {
    let table = open(OverlayWriter::empty(&TableWriter::sample().encode()).encode());
    assert_eq!((table.epoch(), table.entry_counts()), (18, (6, 0)));
    assert_eq!(cells(&table, "pinned"), Some(vec![3, 1, 0]));
}

#[test]
fn tenants_are_found_whatever_the_size_of_the_index() {
    for index_bits in [0, 1, 7] {
        let mut writer = writer();
        writer.index_bits = index_bits;
        writer.tenants = (0..200)
            .map(|n| TenantRow::new(&format!("t{n}"), Some(n % 2), 0, 0))
            .collect();
        let table = open(writer.encode());
        for n in 0..200 {
            assert_eq!(
                cells(&table, &format!("t{n}")),
                Some(writer.shards[n % 2].clone()),
                "t{n}"
            );
        }
        assert_eq!(cells(&table, "t200"), None);
    }
}

#[test]
fn an_overlay_stands_on_its_own_base_only() {
    assert_eq!(
        refusal_of(|writer| writer.base_epoch = 16),
        "base_epoch: expected 17, that of its base, found 16"
    );
    assert!(refusal_of(|writer| writer.base_sha256[0] ^= 1).starts_with("base_sha256: expected "));
    assert_eq!(
        refusal_of(|writer| writer.epoch = 17),
        "epoch: expected more than 17, that of its base, found 17"
    );
    assert_eq!(
        refusal_of(|writer| writer.epoch = 0),
        "epoch: expected at least 1, found 0"
    );
    let other = TableWriter {
        retry_after_s: 4,
        ..TableWriter::sample()
    };
    assert!(refusal(OverlayWriter::sample(&other.encode()).encode()).starts_with("base_sha256: expected "));
}

#[test]
fn a_base_is_no_overlay_and_an_overlay_no_base() {
    assert_eq!(
        refusal(TableWriter::sample().encode()),
        "kind: expected 2 (an overlay), found 1"
    );
    let error = Base::new(writer().encode()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "kind: expected 1 (a base), found 2");
}

#[test]
fn a_changed_overlay_is_refused() {
    let sound = writer().encode();
    for place in 0..sound.len() {
        let mut file = sound.clone();
        file[place] ^= 0x10;
        // The minor version is for later readers; the checksum holds it nevertheless.
        assert!(Table::with_overlay(base(), file).is_err(), "byte {place}");
    }
}

#[test]
fn an_overlay_has_its_four_sections_and_none_of_a_base() {
    for place in 0..4 {
        let message = refusal_of_sections(|sections| {
            sections.remove(place);
        });
        assert!(message.starts_with("directory: expected "), "{message}");
    }
    let pools = |flags| SectionBytes {
        code: 4,
        flags,
        entry_bytes: 1,
        bytes: vec![0; 64],
    };
    assert!(refusal_of_sections(|sections| sections.insert(1, pools(1))).contains("no unknown critical section"));
    let mut sections = writer().sections();
    sections.insert(1, pools(0));
    open(assemble(&writer().identity(), &sections));
}

#[test]
fn a_minor_version_may_append_fields() {
    let mut writer = writer();
    writer.appended_bytes = 8;
    let table = open(writer.encode());
    assert_eq!(cells(&table, "arrived"), Some(vec![0, 3]));
}

#[test]
fn every_index_and_state_is_in_its_range() {
    for (message, expected) in [
        (
            refusal_inside(SHARDS, 0, &[4]),
            "SHARDS[0]: expected less than 4, found 4",
        ),
        (
            refusal_inside(SHARDS, 18, &[0]),
            "SHARDS[1]: expected 1 to 8 distinct cells, then FFFF",
        ),
        (
            refusal_inside(TENANTS, 0, &[1]),
            "TENANTS[0].hash: expected its key's, ",
        ),
        (
            refusal_inside(TENANTS, 4, &[255; 4]),
            "TENANTS[0].key: expected a partition key in STRINGS",
        ),
        (
            refusal_inside(TENANTS, 8, &[2, 0, 0, 0]),
            "TENANTS[0].shard: expected less than 2 or FFFFFFFF, found 2",
        ),
        (
            refusal_inside(TENANTS, 13, &[2]),
            "TENANTS[0].pool: expected less than 2, found 2",
        ),
        (
            refusal_inside(TENANTS, 14, &[4]),
            "TENANTS[0].state: expected less than 4, found 4",
        ),
        (
            refusal_inside(TENANT_INDEX, 0, &[1]),
            "TENANT_INDEX[0]: expected 0, found 1",
        ),
        (
            refusal_inside(TENANT_INDEX, 8, &[3]),
            "TENANT_INDEX[2]: expected 4, found 3",
        ),
    ] {
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn a_key_that_is_gone_has_neither_shard_nor_pool() {
    let gone = |shard, pool| {
        refusal_of(|writer| writer.tenants = vec![TenantRow::new("gone", shard, pool, OverlayWriter::GONE)])
    };
    assert_eq!(
        gone(Some(0), 0),
        "TENANTS[0].shard: expected FFFFFFFF of a key without an entry, found 0"
    );
    assert_eq!(
        gone(None, 1),
        "TENANTS[0].pool: expected 0 of a key without an entry, found 1"
    );
}

#[test]
fn an_overlay_of_an_overlay_is_refused() {
    let base_file = writer().encode();
    let identity = Identity {
        epoch: 19,
        ..OverlayWriter::sample(&base_file).identity()
    };
    assert!(refusal(assemble(&identity, &writer().sections())).starts_with("base_sha256: expected "));
}
