//! What the board is told of a request, at its start and at its end.

use super::{comparing, MISDIRECTED};
use crate::board::{Count, Counts};
use crate::decide::Route;
use crate::flow::Flow;
use crate::problem::{Code, Refusal};
use crate::route_config::RouteConfig;
use crate::stream::Stream;

pub(super) fn count_sent(counts: &Counts, route: &Route, is_probe: bool) {
    counts.begin();
    counts.count_nth(Count::Reasons, route.reason as usize);
    for (count, what) in [
        (Count::Canary, route.is_canary),
        (Count::Probes, is_probe),
        (Count::Shadowed, route.shadow.is_some()),
    ] {
        if what {
            counts.count(count);
        }
    }
}

/// Counts something of a cell, so often.
pub(super) fn count_of<S: Stream, B>(stream: &S, config: &RouteConfig<B>, cell: u16, what: Count, amount: u64) {
    if let Some(board) = &config.board {
        board.counts(stream.worker(), cell).count_many(what, amount);
    }
}

pub(super) fn count_refusal<S, B>(stream: &S, config: &RouteConfig<B>, refusal: &Refusal)
where
    S: Stream,
{
    let what = match refusal.code {
        Code::TenantLimited => Count::Limited,
        Code::CellOverloaded => Count::Shed,
        Code::CellUnavailable | Code::CellMaintenance => Count::Unavailable,
        _ => return,
    };
    if let (Some(board), Some(cell)) = (&config.board, refusal.cell) {
        let counts = board.counts(stream.worker(), cell);
        counts.count(what);
        if refusal.nothing_kept {
            counts.count(Count::KeptMissed);
        }
    }
}

/// Counts the end of what was let through, once.
pub(super) fn end<S, B>(stream: &S, flow: &mut Flow, config: &RouteConfig<B>, is_retried: bool)
where
    S: Stream,
{
    let sent = match flow.sent.take() {
        Some(sent) => sent,
        None => return,
    };
    comparing::end(stream, flow, config.board.as_ref(), sent.cell, is_retried);
    let board = match &config.board {
        Some(board) => board,
        None => return,
    };
    let worker = stream.worker();
    let response = stream.response();
    let duration_us = stream.clock_ns().saturating_sub(sent.since_ns) / 1_000;
    let counts = board.counts(worker, sent.cell);
    if response.is_shed() {
        counts.shed();
        return;
    }
    counts.end(duration_us);
    for (count, what) in [
        (Count::Errors, response.is_error()),
        (Count::Unreachable, response.is_unreachable()),
        (Count::Misrouted, response.status == Some(MISDIRECTED)),
        (Count::Retried, is_retried),
    ] {
        if what {
            counts.count(count);
        }
    }
    if let Some(tenant) = &sent.tenant {
        if !is_retried {
            board
                .tenants(worker, sent.cell)
                .note(tenant.as_bytes(), response.is_error(), duration_us);
        }
    }
}
