//! The border to Envoy: the only part that knows the ABI of dynamic modules.
//!
//! Source: `source/extensions/dynamic_modules/abi/abi.h` of Envoy 1.40.

mod callbacks;
mod hooks;
