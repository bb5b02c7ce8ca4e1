//! What a cell says of its own load, in a header of its answers: a report of ORCA, in the form of a text.
//!
//! `endpoint-load-metrics: TEXT named_metrics.queue_lag_seconds=12.5,named_metrics.connection_pool_use=0.8`

/// The header. Clients do not get it.
pub const HEADER: &[u8] = b"endpoint-load-metrics";
const FORM: &str = "TEXT ";
const QUEUE_LAG: &str = "named_metrics.queue_lag_seconds";
const POOL_USE: &str = "named_metrics.connection_pool_use";
const MAX_BYTES: usize = 1024;
const NO_LAG: u32 = u32::MAX;
const NO_USE: u16 = u16::MAX;

/// A cell's load, as it said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    queue_lag_ms: u32,
    pool_use: u16,
}

impl Load {
    /// What such a header says; None where it says nothing of what counts here. What is no amount is passed over.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value.get(..MAX_BYTES).unwrap_or(value)).ok()?;
        let mut load = Self {
            queue_lag_ms: NO_LAG,
            pool_use: NO_USE,
        };
        for metric in text.strip_prefix(FORM)?.split(',') {
            match metric.trim().split_once('=') {
                Some((QUEUE_LAG, amount)) => {
                    load.queue_lag_ms = scaled(amount, 1e3, f64::from(NO_LAG - 1)).map_or(NO_LAG, |ms| ms as u32);
                }
                Some((POOL_USE, amount)) => {
                    load.pool_use = scaled(amount, 1e4, f64::from(NO_USE - 1)).map_or(NO_USE, |part| part as u16);
                }
                _ => {}
            }
        }
        (load.queue_lag_ms != NO_LAG || load.pool_use != NO_USE).then_some(load)
    }

    /// The word that says so on the board: milliseconds in the low half, ten-thousandths in bits 32 to 47.
    pub fn to_word(self) -> u64 {
        u64::from(self.queue_lag_ms) | u64::from(self.pool_use) << 32
    }
}

/// An amount from 0 on, in other units and no more than `most`.
fn scaled(amount: &str, factor: f64, most: f64) -> Option<f64> {
    let amount: f64 = amount.parse().ok()?;
    (amount >= 0.0 && amount.is_finite()).then(|| (amount * factor).round().min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str) -> Option<(u32, u16)> {
        Load::parse(value.as_bytes()).map(|load| (load.queue_lag_ms, load.pool_use))
    }

    #[test]
    fn what_counts_is_read() {
        let both = "TEXT named_metrics.queue_lag_seconds=12.5,named_metrics.connection_pool_use=0.8";
        assert_eq!(said(both), Some((12_500, 8_000)));
        assert_eq!(
            said("TEXT cpu=0.3, named_metrics.queue_lag_seconds=0"),
            Some((0, NO_USE))
        );
        assert_eq!(
            said("TEXT named_metrics.connection_pool_use=9"),
            Some((NO_LAG, NO_USE - 1))
        );
        assert_eq!(
            said("TEXT named_metrics.queue_lag_seconds=1e300"),
            Some((NO_LAG - 1, NO_USE))
        );
    }

    #[test]
    fn what_is_no_report_is_none() {
        for value in [
            "",
            "TEXT",
            "TEXT ",
            "TEXT cpu=0.3",
            "JSON {}",
            "named_metrics.queue_lag_seconds=1",
            "TEXT named_metrics.queue_lag_seconds",
            "TEXT named_metrics.queue_lag_seconds=",
            "TEXT named_metrics.queue_lag_seconds=-1",
            "TEXT named_metrics.queue_lag_seconds=nan",
            "TEXT named_metrics.queue_lag_seconds=inf",
            "TEXT named_metrics.connection_pool_use=much",
        ] {
            assert_eq!(said(value), None, "{value}");
        }
        assert_eq!(Load::parse(b"TEXT named_metrics.queue_lag_seconds=\xff"), None);
        let late = format!("TEXT {}named_metrics.queue_lag_seconds=1", "a=1,".repeat(300));
        assert_eq!(said(&late), None);
    }

    #[test]
    fn a_word_has_both() {
        let load = Load::parse(b"TEXT named_metrics.queue_lag_seconds=1,named_metrics.connection_pool_use=0.5");
        assert_eq!(load.map(Load::to_word), Some(1_000 | 5_000 << 32));
    }
}
