//! Says whether routers would take a table: the module's own checks, as a process that a publisher asks.
//!
//! Each line of its input is the path of a base, or of a base and of an overlay with a tab between. It is answered by a
//! line: `ok` and the epoch, or `refused` and the reason. The base of the last table stays open, so that an overlay on it
//! costs only what the overlay has.
#![forbid(unsafe_code)]

use cellplane_envoy::bases::BASES;
use cellplane_envoy::route_config::open_table;
use std::io::{self, BufRead, Write};
use std::path::Path;

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    let mut last = None;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (base, overlay) = match line.split_once('\t') {
            None => (line.as_str(), None),
            Some((base, overlay)) => (base, Some(Path::new(overlay))),
        };
        match open_table(Path::new(base), overlay, &BASES) {
            Ok(table) => {
                writeln!(out, "ok {}", table.epoch())?;
                last = Some(table);
            }
            Err(error) => writeln!(out, "refused {}", error.to_string().replace('\n', " "))?,
        }
        out.flush()?;
    }
    drop(last);
    Ok(())
}
