//! Big-endian cursors over the byte strings that travel inside messages.

use thiserror::Error;

/// The bytes end before the value does.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("{wanted} bytes wanted at offset {offset}, {left} left")]
pub struct ByteStreamError {
    /// Where the value begins.
    pub offset: usize,
    /// Length of the value.
    pub wanted: usize,
    /// Bytes from `offset` to the end.
    pub left: usize,
}

/// Reads from the front of a byte slice. A failed read leaves the position alone.
///
/// C++: base/UtilPdu.h CByteStream
/// Differs: no sum of position and length can wrap (F26), and the end is an error value.
#[derive(Clone, Debug)]
pub struct ByteReader<'a> {
    buf: &'a [u8],
    pos: usize,
}

impl<'a> ByteReader<'a> {
    /// A reader at the first byte.
    pub fn new(buf: &'a [u8]) -> Self {
        Self { buf, pos: 0 }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.buf.get(self.pos..).unwrap_or_default()
    }

    /// C++: base/UtilPdu.cpp CByteStream::operator>>
    pub fn read_u16(&mut self) -> Result<u16, ByteStreamError> {
        self.read_array().map(u16::from_be_bytes)
    }

    /// C++: base/UtilPdu.cpp CByteStream::operator>>
    pub fn read_u32(&mut self) -> Result<u32, ByteStreamError> {
        self.read_array().map(u32::from_be_bytes)
    }

    /// A length as u32, then as many bytes.
    ///
    /// C++: base/UtilPdu.cpp CByteStream::ReadData
    pub fn read_data(&mut self) -> Result<&'a [u8], ByteStreamError> {
        let mut ahead = self.clone();
        let length = ahead.read_u32()?;
        let data = ahead.read_bytes(length as usize)?;
        *self = ahead;
        Ok(data)
    }

    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], ByteStreamError> {
        let Some(&array) = self.rest().first_chunk::<N>() else {
            return Err(self.end(N));
        };
        self.pos += N;
        Ok(array)
    }

    fn read_bytes(&mut self, length: usize) -> Result<&'a [u8], ByteStreamError> {
        let Some(bytes) = self.rest().get(..length) else {
            return Err(self.end(length));
        };
        self.pos += length;
        Ok(bytes)
    }

    fn end(&self, wanted: usize) -> ByteStreamError {
        ByteStreamError { offset: self.pos, wanted, left: self.rest().len() }
    }
}

/// Appends to a byte vector, which grows as needed.
///
/// C++: base/UtilPdu.h CByteStream
#[derive(Debug)]
pub struct ByteWriter<'a> {
    buf: &'a mut Vec<u8>,
}

impl<'a> ByteWriter<'a> {
    /// A writer at the end of `buf`.
    pub fn new(buf: &'a mut Vec<u8>) -> Self {
        Self { buf }
    }

    /// C++: base/UtilPdu.cpp CByteStream::operator<<
    pub fn write_u16(&mut self, value: u16) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    /// C++: base/UtilPdu.cpp CByteStream::operator<<
    pub fn write_u32(&mut self, value: u32) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    /// A length as u32, then the bytes.
    ///
    /// # Panics
    /// If `data` has 4 GiB or more: a PDU, whose own length is a u32, cannot carry it.
    ///
    /// C++: base/UtilPdu.cpp CByteStream::WriteData
    pub fn write_data(&mut self, data: &[u8]) {
        let length = u32::try_from(data.len()).expect("data of a pdu is shorter than 4 GiB");
        self.write_u32(length);
        self.buf.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_big_endian() {
        let mut buf = vec![0xff];
        let mut writer = ByteWriter::new(&mut buf);
        writer.write_u16(0x0102);
        writer.write_u32(0x0304_0506);
        writer.write_data(b"hi");
        assert_eq!(buf, [0xff, 1, 2, 3, 4, 5, 6, 0, 0, 0, 2, b'h', b'i']);

        let mut reader = ByteReader::new(&buf[1..]);
        assert_eq!(reader.read_u16(), Ok(0x0102));
        assert_eq!(reader.read_u32(), Ok(0x0304_0506));
        assert_eq!(reader.read_data(), Ok(&b"hi"[..]));
        assert!(reader.rest().is_empty());
    }

    #[test]
    fn f26_a_length_of_four_gigabytes_does_not_wrap() {
        let mut reader = ByteReader::new(&[0xff, 0xff, 0xff, 0xff, 1, 2]);
        let wanted = u32::MAX as usize;
        assert_eq!(reader.read_data(), Err(ByteStreamError { offset: 4, wanted, left: 2 }));
        assert_eq!(reader.rest().len(), 6, "a failed read leaves the position alone");
    }

    #[test]
    fn the_end_is_reported_with_what_was_wanted() {
        let mut reader = ByteReader::new(&[1, 2, 3]);
        reader.read_u16().unwrap();
        let error = reader.read_u32().unwrap_err();
        assert_eq!(error.to_string(), "4 bytes wanted at offset 2, 1 left");
        assert_eq!(reader.read_u16(), Err(ByteStreamError { offset: 2, wanted: 2, left: 1 }));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a: u16, b: u32, data: Vec<u8>) {
            let mut buf = Vec::new();
            let mut writer = ByteWriter::new(&mut buf);
            writer.write_u16(a);
            writer.write_data(&data);
            writer.write_u32(b);
            let mut reader = ByteReader::new(&buf);
            prop_assert_eq!(reader.read_u16(), Ok(a));
            prop_assert_eq!(reader.read_data(), Ok(data.as_slice()));
            prop_assert_eq!(reader.read_u32(), Ok(b));
            prop_assert!(reader.rest().is_empty());
        }
    }
}
