//! The integration tests: one binary, one module per subject.

mod bytes; // any bytes from outside, random and nearly right
mod properties; // what must hold for them, shared with the fuzz targets
