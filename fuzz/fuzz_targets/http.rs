//! See `properties::http`.
#![no_main]

#[path = "../../tests/it/properties.rs"]
#[allow(dead_code, reason = "each target uses one property of the file")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::http(data));
