//! What the router answers by itself.

use super::{Verdict, CELL_ID};
use crate::limits::OverLimit;
use crate::problem::{Code, Refusal};
use crate::route_config::RouteConfig;
use crate::stream::{Headers, Reply, Stream};
use std::fmt::Write;

/// What a refusal says of a tenant that would have got an answer of before.
const NOTHING_KEPT: &str = "No cell of this tenant can serve the request now, and no answer to it was kept.";
const NS_OF_ONE_SECOND: u64 = 1_000_000_000;
/// How long a browser is to ask by HTTPS alone, once it was sent to a cell's own address: a year.
const STRICT_TRANSPORT: (&str, &str) = ("strict-transport-security", "max-age=31536000");

/// Refuses a request.
pub(super) fn refuse<S, B>(stream: &mut S, refusal: Refusal, config: Option<&RouteConfig<B>>) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let problem = refusal.code.problem();
    let base = config.map(|config| config.table.base());
    let cell = base.zip(refusal.cell).map(|(base, cell)| base.cell_id(cell));
    let page = match (refusal.code, base, refusal.cell) {
        (Code::CellMaintenance, Some(base), Some(cell)) => base.maintenance_page(cell),
        _ if refusal.nothing_kept => NOTHING_KEPT,
        _ => "",
    };
    let asked = Asked::of(stream);
    let is_page = asked.wants_html && !page.is_empty() && !asked.is_grpc && refusal.code == Code::CellMaintenance;
    let retry_after = retry_after_s(&refusal, base.map(|base| base.policy().retry_after_s)).map(|s| s.to_string());
    let limits = refusal
        .limit
        .as_ref()
        .filter(|_| refusal.code == Code::TenantLimited)
        .map(rate_limit);
    let mut headers = vec![if asked.is_grpc {
        // Envoy makes a gRPC answer of it, and would call it a success.
        ("grpc-status", problem.grpc_status())
    } else if is_page {
        ("content-type", "text/html; charset=utf-8")
    } else {
        ("content-type", "application/problem+json")
    }];
    headers.extend(retry_after.as_deref().map(|seconds| ("retry-after", seconds)));
    if let Some((policy, left)) = &limits {
        headers.extend([("ratelimit-policy", policy.as_str()), ("ratelimit", left.as_str())]);
    }
    if refusal.code == Code::CellOverloaded {
        headers.extend(cell.map(|cell| ("x-cell-shed", cell)));
    }
    if problem.status == 401 {
        headers.push(("www-authenticate", "Bearer"));
    }
    headers.extend(cell.map(|cell| ("x-cell-id", cell)));
    headers.extend(config.map(|config| ("x-cell-epoch", config.epoch_text.as_str())));
    stream.mark_refused();
    stream.reply(&Reply {
        status: problem.status,
        headers: &headers,
        body: if is_page {
            maintenance_html(page)
        } else {
            problem.document(cell, page)
        }
        .as_bytes(),
        details: &problem.response_details(),
    });
    Verdict::Stop
}

/// Sends the client to the cell's own address, with the path that it asked for.
pub(super) fn redirect<S, B>(stream: &mut S, config: &RouteConfig<B>, cell: u16) -> Verdict
where
    S: Stream,
    B: AsRef<[u8]>,
{
    let base = config.table.base();
    let url = base.public_url(cell);
    let path = path_of(stream);
    let location = format!("{url}{path}");
    let mut headers = vec![
        ("location", location.as_str()),
        ("cache-control", "no-store"),
        ("x-cell-id", base.cell_id(cell)),
        ("x-cell-epoch", config.epoch_text.as_str()),
    ];
    if url.starts_with("https://") {
        headers.push(STRICT_TRANSPORT);
    }
    debug_assert_eq!(headers[2].0.as_bytes(), CELL_ID);
    stream.mark_refused();
    stream.reply(&Reply {
        status: 307,
        headers: &headers,
        body: b"",
        details: "cellplane_redirect",
    });
    Verdict::Stop
}

/// What a request wants for an answer.
struct Asked {
    is_grpc: bool,
    wants_html: bool,
}

impl Asked {
    fn of<S: Stream>(stream: &S) -> Self {
        let mut asked = Self {
            is_grpc: false,
            wants_html: false,
        };
        // Of more headers than can be looked at nothing is known: then it is a problem document.
        let _ = stream.scan(Headers::Request, |name, value| match name {
            b"content-type" => asked.is_grpc |= value.starts_with(b"application/grpc"),
            b"accept" => asked.wants_html |= prefers_html(value),
            _ => {}
        });
        asked
    }
}

/// Whether a browser asks: HTML is named, and no JSON before it.
fn prefers_html(accept: &[u8]) -> bool {
    let place = |what: &[u8]| {
        accept
            .windows(what.len())
            .position(|found| found.eq_ignore_ascii_case(what))
    };
    match (place(b"text/html"), place(b"json")) {
        (Some(html), Some(json)) => html < json,
        (html, _) => html.is_some(),
    }
}

/// The request's path with its query, as a header can carry it.
fn path_of<S: Stream>(stream: &S) -> String {
    let mut path = String::new();
    let _ = stream.scan(Headers::Request, |name, value| {
        let is_plain = value.starts_with(b"/") && value.iter().all(u8::is_ascii_graphic);
        if name == b":path" && is_plain {
            path = String::from_utf8_lossy(value).into_owned();
        }
    });
    if path.is_empty() {
        path.push('/');
    }
    path
}

/// When to come again: when a limit has room, else when the fleet says so, of what may succeed later.
fn retry_after_s(refusal: &Refusal, of_fleet: Option<u32>) -> Option<u64> {
    match refusal.limit {
        Some(over) if refusal.code == Code::TenantLimited => Some(seconds(over.wait_ns)),
        // A cell that sheds has room again at once: for some of those who wait.
        Some(_) => Some(1),
        None => of_fleet.filter(|_| refusal.code.problem().status == 503).map(u64::from),
    }
}

/// The fields of *RateLimit header fields for HTTP* (draft-ietf-httpapi-ratelimit-headers-10): what may come in which
/// time, and that nothing is left until then.
fn rate_limit(over: &OverLimit) -> (String, String) {
    let window_s = seconds(over.burst_ns);
    let quota = (u64::from(over.rps_milli) * over.burst_ns / NS_OF_ONE_SECOND / 1_000).max(1);
    (
        format!("\"tenant\";q={quota};w={window_s}"),
        format!("\"tenant\";r=0;t={}", seconds(over.wait_ns)),
    )
}

/// Whole seconds, at least one.
fn seconds(ns: u64) -> u64 {
    (ns / NS_OF_ONE_SECOND + u64::from(ns % NS_OF_ONE_SECOND > 0)).max(1)
}

fn maintenance_html(page: &str) -> String {
    let mut body = String::from("<!doctype html>\n<meta charset=\"utf-8\">\n<title>Maintenance</title>\n<p>");
    for character in page.chars() {
        match character {
            '<' => body.push_str("&lt;"),
            '>' => body.push_str("&gt;"),
            '&' => body.push_str("&amp;"),
            '\n' => body.push_str("<br>\n"),
            other => body.push(other),
        }
    }
    // Writing to a string cannot fail.
    let _ = body.write_str("</p>\n");
    body
}
