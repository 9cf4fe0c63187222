//! The integration tests: one binary, one module per subject.

/// Rules that tools can check: documents, paths, lengths, layers.
mod tidy;
