//! What a configuration file says in vain.

use std::fmt;

/// Something the file says in vain. Lines count from 1.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConfigWarning {
    /// Where it stands.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ConfigWarningKind,
}

/// See [`ConfigWarning`]. Values are not told: they may be passwords.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ConfigWarningKind {
    /// A line without `=`.
    NoEqualSign,
    /// Nothing before the `=`.
    EmptyKey,
    /// Nothing after the `=` of this key.
    EmptyValue(String),
    /// This key was set before; the first one counts.
    Duplicate(String),
    /// Bytes that are not UTF-8, outside of a comment.
    NotUtf8,
    /// A numbered key behind a gap, or without its partner.
    OutOfSequence(String),
    /// A key nobody asked for.
    Unknown(String),
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            ConfigWarningKind::NoEqualSign => write!(f, "ignored, there is no '='"),
            ConfigWarningKind::EmptyKey => write!(f, "ignored, there is no key"),
            ConfigWarningKind::EmptyValue(key) => write!(f, "ignored, key {key} has no value"),
            ConfigWarningKind::Duplicate(key) => {
                write!(f, "ignored, key {key} is set further up")
            }
            ConfigWarningKind::NotUtf8 => write!(f, "is not UTF-8"),
            ConfigWarningKind::OutOfSequence(key) => {
                write!(f, "ignored, key {key} is out of sequence or has no partner")
            }
            ConfigWarningKind::Unknown(key) => write!(f, "key {key} is unknown"),
        }
    }
}
