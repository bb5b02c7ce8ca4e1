//! What the router answers by itself: problem documents (RFC 9457).

use crate::limits::OverLimit;

/// Why a request goes to no cell. The order is that of [`PROBLEMS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// No source has a value, and the fleet refuses such requests.
    MissingKey,
    /// No source has a value, one of them is a claim of a token, and the fleet refuses such requests.
    Unauthenticated,
    /// A source says the key more than once.
    AmbiguousKey,
    /// The value is not a key.
    InvalidKey,
    /// The fleet refuses keys that it does not know, and does not know this one.
    UnknownTenant,
    /// The tenant is suspended.
    TenantSuspended,
    /// The tenant moves between cells, and the request would write.
    TenantMoving,
    /// The tenant is assigned to no shard, and its pool has no slots.
    TenantUnassigned,
    /// The tenant's cell is in maintenance.
    CellMaintenance,
    /// No cell of the tenant serves and has a healthy host.
    CellUnavailable,
    /// No route with a table takes the request: it is a CONNECT, or an OPTIONS of `*`.
    NoRoute,
    /// There are more headers than one scan looks at.
    TooManyHeaders,
    /// A fault of this module.
    InternalError,
    /// The tenant's limit is used up.
    TenantLimited,
    /// The cell's limit is used up.
    CellOverloaded,
    /// The request is for no host, or for two.
    InvalidHost,
}

/// A request's refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: Code,
    /// Index of the shard's first cell, where a shard was found, or of the chosen one.
    pub cell: Option<u16>,
    /// The limit that is used up.
    pub limit: Option<OverLimit>,
    /// Whether what was kept of the cell's answers was looked for, and was not there.
    pub nothing_kept: bool,
}

impl Refusal {
    /// This refusal, for a limit.
    pub fn over(self, limit: OverLimit) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self {
            code,
            cell: None,
            limit: None,
            nothing_kept: false,
        }
    }
}

/// The fixed members of a problem document. Nothing of the request is repeated in it.
#[derive(Debug)]
pub struct Problem {
    /// Which refusal this describes.
    pub code: Code,
    /// The member `code`, and the end of `type`.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// The member `title`.
    pub title: &'static str,
    /// The member `detail`.
    pub detail: &'static str,
}

/// All refusals, in the order of [`Code`].
#[rustfmt::skip]
pub const PROBLEMS: [Problem; 16] = [
    Problem {
        code: Code::MissingKey, name: "missing-key", status: 400,
        title: "Partition key missing",
        detail: "The request does not say which tenant it is for.",
    },
    Problem {
        code: Code::Unauthenticated, name: "unauthenticated", status: 401,
        title: "Not authenticated",
        detail: "The request proves no tenant: send a valid token.",
    },
    Problem {
        code: Code::AmbiguousKey, name: "ambiguous-key", status: 400,
        title: "Partition key ambiguous",
        detail: "The request names its tenant more than once.",
    },
    Problem {
        code: Code::InvalidKey, name: "invalid-key", status: 400,
        title: "Partition key invalid",
        detail: "A key is 1 to 128 ASCII characters: a letter or digit, then letters, digits and . _ : @ | + = ~ -",
    },
    Problem {
        code: Code::UnknownTenant, name: "unknown-tenant", status: 404,
        title: "Unknown tenant",
        detail: "No tenant of this fleet has this key.",
    },
    Problem {
        code: Code::TenantSuspended, name: "tenant-suspended", status: 403,
        title: "Tenant suspended",
        detail: "This tenant is suspended; its requests are not served.",
    },
    Problem {
        code: Code::TenantMoving, name: "tenant-moving", status: 503,
        title: "Tenant is moving",
        detail: "This tenant is moving to another cell. Reads are served; retry writes shortly.",
    },
    Problem {
        code: Code::TenantUnassigned, name: "tenant-unassigned", status: 503,
        title: "Tenant unassigned",
        detail: "This tenant is assigned to no cell yet.",
    },
    Problem {
        code: Code::CellMaintenance, name: "cell-maintenance", status: 503,
        title: "Cell in maintenance",
        detail: "The cell of this tenant is in maintenance.",
    },
    Problem {
        code: Code::CellUnavailable, name: "cell-unavailable", status: 503,
        title: "Cell unavailable",
        detail: "No cell of this tenant can serve the request now.",
    },
    Problem {
        code: Code::NoRoute, name: "no-route", status: 404,
        title: "No route",
        detail: "This router takes no such request: it routes by path and tenant.",
    },
    Problem {
        code: Code::TooManyHeaders, name: "too-many-headers", status: 431,
        title: "Too many headers",
        detail: "The request has more headers than this router reads.",
    },
    Problem {
        code: Code::InternalError, name: "internal-error", status: 500,
        title: "Router error",
        detail: "The router failed while it routed this request.",
    },
    Problem {
        code: Code::TenantLimited, name: "tenant-limited", status: 429,
        title: "Too many requests",
        detail: "This tenant sends more requests than it may.",
    },
    Problem {
        code: Code::CellOverloaded, name: "cell-overloaded", status: 503,
        title: "Cell overloaded",
        detail: "The cell of this tenant has as many requests as it can take.",
    },
    Problem {
        code: Code::InvalidHost, name: "invalid-host", status: 400,
        title: "Host invalid",
        detail: "The request names two hosts, or one that is none.",
    },
];

impl Code {
    /// What this refusal says.
    pub fn problem(self) -> &'static Problem {
        &PROBLEMS[self as usize]
    }
}

impl Problem {
    /// The document, as JSON; `detail` is another than the usual where it is not empty. Neither the fixed members nor a
    /// cell id, which the table's check has seen, hold a character that JSON would have escaped.
    pub fn document(&self, cell: Option<&str>, detail: &str) -> String {
        let own_detail = escaped(detail);
        let Self {
            name,
            status,
            title,
            detail: usual_detail,
            ..
        } = self;
        let detail = if detail.is_empty() {
            usual_detail
        } else {
            own_detail.as_str()
        };
        let cell = cell.map_or_else(String::new, |id| format!(r#","cell":"{id}""#));
        format!(
            r#"{{"type":"urn:cellplane:problem:{name}","title":"{title}","status":{status},"detail":"{detail}","code":"{name}"{cell}}}"#
        )
    }

    /// What a gRPC client is told instead of the HTTP status
    /// (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
    pub fn grpc_status(&self) -> &'static str {
        match self.status {
            401 => "16",
            403 => "7",
            429 => "8",
            404 => "5",
            500 => "13",
            503 => "14",
            _ => "3",
        }
    }

    /// Envoy's response code details: what access logs show.
    pub fn response_details(&self) -> String {
        format!("cellplane_{}", self.name.replace('-', "_"))
    }
}

/// A text of a table, inside of quotes: it has no control characters but line ends.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_problems_stand_in_the_order_of_their_codes() {
        for problem in &PROBLEMS {
            assert_eq!(problem.code.problem().code, problem.code);
        }
    }

    #[test]
    fn fixed_members_need_no_escape_in_json() {
        for problem in &PROBLEMS {
            for text in [problem.name, problem.title, problem.detail] {
                assert!(
                    text.bytes()
                        .all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\'),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_document_has_exactly_the_members_of_the_specification() {
        assert_eq!(
            Code::UnknownTenant.problem().document(None, ""),
            "{\"type\":\"urn:cellplane:problem:unknown-tenant\",\"title\":\"Unknown tenant\",\"status\":404,\
             \"detail\":\"No tenant of this fleet has this key.\",\"code\":\"unknown-tenant\"}"
        );
        let with_cell = Code::CellMaintenance.problem().document(Some("cell-2"), "");
        assert!(
            with_cell.ends_with(",\"code\":\"cell-maintenance\",\"cell\":\"cell-2\"}"),
            "{with_cell}"
        );
    }

    #[test]
    fn details_can_stand_in_an_access_log() {
        assert_eq!(
            Code::TooManyHeaders.problem().response_details(),
            "cellplane_too_many_headers"
        );
    }
}
