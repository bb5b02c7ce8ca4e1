//! The golden vectors that every implementation of the routing table must pass (`tests/conformance/vectors`).

#[path = "support/json.rs"]
mod json;
mod support;

use cellplane_envoy::decide::{decide, Reason, Route};
use cellplane_envoy::key::KeyValues;
use cellplane_envoy::problem::Refusal;
use cellplane_envoy::table::Table;
use cellplane_envoy::xxh32::xxh32;
use json::Json;
use std::path::{Path, PathBuf};

type FileTable = Table<Vec<u8>>;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/vectors")
}

/// All vector files with this member, with their names.
fn files_with(member: &str) -> Vec<(String, Json)> {
    let folder = std::fs::read_dir(vectors()).expect("the folder of the conformance vectors");
    let paths = folder.map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, Json)> = paths
        .filter(|path| path.extension().map_or(false, |extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), Json::parse(&text))
        })
        .filter(|(_, file)| file.get(member).is_some())
        .collect();
    files.sort_by(|(first, _), (second, _)| first.cmp(second));
    assert!(
        !files.is_empty(),
        "no vectors with {member:?}: write them with `make vectors`"
    );
    files
}

fn read_table(name: &Json) -> Vec<u8> {
    std::fs::read(vectors().join(name.text())).unwrap()
}

fn decision(table: &FileTable, case: &Json) -> Result<Route, Refusal> {
    let values: Vec<Vec<u8>> = case.member("key_values_hex").list().iter().map(Json::hex).collect();
    let mut seen = KeyValues::default();
    values.iter().for_each(|value| seen.add(value));
    let down: Vec<&str> = case.member("down").list().iter().map(Json::text).collect();
    let key = seen.key()?;
    decide(table, &key, case.member("writes").bool(), |cell| {
        !down.contains(&table.cell_id(cell))
    })
}

/// A decision in the words of the vectors.
fn described(table: &FileTable, decision: Result<Route, Refusal>) -> String {
    match decision {
        Ok(Route {
            cell,
            pool,
            slot,
            reason,
        }) => {
            let reason = match reason {
                Reason::Assignment => "assignment",
                Reason::Slot => "slot",
            };
            format!(
                "route cell={} pool={} slot={slot} reason={reason}",
                table.cell_id(cell),
                table.pool_name(pool)
            )
        }
        Err(Refusal { code, cell }) => {
            let problem = code.problem();
            let cell = cell.map_or("none", |cell| table.cell_id(cell));
            format!("refuse status={} code={} cell={cell}", problem.status, problem.name)
        }
    }
}

fn expected(expect: &Json) -> String {
    let text = |name: &str| expect.member(name).text();
    let number = |name: &str| expect.member(name).number();
    match text("outcome") {
        "route" => format!(
            "route cell={} pool={} slot={} reason={}",
            text("cell"),
            text("pool"),
            number("slot"),
            text("reason")
        ),
        "refuse" => format!(
            "refuse status={} code={} cell={}",
            number("status"),
            text("code"),
            expect.get("cell").map_or("none", Json::text)
        ),
        other => panic!("unknown outcome {other:?}"),
    }
}

#[test]
fn every_decision_is_the_golden_one() {
    for (name, file) in files_with("table") {
        let table = Table::new(read_table(file.member("table"))).unwrap();
        let cases = file.member("cases").list();
        assert!(!cases.is_empty(), "{name}: no cases");
        for case in cases {
            let found = described(&table, decision(&table, case));
            let title = case.member("name").text();
            assert_eq!(found, expected(case.member("expect")), "{name}: {title}");
        }
    }
}

#[test]
fn every_table_says_what_its_file_says() {
    for (name, file) in files_with("table") {
        let table = Table::new(read_table(file.member("table"))).unwrap();
        assert_eq!(table.epoch(), file.member("epoch").number(), "{name}");
        assert_eq!(
            table.key_header(),
            file.member("key_header").text().as_bytes(),
            "{name}"
        );
        assert_eq!(
            u64::from(table.retry_after_s()),
            file.member("retry_after_s").number(),
            "{name}"
        );
        if let Json::Object(slots) = file.member("slots") {
            for (key, slot) in slots {
                assert_eq!(
                    u64::from(xxh32(key.as_bytes()) & 0xFFFF),
                    slot.number(),
                    "{name}: {key}"
                );
            }
        }
    }
}

#[test]
fn every_broken_table_is_refused() {
    for (name, file) in files_with("base") {
        let base = read_table(file.member("base"));
        Table::new(base.clone()).expect("the base of the broken tables is a good one");
        for case in file.member("cases").list() {
            let refused = Table::new(broken(&base, case)).is_err();
            assert!(refused, "{name}: {} was opened", case.member("name").text());
        }
    }
}

fn broken(base: &[u8], case: &Json) -> Vec<u8> {
    let mut file = base.to_vec();
    for edit in case.member("patch").list() {
        let (offset, bytes) = (edit.list()[0].number() as usize, edit.list()[1].hex());
        file[offset..offset + bytes.len()].copy_from_slice(&bytes);
    }
    if let Json::Number(length) = case.member("truncate") {
        file.truncate(*length as usize);
    }
    file.extend(case.member("append_hex").hex());
    if case.member("fix_checksum").bool() {
        support::seal(&mut file);
    }
    file
}
