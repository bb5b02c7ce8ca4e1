//! What opens as a table, and what does not.

use super::*;
use crate::support::{assemble, seal, section_offset, Identity, SectionBytes, Source, TableWriter, TenantRow};
use crate::xxh32::xxh32;

const FLEET: usize = 1;
const CELLS: usize = 2;
const POOLS: usize = 3;
const SLOTS: usize = 4;
const SHARDS: usize = 5;
const TENANTS: usize = 6;
const TENANT_INDEX: usize = 7;
const KEY_SOURCES: usize = 8;

fn open(file: Vec<u8>) -> Table<Vec<u8>> {
    Table::new(Arc::new(Base::new(file).unwrap()))
}

fn refusal(file: Vec<u8>) -> String {
    Base::new(file).map(|_| ()).unwrap_err().to_string()
}

/// The cells of the shard that a key is assigned to.
fn assigned(table: &Table<Vec<u8>>, key: &[u8]) -> Vec<u16> {
    let tenant = table.tenant(key, xxh32(key)).expect("an entry");
    tenant.shard.expect("an assignment").cells().collect()
}

/// The refusal of the sample with `bytes` written at `offset`, its checksum mended.
fn refusal_of_patch(offset: usize, bytes: &[u8]) -> String {
    let mut file = TableWriter::sample().encode();
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
    seal(&mut file);
    refusal(file)
}

/// The refusal of the sample with `bytes` written at `offset` of a section.
fn refusal_inside(section: usize, offset: usize, bytes: &[u8]) -> String {
    let file = TableWriter::sample().encode();
    refusal_of_patch(section_offset(&file, section) + offset, bytes)
}

fn refusal_of_sections(change: impl FnOnce(&mut Vec<SectionBytes>)) -> String {
    let mut sections = TableWriter::sample().sections();
    change(&mut sections);
    refusal(assemble(&Identity::base(17), &sections))
}

#[test]
fn a_table_gives_what_was_written() {
    let mut writer = TableWriter::sample();
    writer.key_sources = vec![
        Source::header("x-org"),
        Source::subdomain("example.com"),
        Source::path("/t/"),
    ];
    let table = open(writer.encode());
    assert_eq!((table.epoch(), table.entry_counts()), (17, (6, 0)));
    let base = table.base();
    let FleetPolicy {
        default_pool,
        unknown_tenant,
        missing_key,
        default_shard,
        retry_after_s,
        policy,
        fail_open,
    } = *base.policy();
    assert_eq!((default_pool, retry_after_s, default_shard), (1, 3, None));
    assert_eq!((policy, fail_open), (0, false));
    assert_eq!(
        (unknown_tenant, missing_key),
        (UnknownTenant::Slot, MissingKey::Refused)
    );
    let sources: Vec<_> = base.key_sources().iter().map(|source| source.kind).collect();
    assert_eq!(
        sources,
        [KeySourceKind::Header, KeySourceKind::Subdomain, KeySourceKind::Path]
    );
    assert_eq!(base.key_sources()[1].name, b"example.com");
    assert_eq!(base.cell_count(), 4);
    assert_eq!(base.cell_id(3), "cell-4");
    assert_eq!(base.cell_status(2), CellStatus::Maintenance);
    assert_eq!(base.pool_name(0), "enterprise");
    let cells_of_slot = |pool| base.shard_of_slot(pool, 5).unwrap().cells().collect::<Vec<_>>();
    assert_eq!(cells_of_slot(0), [3, 1, 0]);
    assert_eq!(cells_of_slot(1), [2, 0]);
}

#[test]
fn tenants_are_found_whatever_the_size_of_the_index() {
    for index_bits in [0, 1, 5, 16] {
        let mut writer = TableWriter {
            index_bits,
            ..TableWriter::sample()
        };
        writer.tenants = (0..500)
            .map(|n| TenantRow::new(&format!("t{n}"), Some(n % 5), 0, 0))
            .collect();
        let table = open(writer.encode());
        for (n, tenant) in writer.tenants.iter().enumerate() {
            let found = table.tenant(&tenant.key, xxh32(&tenant.key)).unwrap();
            assert_eq!((found.pool, found.state), (0, TenantState::Active));
            assert_eq!(assigned(&table, &tenant.key), writer.shards[n % 5]);
        }
        for n in 500..1_000 {
            let key = format!("t{n}").into_bytes();
            assert_eq!(table.tenant(&key, xxh32(&key)), None);
        }
    }
}

#[test]
fn a_table_without_tenants_opens() {
    let table = open(
        TableWriter {
            tenants: vec![],
            index_bits: 0,
            ..TableWriter::sample()
        }
        .encode(),
    );
    assert_eq!(table.tenant(b"pinned", xxh32(b"pinned")), None);
}

#[test]
fn a_minor_version_may_append_fields_and_sections() {
    let writer = TableWriter {
        appended_bytes: 16,
        ..TableWriter::sample()
    };
    let mut sections = writer.sections();
    sections.push(SectionBytes {
        code: 99,
        flags: 0,
        entry_bytes: 3,
        bytes: vec![7; 9],
    });
    let mut file = assemble(&Identity::base(17), &sections);
    file[10] = 5;
    seal(&mut file);
    let table = open(file);
    assert_eq!(table.base().cell_id(3), "cell-4");
    assert_eq!(table.base().key_sources()[0].name, b"x-tenant-id");
    assert_eq!(assigned(&table, b"pinned"), [3, 1, 0]);
}

#[test]
fn a_header_is_checked_field_by_field() {
    assert_eq!(refusal(vec![0; 127]), "file: expected at least 128 bytes, found 127");
    assert!(refusal_of_patch(0, b"\x7fELF").starts_with("magic: expected [89, 43, "));
    assert_eq!(refusal_of_patch(8, &[2]), "major: expected 1, found 2");
    assert_eq!(refusal_of_patch(12, &[2]), "kind: expected 1 (a base), found 2");
    assert_eq!(refusal_of_patch(16, &[0]), "epoch: expected at least 1, found 0");
    assert_eq!(refusal_of_patch(24, &[9]), "base_epoch: expected 0 in a base, found 9");
    assert!(refusal_of_patch(39, &[1]).starts_with("file_length: expected 72057594"));
    assert_eq!(
        refusal_of_patch(40, &[65]),
        "section_count: expected at most 64, found 65"
    );
    assert!(refusal_of_patch(48, &[1]).starts_with("base_sha256: expected zeros in a base, found 0100"));
    let mut changed = TableWriter::sample().encode();
    *changed.last_mut().unwrap() ^= 1;
    assert!(refusal(changed).starts_with("sha256: expected "));
}

#[test]
fn the_directory_is_sorted_inside_the_file_and_consistent() {
    let patch = |place: usize, offset: usize, bytes: &[u8]| refusal_of_patch(128 + place * 32 + offset, bytes);
    assert_eq!(
        patch(FLEET, 0, &[1]),
        "directory: expected a section type above 1, found 1"
    );
    assert!(patch(FLEET, 8, &[1]).starts_with("FLEET: expected an offset that is a multiple of 64, found "));
    assert!(patch(FLEET, 8, &[0; 8]).starts_with("FLEET: expected a place in "));
    assert!(patch(FLEET, 8, &[0xC0, 255, 255, 255, 255, 255, 255, 255]).contains("found 64 bytes at 184467440737"));
    assert_eq!(
        patch(FLEET, 16, &[65]),
        "FLEET: expected a length of 1 entries of 64 bytes, found 65"
    );
    let twice = refusal_of_sections(|sections| sections[FLEET].bytes.extend([0; 64]));
    assert_eq!(twice, "FLEET: expected 1 entry, found 2");
    assert!(patch(TENANT_INDEX, 23, &[255]).starts_with("TENANT_INDEX: expected a length of "));
    assert!(refusal_of_sections(|sections| sections.truncate(9)).contains("expected POLICIES, found no such"));
    assert!(refusal_of_sections(|sections| {
        sections.push(SectionBytes {
            code: 99,
            flags: 1,
            entry_bytes: 1,
            bytes: vec![7],
        });
    })
    .starts_with("section 99: expected no unknown critical section"));
    assert!(refusal_of_sections(|sections| sections[CELLS].entry_bytes = 32)
        .starts_with("CELLS: expected entries of at least 64 bytes, found 32"));
    assert!(refusal_of_sections(|sections| sections[SLOTS].entry_bytes = 8)
        .starts_with("SLOTS: expected entries of exactly 4 bytes, found 8"));
    let mut file = TableWriter::sample().encode();
    file.truncate(256);
    file[32..40].copy_from_slice(&256u64.to_le_bytes());
    seal(&mut file);
    assert!(refusal(file).starts_with("directory: expected 10 sections in 448 bytes"));
}

#[test]
fn every_reference_and_code_is_in_its_range() {
    for (message, expected) in [
        (
            refusal_inside(FLEET, 0, &[255; 4]),
            "FLEET.name: expected text inside the ",
        ),
        (
            refusal_inside(KEY_SOURCES, 4, &[255; 4]),
            "KEY_SOURCES[0].name: expected text inside the ",
        ),
        (
            refusal_inside(FLEET, 16, &[2]),
            "FLEET.default_pool: expected less than 2, found 2",
        ),
        (
            refusal_inside(FLEET, 18, &[3]),
            "FLEET.unknown_tenant: expected 0 to 2, found 3",
        ),
        (
            refusal_inside(FLEET, 19, &[3]),
            "FLEET.missing_key: expected 0 to 2, found 3",
        ),
        (
            refusal_inside(CELLS, 0, &[255; 4]),
            "CELLS[0].id: expected text inside the ",
        ),
        (
            refusal_inside(CELLS, 4, &[0; 4]),
            "CELLS[0].id: expected 1 to 63 lower-case letters",
        ),
        (
            refusal_inside(CELLS, 64 + 28, &[255; 4]),
            "CELLS[1].jurisdiction: expected text inside the ",
        ),
        (
            refusal_inside(CELLS, 32, &[0; 2]),
            "CELLS[0].port: expected 1 to 65535, found 0",
        ),
        (
            refusal_inside(CELLS, 34, &[6]),
            "CELLS[0].status: expected less than 6, found 6",
        ),
        (
            refusal_inside(POOLS, 4, &[255; 4]),
            "POOLS[0].name: expected text inside the ",
        ),
        (
            refusal_inside(POOLS, 40, &[1]),
            "POOLS[1].first_slot: expected 65536 of the 131072 SLOTS",
        ),
        (
            refusal_inside(SLOTS, 8, &[5]),
            "SLOTS[2]: expected less than 5, found 5",
        ),
        (
            refusal_inside(SHARDS, 0, &[4]),
            "SHARDS[0]: expected less than 4, found 4",
        ),
        (
            refusal_inside(SHARDS, 0, &[255; 2]),
            "SHARDS[0]: expected 1 to 8 distinct cells, then FFFF",
        ),
        (
            refusal_inside(SHARDS, 48, &[255; 2]),
            "SHARDS[3]: expected 1 to 8 distinct cells, then FFFF",
        ),
        (
            refusal_inside(SHARDS, 48, &[0]),
            "SHARDS[3]: expected 1 to 8 distinct cells, then FFFF",
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
            refusal_inside(TENANTS, 8, &[5, 0, 0, 0]),
            "TENANTS[0].shard: expected less than 5 or FFFFFFFF, found 5",
        ),
        (
            refusal_inside(TENANTS, 12, &[0]),
            "TENANTS[0].key: expected a partition key in STRINGS",
        ),
        (
            refusal_inside(TENANTS, 12, &[129]),
            "TENANTS[0].key: expected a partition key in STRINGS",
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
            refusal_inside(TENANTS, 14, &[255]),
            "TENANTS[0].state: expected less than 4, found 255",
        ),
        (
            refusal_inside(TENANT_INDEX, 0, &[1]),
            "TENANT_INDEX[0]: expected 0, found 1",
        ),
        (refusal_inside(TENANT_INDEX, 8, &[9]), "TENANT_INDEX[2]: expected "),
        (
            refusal_inside(TENANT_INDEX, 16, &[7]),
            "TENANT_INDEX[4]: expected 6, found 7",
        ),
    ] {
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn the_index_has_a_power_of_two_of_buckets() {
    let cut = |bytes: usize| refusal_of_sections(|sections| sections[TENANT_INDEX].bytes.truncate(bytes));
    for bytes in [0, 4, 16] {
        assert!(
            cut(bytes).starts_with("TENANT_INDEX: expected 2^b + 1 entries"),
            "{bytes}"
        );
    }
}

#[test]
fn cells_and_tenants_are_sorted_and_stand_once() {
    let mut writer = TableWriter::sample();
    writer.cells.swap(1, 2);
    assert!(refusal(writer.encode()).starts_with("CELLS[2].id: expected an id behind \"cell-3\", found \"cell-2\""));
    writer = TableWriter::sample();
    writer.tenants.push(writer.tenants[0].clone());
    assert!(refusal(writer.encode()).contains("expected entries sorted by (hash, key)"));
    writer = TableWriter {
        index_bits: 0,
        ..TableWriter::sample()
    };
    let mut sections = writer.sections();
    sections[TENANTS].bytes.rotate_left(16);
    assert!(refusal(assemble(&Identity::base(17), &sections)).contains("expected entries sorted by (hash, key)"));
}

#[test]
fn text_is_utf_8() {
    let writer = TableWriter::sample();
    let mut sections = writer.sections();
    let key_bytes: usize = writer.tenants.iter().map(|tenant| tenant.key.len()).sum();
    // The fleet's name is the first text behind the keys.
    sections[0].bytes[key_bytes] = 0xFF;
    assert!(refusal(assemble(&Identity::base(17), &sections))
        .starts_with("FLEET.name: expected UTF-8, found invalid utf-8"));
}

#[test]
fn pools_and_cells_have_their_limits() {
    let mut writer = TableWriter {
        pools: vec![],
        ..TableWriter::sample()
    };
    assert_eq!(refusal(writer.encode()), "POOLS: expected 1 to 255 entries, found 0");
    writer = TableWriter {
        cells: vec![],
        ..TableWriter::sample()
    };
    assert_eq!(refusal(writer.encode()), "CELLS: expected 1 to 65534 entries, found 0");
}
