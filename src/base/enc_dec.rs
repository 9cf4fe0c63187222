//! The cipher of message texts: AES-256 in ECB mode with a length trailer, in base64.
//!
//! A message format rather than protection: clients carry the key, and equal texts give equal
//! cipher texts (F16). It is kept bit for bit because every client requires it.

use std::fmt;

use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

/// Bytes of the key.
pub const AES_KEY_LENGTH: usize = 32;

const BLOCK_LENGTH: usize = 16;
const TRAILER_LENGTH: usize = 4;

/// Why a key or text is refused. The original answers the numbers in brackets.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum AesError {
    /// The key is not 32 bytes long. The original read beyond a shorter one.
    #[error("aes key has {0} bytes, {AES_KEY_LENGTH} expected")]
    KeyLength(usize),
    /// There is no text (-1).
    #[error("text is empty")]
    Empty,
    /// Not base64, or base64 of nothing (-2).
    #[error("text is not base64")]
    Base64,
    /// Not a number of whole blocks (-3).
    #[error("cipher text of {0} bytes is not made of whole blocks")]
    Blocks(usize),
    /// The trailer does not match the number of blocks: another key, or a damaged text (-4).
    #[error("length {length} does not fit into a cipher text of {total} bytes")]
    Length {
        /// What the trailer says.
        length: u32,
        /// Bytes of the cipher text.
        total: usize,
    },
}

/// Encrypts and decrypts message texts.
///
/// C++: base/EncDec.h CAes
pub struct Aes {
    cipher: Aes256,
}

impl fmt::Debug for Aes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aes").finish_non_exhaustive()
    }
}

impl Aes {
    /// C++: base/EncDec.cpp CAes::CAes
    /// Differs: a key of another length is refused.
    pub fn new(key: &[u8]) -> Result<Self, AesError> {
        let cipher = Aes256::new_from_slice(key).map_err(|_| AesError::KeyLength(key.len()))?;
        Ok(Self { cipher })
    }

    /// The base64 text for a plain text.
    ///
    /// # Panics
    /// If the text has 4 GiB or more, which no PDU can carry.
    ///
    /// C++: base/EncDec.cpp CAes::Encrypt
    pub fn encrypt(&self, text: &[u8]) -> Result<String, AesError> {
        if text.is_empty() {
            return Err(AesError::Empty);
        }
        let length = u32::try_from(text.len()).expect("text of a pdu is shorter than 4 GiB");
        // Zeros up to a whole block that ends in the trailer.
        let total = (text.len() + TRAILER_LENGTH).next_multiple_of(BLOCK_LENGTH);
        let mut buf = vec![0; total];
        buf[..text.len()].copy_from_slice(text);
        buf[total - TRAILER_LENGTH..].copy_from_slice(&length.to_be_bytes());
        self.cipher.encrypt_blocks(blocks(&mut buf));
        Ok(BASE64.encode(&buf))
    }

    /// The plain text of a base64 text.
    ///
    /// C++: base/EncDec.cpp CAes::Decrypt
    /// Differs: the length must be one the encryption gives that many blocks; the original lets
    /// any up to the whole pass, trailer included. It is the only sign of a wrong key.
    pub fn decrypt(&self, text: &[u8]) -> Result<Vec<u8>, AesError> {
        if text.is_empty() {
            return Err(AesError::Empty);
        }
        let mut buf = base64_decode(text);
        let total = buf.len();
        if total == 0 {
            return Err(AesError::Base64);
        }
        if !total.is_multiple_of(BLOCK_LENGTH) {
            return Err(AesError::Blocks(total));
        }
        self.cipher.decrypt_blocks(blocks(&mut buf));
        let trailer = buf.last_chunk().copied().unwrap_or_default();
        let length = u32::from_be_bytes(trailer);
        let fits = |length: usize| {
            length.checked_add(TRAILER_LENGTH)?.checked_next_multiple_of(BLOCK_LENGTH)
        };
        if fits(length as usize) != Some(total) {
            return Err(AesError::Length { length, total });
        }
        buf.truncate(length as usize);
        Ok(buf)
    }
}

fn blocks(buf: &mut [u8]) -> &mut [Block] {
    let (blocks, rest) = Array::slice_as_chunks_mut(buf);
    debug_assert!(rest.is_empty(), "the buffer is made of whole blocks");
    blocks
}

/// Decodes as liberally as the original: blanks and `=` are skipped anywhere, bits that make no
/// byte are dropped. Empty if there is any other foreign character.
///
/// C++: base/Base64.cpp base64_decode
fn base64_decode(text: &[u8]) -> Vec<u8> {
    const LIBERAL: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let is_skipped = |byte: u8| matches!(byte, b'=' | b' ' | b'\t'..=b'\r');
    let mut digits: Vec<u8> = text.iter().copied().filter(|&byte| !is_skipped(byte)).collect();
    if digits.len() % 4 == 1 {
        // Six bits make no byte, but they have to be digits too: 'A' completes them to eight.
        digits.push(b'A');
        let mut decoded = LIBERAL.decode(&digits).unwrap_or_default();
        decoded.pop();
        return decoded;
    }
    LIBERAL.decode(&digits).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::md5::md5_hex;
    use super::*;

    /// The key every client carries.
    const KEY: &[u8] = b"12345678901234567890123456789012";

    fn aes() -> Aes {
        Aes::new(KEY).unwrap()
    }

    /// Computed with another implementation of the cipher.
    #[test]
    fn texts_of_every_padding_give_the_known_answers() {
        let text = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let answers = [
            (1, "qscuvRJ/pmJghpW1gxfUEw=="),
            (11, "xtwmvU8+ycWGsHDinxJ4OA=="),
            (12, "pjioVtcJuh77LuSiew7aJw=="),
            (13, "TAzR6N1CfvlADH+XckBekQr+GZ43+2mMfQMFqTsGBjY="),
            (15, "a3gZG+WxoUhb34fgUu4t/lzIdZRUsFN9eOwYZegap80="),
            (16, "BY1wZOT9JPljcE5qNjw9cQfU6OB7fpsvZh6GP3dYB9g="),
            (17, "BY1wZOT9JPljcE5qNjw9cb8KZIXw13vDXaQLNJ72xE4="),
            (31, "BY1wZOT9JPljcE5qNjw9cTlc69kKYZhOF8ZnA28HojhHKToxFDimz7C6XaPPPsPH"),
            (32, "BY1wZOT9JPljcE5qNjw9cVzCT0QE8ifsZlmPqG2hzV5d5ib/7yMH525m4ID/jXE3"),
        ];
        for (length, answer) in answers {
            assert_eq!(aes().encrypt(&text[..length]).unwrap(), answer, "length {length}");
            assert_eq!(aes().decrypt(answer.as_bytes()).unwrap(), &text[..length]);
        }
    }

    #[test]
    fn a_chinese_text_gives_the_known_answer() {
        let text = "没有msg_server 😀";
        let answer = "CazryReziGAFQdxzhKq4cBSYTaG+M4AJcO0pcnpznq0=";
        assert_eq!(aes().encrypt(text.as_bytes()).unwrap(), answer);
        assert_eq!(aes().decrypt(answer.as_bytes()).unwrap(), text.as_bytes());
    }

    #[test]
    fn a_text_of_ten_kilobytes_gives_the_known_answer() {
        let text: Vec<u8> = (0..10240_u32).map(|i| ((i * 7 + 3) % 251) as u8).collect();
        let answer = aes().encrypt(&text).unwrap();
        assert_eq!(answer.len(), 13676);
        assert_eq!(md5_hex(answer.as_bytes()), "19a0374d34cc224588bff075e513bf42");
        assert_eq!(aes().decrypt(answer.as_bytes()).unwrap(), text);
    }

    #[test]
    fn an_empty_text_is_not_encrypted_but_decrypts() {
        assert_eq!(aes().encrypt(b""), Err(AesError::Empty));
        // What the Android client makes of an empty text.
        assert_eq!(aes().decrypt(b"e5RnnlJkv4QGnGhkMwfvgA=="), Ok(Vec::new()));
    }

    #[test]
    fn f16_the_length_must_lie_in_the_last_block() {
        let texts = [
            (13, 16, "Cv4Znjf7aYx9AwWpOwYGNg=="),
            (16, 16, "B9To4Ht+my9mHoY/d1gH2A=="),
            (17, 16, "zD20IjGlmT5Ts1MF8c+R2Q=="),
            (u32::MAX, 16, "CFd59Y5ip8ialP5Va0wgaA=="),
            (12, 32, "e5RnnlJkv4QGnGhkMwfvgJXUUohlBpRQf9H2BG5+lOc="),
        ];
        for (length, total, text) in texts {
            assert_eq!(aes().decrypt(text.as_bytes()), Err(AesError::Length { length, total }));
        }
    }

    #[test]
    fn f16_another_key_shows_in_the_length() {
        let text = aes().encrypt(b"hello").unwrap();
        let other = Aes::new(&[7; 32]).unwrap();
        assert!(matches!(other.decrypt(text.as_bytes()), Err(AesError::Length { .. })));
    }

    #[test]
    fn what_is_no_cipher_text_is_refused() {
        assert_eq!(aes().decrypt(b""), Err(AesError::Empty));
        for text in [&b"===="[..], b" \n", b"A", b"qscuvRJ/pmJghpW1gxfUE-==", b"\xff\xff"] {
            assert_eq!(aes().decrypt(text), Err(AesError::Base64), "{text:?}");
        }
        assert_eq!(aes().decrypt(b"aGVsbG8="), Err(AesError::Blocks(5)));
    }

    #[test]
    fn base64_is_read_as_liberally_as_in_the_original() {
        let bytes = b"hello".to_vec();
        for text in
            ["aGVsbG8=", "aGVsbG8", "aGVs\r\nbG8=\n", " a=G=V\tsbG8 ", "aGVsbG9=", "aGVsbG8=A"]
        {
            assert!(base64_decode(text.as_bytes()).starts_with(&bytes), "{text:?}");
        }
        assert_eq!(base64_decode(b"aGVsA"), b"hel", "six bits too many");
        assert_eq!(base64_decode(b"aGVs!"), b"", "a foreign character in the last six bits");
        assert_eq!(base64_decode(b"aGVs-_=="), b"", "the alphabet of urls");
    }

    #[test]
    fn f16_a_key_of_another_length_is_refused() {
        for length in [0, 16, 31, 33] {
            let error = Aes::new(&vec![b'k'; length]).err();
            assert_eq!(error, Some(AesError::KeyLength(length)));
        }
        assert_eq!(AesError::KeyLength(31).to_string(), "aes key has 31 bytes, 32 expected");
    }

    proptest! {
        #[test]
        fn what_is_encrypted_decrypts(text in prop::collection::vec(any::<u8>(), 1..200)) {
            let cipher_text = aes().encrypt(&text).unwrap();
            prop_assert_eq!(aes().decrypt(cipher_text.as_bytes()).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_survived(text: Vec<u8>, blocks in "([A-Za-z0-9+/]{64}){1,3}") {
            let _ = aes().decrypt(&text);
            if let Ok(plain) = aes().decrypt(blocks.as_bytes()) {
                prop_assert!(plain.len() < blocks.len());
            }
        }
    }
}
