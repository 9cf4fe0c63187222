//! MD5 as the protocol uses it, and the comparison of secrets.

use std::hint::black_box;

use md5::{Digest, Md5};

/// The digest as 32 lower-case hex digits: the form passwords and files travel in.
///
/// C++: base/EncDec.cpp CMd5::MD5_Calculate
pub fn md5_hex(content: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    Md5::digest(content).iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}

/// Whether two secrets are equal. The time it takes tells their length and nothing else.
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).fold(0, |difference, (a, b)| black_box(difference | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_rfc_1321_in_lower_case() {
        assert_eq!(md5_hex(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(md5_hex(b"message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(md5_hex(b"12345"), "827ccb0eea8a706c4c34a16891f84e7b");
        assert_eq!(md5_hex("没有".as_bytes()), "b4ebe3f519ec51d5bd5fc832345135db");
    }

    #[test]
    fn secrets_are_equal_only_in_every_byte() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"secret", b"secret"));
        for other in ["Secret", "secreT", "secret1", "secre", ""] {
            assert!(!constant_time_eq(b"secret", other.as_bytes()), "{other:?}");
        }
    }
}
