//! What a fleet may say about all requests, and what that needs of the other sections.

use super::*;
use crate::support::{Source, TableWriter};

fn open(writer: &TableWriter) -> Base<Vec<u8>> {
    Base::new(writer.encode()).unwrap()
}

fn refusal(writer: &TableWriter) -> String {
    Base::new(writer.encode()).map(|_| ()).unwrap_err().to_string()
}

fn refusal_of(change: impl FnOnce(&mut TableWriter)) -> String {
    let mut writer = TableWriter::sample();
    change(&mut writer);
    refusal(&writer)
}

#[test]
fn a_pool_may_have_no_slots() {
    let mut writer = TableWriter::sample();
    writer.pools[0].1 = None;
    let base = open(&writer);
    assert_eq!(base.shard_of_slot(0, 5), None);
    assert_eq!(base.shard_of_slot(1, 5).unwrap().first(), 2);
}

#[test]
fn a_default_shard_is_there_exactly_where_it_is_needed() {
    for (unknown_tenant, missing_key) in [(2, 0), (2, 1), (0, 1)] {
        let with = |shard: Option<u32>| TableWriter {
            unknown_tenant,
            missing_key,
            default_shard: shard,
            ..TableWriter::sample()
        };
        let base = open(&with(Some(3)));
        assert_eq!(base.policy().default_shard.unwrap().first(), 3);
        let refused = "FLEET.default_shard: expected less than 5, found ";
        assert_eq!(refusal(&with(None)), format!("{refused}4294967295"));
        assert_eq!(refusal(&with(Some(5))), format!("{refused}5"));
    }
    assert_eq!(
        refusal_of(|writer| writer.default_shard = Some(0)),
        "FLEET.default_shard: expected FFFFFFFF, as nothing needs one, found 0"
    );
}

#[test]
fn the_default_pool_has_slots_where_they_are_needed() {
    let refused = "FLEET.default_pool: expected a pool with slots, which unknown tenants or missing keys need, found 1";
    for (unknown_tenant, missing_key) in [(0, 0), (1, 2)] {
        let message = refusal_of(|writer| {
            writer.pools[1].1 = None;
            writer.unknown_tenant = unknown_tenant;
            writer.missing_key = missing_key;
        });
        assert_eq!(message, refused);
    }
    let mut writer = TableWriter::sample();
    writer.pools[1].1 = None;
    writer.unknown_tenant = 1;
    open(&writer);
}

#[test]
fn key_sources_are_known_and_well_formed() {
    for (source, reason) in [
        (Source(0, "x"), "kind: expected 1 to 5, found 0"),
        (Source(6, "x"), "kind: expected 1 to 5, found 6"),
        (Source::claim(""), "name: expected a claim's name, found \"\""),
        (Source::claim("a..b"), "name: expected a claim's name, "),
        (Source::claim("a/b"), "name: expected a claim's name, "),
        (Source::cookie("a b"), "name: expected a cookie's name, "),
        (Source::cookie("a=b"), "name: expected a cookie's name, "),
        (
            Source::header(""),
            "name: expected a header's name in lower case, found \"\"",
        ),
        (
            Source::header("X-Org"),
            "name: expected a header's name in lower case, ",
        ),
        (Source::header("-x"), "name: expected a header's name in lower case, "),
        (
            Source::header(":path"),
            "name: expected a header's name in lower case, ",
        ),
        (Source::subdomain(""), "name: expected a domain in lower case, "),
        (
            Source::subdomain("Example.com"),
            "name: expected a domain in lower case, ",
        ),
        (
            Source::subdomain("example.com."),
            "name: expected a domain in lower case, ",
        ),
        (Source::path(""), "name: expected a path from / to /, "),
        (Source::path("/t"), "name: expected a path from / to /, "),
        (Source::path("t/"), "name: expected a path from / to /, "),
        (Source::path("/t?/"), "name: expected a path from / to /, "),
    ] {
        let message = refusal_of(|writer| writer.key_sources.push(source.clone()));
        assert!(message.starts_with(&format!("KEY_SOURCES[1].{reason}")), "{message}");
    }
    for count in [0, 9] {
        let message = refusal_of(|writer| writer.key_sources = vec![Source::path("/"); count]);
        assert_eq!(message, format!("KEY_SOURCES: expected 1 to 8 entries, found {count}"));
    }
    let mut writer = TableWriter::sample();
    writer.key_sources = vec![Source::path("/"); 8];
    open(&writer);
}
