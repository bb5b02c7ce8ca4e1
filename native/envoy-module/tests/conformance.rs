//! The golden vectors that every implementation of the routing table must pass (`tests/conformance/vectors`).

#[path = "support/json.rs"]
mod json;
mod support;

use cellplane_envoy::cookie::Keyring;
use cellplane_envoy::decide::{decide, Reason, Route, Subject};
use cellplane_envoy::key::{KeyValues, Seals};
use cellplane_envoy::problem::Refusal;
use cellplane_envoy::proof::{proof, Bound};
use cellplane_envoy::table::{Base, KeySource, KeySourceKind, Table};
use cellplane_envoy::xxh32::xxh32;
use json::Json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::Town;

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

fn read_file(name: &Json) -> Vec<u8> {
    std::fs::read(vectors().join(name.text())).unwrap()
}

fn read_base(file: &Json) -> Arc<Base<Vec<u8>>> {
    Arc::new(Base::new(read_file(file)).unwrap())
}

/// The table that a file of vectors is about.
fn read_table(vectors: &Json) -> FileTable {
    let base = read_base(vectors.member("table"));
    match vectors.get("overlay") {
        Some(overlay) => Table::with_overlay(base, read_file(overlay)).unwrap(),
        None => Table::new(base),
    }
}

fn decision(file: &Json, table: &FileTable, case: &Json) -> Result<Route, Refusal> {
    let text = |name: &str, absent: &'static str| case.get(name).map_or(absent, Json::text).as_bytes();
    let sources = table.base().key_sources();
    let values: Vec<Vec<u8>> = case.member("key_values_hex").list().iter().map(Json::hex).collect();
    let mut seen = KeyValues::new(sources);
    seen.add(b":authority", text("authority", ""));
    seen.add(b":path", text("path", "/"));
    // They are those of the first source that is a header, and of the first that is a claim.
    if let Some(header) = sources.iter().find(|source| source.kind == KeySourceKind::Header) {
        values.iter().for_each(|value| seen.add(&header.name, value));
    }
    let claims: Vec<Vec<u8>> = case.member("claims_hex").list().iter().map(Json::hex).collect();
    if let Some(claim) = sources.iter().find(|source| source.kind == KeySourceKind::Claim) {
        claims.iter().for_each(|value| seen.add(&claim.header, value));
    }
    for header in case.member("cookies").list() {
        seen.add(b"cookie", header.text().as_bytes());
    }
    let keys = Keyring::parse(file.member("cookie_keys").text()).unwrap();
    let now = || file.member("now").number();
    let seals = Seals {
        keys: Some(&keys),
        now: &now,
    };
    let writes = case.member("writes").bool();
    let subject = Subject::of(table.base(), &seen, writes, seals, || text("source", ""))?;
    let base = table.base();
    let cell_of = |id: &str| (0..base.cell_count() as u16).find(|cell| base.cell_id(*cell) == id);
    let down = case
        .member("down")
        .list()
        .iter()
        .filter_map(|id| cell_of(id.text()))
        .collect();
    let mut loads = vec![0; base.cell_count()];
    if let Some(Json::Object(of_cells)) = case.get("load") {
        for (id, load) in of_cells {
            if let Some(cell) = cell_of(id) {
                loads[usize::from(cell)] = load.number();
            }
        }
    }
    let number = |name: &str| case.get(name).map_or(0, Json::number);
    let mut town = Town {
        down,
        loads,
        turn: number("turn"),
        chance: number("chance") as u16,
        ..Town::default()
    };
    decide(table, &subject, writes, &mut town)
}

/// A decision in the words of the vectors.
fn described(table: &FileTable, decision: Result<Route, Refusal>) -> String {
    let base = table.base();
    match decision {
        Ok(Route {
            cell,
            pool,
            slot,
            reason,
            is_canary,
            is_stale,
            redirects,
            shadow,
            compares,
            ..
        }) => {
            let reason = match reason {
                Reason::Assignment => "assignment",
                Reason::Slot => "slot",
                Reason::Default => "default",
                Reason::Source => "source",
            };
            let pool = pool.map_or("none", |pool| base.pool_name(pool));
            let slot = slot.map_or_else(|| "none".to_owned(), |slot| slot.to_string());
            let location = if redirects { base.public_url(cell) } else { "none" };
            let shadow = shadow.map_or("none", |shadow| base.cell_id(shadow));
            format!(
                "route cell={} pool={pool} slot={slot} reason={reason} canary={is_canary} stale={is_stale} \
                 location={location} shadow={shadow} compares={compares}",
                base.cell_id(cell)
            )
        }
        Err(Refusal { code, cell, .. }) => {
            let problem = code.problem();
            let cell = cell.map_or("none", |cell| base.cell_id(cell));
            format!("refuse status={} code={} cell={cell}", problem.status, problem.name)
        }
    }
}

fn expected(expect: &Json) -> String {
    let text = |name: &str| expect.member(name).text();
    let number = |name: &str| expect.member(name).number();
    // What a decision does not have is null or absent.
    let optional = |name: &str| expect.get(name).filter(|value| **value != Json::Null);
    match text("outcome") {
        "route" | "redirect" => format!(
            "route cell={} pool={} slot={} reason={} canary={} stale={} location={} shadow={} compares={}",
            text("cell"),
            optional("pool").map_or("none", Json::text),
            optional("slot").map_or_else(|| "none".to_owned(), |slot| slot.number().to_string()),
            text("reason"),
            optional("canary").is_some(),
            optional("stale").is_some(),
            optional("location").map_or("none", Json::text),
            optional("shadow").map_or("none", Json::text),
            optional("compares").is_some()
        ),
        "refuse" => format!(
            "refuse status={} code={} cell={}",
            number("status"),
            text("code"),
            optional("cell").map_or("none", Json::text)
        ),
        other => panic!("unknown outcome {other:?}"),
    }
}

#[test]
fn every_decision_is_the_golden_one() {
    for (name, file) in files_with("table") {
        let table = read_table(&file);
        let cases = file.member("cases").list();
        assert!(!cases.is_empty(), "{name}: no cases");
        for case in cases {
            let found = described(&table, decision(&file, &table, case));
            let title = case.member("name").text();
            assert_eq!(found, expected(case.member("expect")), "{name}: {title}");
        }
    }
}

#[test]
fn every_proof_is_the_golden_one() {
    for (name, file) in files_with("proof_keys") {
        let keys = Keyring::parse(file.member("proof_keys").text()).unwrap();
        for case in file.member("cases").list() {
            let text = |name: &str| case.member(name).text().as_bytes();
            let bound = Bound {
                cell: text("cell"),
                epoch: text("epoch_text"),
                tenant: text("tenant"),
                method: text("method"),
                path: text("path"),
            };
            let title = case.member("name").text();
            let found = proof(&keys, bound, file.member("now").number());
            assert_eq!(found, case.member("proof").text(), "{name}: {title}");
        }
    }
}

#[test]
fn every_table_says_what_its_file_says() {
    for (name, file) in files_with("table") {
        let table = read_table(&file);
        assert_eq!(table.epoch(), file.member("epoch").number(), "{name}");
        let sources: Vec<_> = table.base().key_sources().iter().map(source).collect();
        let expected = file.member("key_sources").list().iter().map(|source| {
            let text = |name: &str| source.member(name).text().to_owned();
            (text("kind"), text("name"))
        });
        assert_eq!(sources, expected.collect::<Vec<_>>(), "{name}");
        assert_eq!(
            u64::from(table.base().policy().retry_after_s),
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

/// A source's kind and name in the words of the vectors.
fn source(source: &KeySource) -> (String, String) {
    let kind = match source.kind {
        KeySourceKind::Header => "header",
        KeySourceKind::Subdomain => "subdomain",
        KeySourceKind::Path => "path",
        KeySourceKind::Claim => "jwt-claim",
        KeySourceKind::Cookie => "cookie",
    };
    (kind.to_owned(), String::from_utf8(source.name.clone()).unwrap())
}

#[test]
fn every_broken_file_is_refused() {
    for (name, file) in files_with("base") {
        let base = read_base(file.member("base"));
        let sound = read_file(file.get("overlay").unwrap_or_else(|| file.member("base")));
        // Opens a base, or an overlay on it, as the file says.
        let open = |bytes: Vec<u8>| match file.get("overlay") {
            Some(_) => Table::with_overlay(base.clone(), bytes).map(|_| ()),
            None => Base::new(bytes).map(|_| ()),
        };
        open(sound.clone()).expect("what is broken below is a sound file before");
        for case in file.member("cases").list() {
            let refused = open(broken(&sound, case)).is_err();
            assert!(refused, "{name}: {} was opened", case.member("name").text());
        }
    }
}

fn broken(sound: &[u8], case: &Json) -> Vec<u8> {
    let mut file = sound.to_vec();
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
