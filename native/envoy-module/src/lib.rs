//! Cellplane's routing decision inside Envoy: an HTTP filter, loaded as a dynamic module.
//!
//! The way of a request through the modules: [`filter`] reads the partition key ([`key`]), asks [`decide`] which
//! cell serves it according to the routing [`table`], and either names that cell in a header or answers with a
//! [`problem`], or with what was [`kept`] of a cell that is down. All of that is safe code over a [`stream::Stream`];
//! only `envoy`, [`mmap`] and the fast path of [`sha256`] are not.
//!
//! The way of a table: Envoy hands the text of a route's config to [`route_config`], which maps its files and checks
//! each as a whole; [`bases`] remembers the base, so that a new overlay on it costs only what the overlay has. A null
//! answer makes Envoy keep the route, and so the table, that it had.
#![deny(missing_docs, unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks)]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("Envoy, the mmap declaration and the table's offsets all assume 64-bit pointers");

pub mod address;
pub mod base64url;
pub mod bases;
pub mod board;
pub mod capture;
pub mod cookie;
pub mod decide;
pub mod filter;
pub mod flow;
pub mod guard;
pub mod hmac;
pub mod kept;
pub mod key;
pub mod limits;
pub mod load;
pub mod mmap;
pub mod problem;
pub mod proof;
pub mod route_config;
pub mod sha256;
pub mod stream;
pub mod table;
pub mod xxh32;

// Unit tests run outside of Envoy, where nothing resolves its callbacks.
#[cfg(not(test))]
mod envoy;

// tests/support names the crate as an integration test does, also where it is compiled into the unit tests.
#[cfg(test)]
extern crate self as cellplane_envoy;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;
