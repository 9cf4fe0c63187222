//! The file of an upload: `multipart/form-data`, as far as clients use it.

use thiserror::Error;

use super::file_manager::FILE_SIZE_MAX;

/// The longest boundary that is looked for; RFC 2046 allows 70.
const BOUNDARY_LEN_MAX: usize = 200;
const FILE_NAME_LEN_MAX: usize = 255;
/// Beyond it the original answers error_code 9.
const TYPE_LEN_MAX: usize = 15;
/// Beyond it a type is no file extension.
const EXTENSION_LEN_MAX: usize = 10;

/// Why an upload is refused; [`UploadError::code`] is the `error_code` of the answer.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UploadError {
    /// More than [`FILE_SIZE_MAX`].
    #[error("the file is too large")]
    FileTooLarge,
    /// The part has no such header.
    #[error("no content-disposition")]
    NoContentDisposition,
    /// There is no file name, or it has no end.
    #[error("no file name")]
    NoFileName,
    /// The request has no boundary.
    #[error("no boundary in the header")]
    NoBoundary,
    /// The body does not begin a part.
    #[error("the boundary is not in the body")]
    BoundaryNotFound,
    /// The part has no such header.
    #[error("no content-type of the part")]
    NoPartContentType,
    /// The headers of the part do not end.
    #[error("no blank line after the headers of the part")]
    NoBlankLine,
    /// The file does not end.
    #[error("no closing boundary")]
    NoClosingBoundary,
    /// More than 15 characters behind the last dot.
    #[error("the file type is too long")]
    TypeTooLong,
    /// The file name has no type.
    #[error("no dot in the file name")]
    NoDot,
    /// More than 255 bytes.
    #[error("the file name is too long")]
    FileNameTooLong,
    /// Not of letters and digits, or more than ten. New: the original made a path of it.
    #[error("the file type is no file extension")]
    BadType,
    /// The address has uploaded too often or too much. New.
    #[error("too many uploads from this address")]
    TooMany,
    /// Everybody together uploads too much. New.
    #[error("too many uploads at the same time")]
    Busy,
}

impl UploadError {
    /// The number clients know it by.
    pub fn code(self) -> u32 {
        match self {
            Self::FileTooLarge => 1,
            Self::NoContentDisposition => 2,
            Self::NoFileName => 3,
            Self::NoBoundary => 4,
            Self::BoundaryNotFound => 5,
            Self::NoPartContentType => 6,
            Self::NoBlankLine => 7,
            Self::NoClosingBoundary => 8,
            Self::TypeTooLong => 9,
            Self::NoDot => 10,
            Self::FileNameTooLong => 11,
            Self::BadType => 12,
            Self::TooMany => 13,
            Self::Busy => 14,
        }
    }
}

/// The file of an upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upload<'a> {
    /// What its stored name ends with: `.jpg`, or `_100x80.jpg`.
    pub extend: String,
    /// Its bytes.
    pub content: &'a [u8],
}

impl<'a> Upload<'a> {
    /// Finds the first file in the body of a request with this `Content-Type`.
    ///
    /// # Errors
    /// See [`UploadError`].
    ///
    /// C++: msfs/HttpConn.cpp CHttpTask::OnUpload
    /// Differs: parts are told apart before their headers are read, so a form field in front of the
    /// file does no harm, and no length is taken on trust (F119, F120).
    pub fn parse(content_type: &str, body: &'a [u8]) -> Result<Self, UploadError> {
        let boundary = param(content_type, "boundary")
            .filter(|boundary| (1..=BOUNDARY_LEN_MAX).contains(&boundary.len()))
            .ok_or(UploadError::NoBoundary)?;
        let delimiter = format!("\r\n--{boundary}");
        // The first delimiter may stand at the very beginning, without the line end in front.
        let mut rest = match body.strip_prefix(&delimiter.as_bytes()[2..]) {
            Some(rest) => rest,
            None => {
                split_at_delimiter(body, delimiter.as_bytes())
                    .ok_or(UploadError::BoundaryNotFound)?
                    .1
            }
        };
        let mut missing = UploadError::NoContentDisposition;
        while !rest.starts_with(b"--") {
            // What follows the boundary on its line is padding.
            let (head, data) = split_at(rest, b"\r\n\r\n").ok_or(UploadError::NoBlankLine)?;
            let (content, next) = split_at_delimiter(data, delimiter.as_bytes())
                .ok_or(UploadError::NoClosingBoundary)?;
            match Part::parse(head) {
                Ok(part) => return part.into_upload(content),
                Err(error) => missing = error,
            }
            rest = next;
        }
        Err(missing)
    }
}

/// What the headers of a part say.
struct Part {
    file_name: String,
    has_content_type: bool,
}

impl Part {
    /// The part of a file, or why it is none.
    fn parse(head: &[u8]) -> Result<Self, UploadError> {
        let head = String::from_utf8_lossy(head);
        let header = |name: &str| {
            head.split("\r\n")
                .filter_map(|line| line.split_once(':'))
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
        };
        let disposition = header("content-disposition").ok_or(UploadError::NoContentDisposition)?;
        let file_name = param(disposition, "filename").ok_or(UploadError::NoFileName)?;
        Ok(Self { file_name, has_content_type: header("content-type").is_some() })
    }

    fn into_upload(self, content: &[u8]) -> Result<Upload<'_>, UploadError> {
        if self.file_name.len() > FILE_NAME_LEN_MAX {
            return Err(UploadError::FileNameTooLong);
        }
        let extend = extend(&self.file_name)?;
        if !self.has_content_type {
            return Err(UploadError::NoPartContentType);
        }
        if content.len() > FILE_SIZE_MAX {
            return Err(UploadError::FileTooLarge);
        }
        Ok(Upload { extend, content })
    }
}

/// What is kept of the name a client gave: its type, and the size of a picture.
/// The type is of letters and digits (F118), and width and height are numbers: the original took
/// `my_box.jpg` for a picture of 0x0.
fn extend(file_name: &str) -> Result<String, UploadError> {
    let (stem, file_type) = file_name.rsplit_once('.').ok_or(UploadError::NoDot)?;
    if file_type.len() > TYPE_LEN_MAX {
        return Err(UploadError::TypeTooLong);
    }
    let is_extension = (1..=EXTENSION_LEN_MAX).contains(&file_type.len())
        && file_type.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_extension {
        return Err(UploadError::BadType);
    }
    let number = |text: &str| {
        let digits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok())?
    };
    let size = stem.rsplit_once('_').and_then(|(_, size)| {
        let (width, height) = size.split_once('x')?;
        Some((number(width)?, number(height)?))
    });
    Ok(match size {
        Some((width, height)) => format!("_{width}x{height}.{file_type}"),
        None => format!(".{file_type}"),
    })
}

/// A parameter behind the first `;` of a header value, quoted or not. `None` also when a quoted one
/// does not end.
fn param(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        // A parameter without value may stand in front.
        let key = key.rsplit_once(';').map_or(key, |(_, key)| key).trim();
        let (found, behind) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let (plain, behind) = after.split_once(';').unwrap_or((after, ""));
                (plain.trim().to_owned(), behind)
            }
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = behind;
    }
}

/// The text up to the closing quote, and what follows that.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((text, &quoted[at + 1..])),
            // Only these are escaped: browsers of old send Windows paths with single backslashes.
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => {
                text.extend(chars.next().map(|(_, char)| char));
            }
            _ => text.push(char),
        }
    }
    None
}

/// What stands before and behind the first delimiter. One that goes on is a line of the content.
fn split_at_delimiter<'a>(bytes: &'a [u8], delimiter: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut from = 0;
    loop {
        let (before, behind) = split_at(&bytes[from..], delimiter)?;
        let ends = [&b"--"[..], b"\r\n", b" ", b"\t"].iter().any(|end| behind.starts_with(end));
        if ends || behind.is_empty() {
            return Some((&bytes[..from + before.len()], behind));
        }
        from += before.len() + 1;
    }
}

/// What stands before and behind the first `needle`.
fn split_at<'a>(bytes: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (&first, others) = needle.split_first()?;
    let mut from = 0;
    loop {
        let at = from + bytes[from..].iter().position(|&byte| byte == first)?;
        if bytes[at + 1..].starts_with(others) {
            return Some((&bytes[..at], &bytes[at + needle.len()..]));
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::UploadError::*;
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=B";

    fn body(disposition: &str) -> String {
        format!(
            "--B\r\nContent-Disposition: {disposition}\r\nContent-Type:image/jpg\r\n\r\nx\r\n--B--"
        )
    }

    fn named(file_name: &str) -> Result<String, UploadError> {
        let body = body(&format!("form-data; name=\"file\"; filename=\"{file_name}\""));
        Upload::parse(TYPE, body.as_bytes()).map(|upload| upload.extend)
    }

    #[test]
    fn what_clients_send_is_taken() {
        let content = b"\0\r\n--\r\n--Boundary\xff\r\n";
        for (boundary, quoted) in [("B", false), ("B b", true), ("----WebKit8riB", false)] {
            for tail in ["--", "--\r\n", "--\r\n\r\n", ""] {
                let mut body = format!(
                    "--{boundary}\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nv\r\n\
                     --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; \
                     filename=\"a.b.Jpg\"\r\nContent-Type:image/jpg\r\n\r\n"
                )
                .into_bytes();
                body.extend_from_slice(content);
                body.extend_from_slice(format!("\r\n--{boundary}{tail}").as_bytes());
                let quote = if quoted { "\"" } else { "" };
                let content_type =
                    format!("multipart/form-data;charset=utf-8; boundary={quote}{boundary}{quote}");
                let upload = Upload::parse(&content_type, &body).unwrap();
                assert_eq!((upload.extend.as_str(), upload.content), (".Jpg", &content[..]));
            }
        }
        let empty = "preamble\r\n--B\r\nContent-Disposition: form-data; filename=1.audio\r\n\
                     Content-Type:\r\n\r\n\r\n--B--\r\n";
        assert_eq!(Upload::parse(TYPE, empty.as_bytes()).unwrap().content, b"");
    }

    #[test]
    fn width_and_height_of_a_picture_are_kept() {
        for (name, extend) in [
            ("a_100x80.jpg", "_100x80.jpg"),
            ("a_b_0100x0.PNG", "_100x0.PNG"),
            ("a_10000x1.jpg", ".jpg"),
            ("a_1x10000.jpg", ".jpg"),
            ("a_1x2x3.jpg", ".jpg"),
            ("my_box.jpg", ".jpg"),
            ("a_x.jpg", ".jpg"),
            ("a_-1x+1.jpg", ".jpg"),
            ("100x80.jpg", ".jpg"),
            ("C:\\dir\\a_1x2.gif", "_1x2.gif"),
        ] {
            assert_eq!(named(name).unwrap(), extend, "{name}");
        }
    }

    #[test]
    fn each_defect_has_its_number() {
        let file = "form-data; filename=\"a.jpg\"";
        let good = body(file);
        let long = format!("form-data; filename=\"{}.jpg\"", "a".repeat(252));
        for (content_type, body, error, code) in [
            (TYPE, good.replace("Disposition", "Position"), NoContentDisposition, 2),
            (TYPE, body("form-data; name=\"file\""), NoFileName, 3),
            ("multipart/form-data", good.clone(), NoBoundary, 4),
            ("multipart/form-data; boundary=", good.clone(), NoBoundary, 4),
            ("multipart/form-data; boundary=C", good.clone(), BoundaryNotFound, 5),
            (TYPE, good.replace("Content-Type", "Type"), NoPartContentType, 6),
            (TYPE, good.replace("\r\n\r\n", "\r\n"), NoBlankLine, 7),
            (TYPE, good.replace("\r\n--B--", ""), NoClosingBoundary, 8),
            (TYPE, body("form-data; filename=\"a.abcdefghijklmnop\""), TypeTooLong, 9),
            (TYPE, body("form-data; filename=\"jpg\""), NoDot, 10),
            (TYPE, body(&long), FileNameTooLong, 11),
            (TYPE, body("form-data; filename=\"a.abcdefghijk\""), BadType, 12),
        ] {
            let found = Upload::parse(content_type, body.as_bytes()).unwrap_err();
            assert_eq!((found, found.code()), (error, code));
        }
        assert_eq!(Upload::parse(TYPE, b"--B--"), Err(NoContentDisposition));
    }

    #[test]
    fn f118_only_letters_and_digits_become_part_of_a_path() {
        for name in ["a.", "a.j/g", "a./etc", "a.j g", "a.j\\g", "a.jp\u{f6}", "a.\0", "a.j-g"] {
            assert_eq!(named(name), Err(BadType), "{name:?}");
        }
        assert_eq!(named("../../a.0123456789").unwrap(), ".0123456789");
    }

    #[test]
    fn f119_a_file_name_without_its_second_quote_is_none() {
        let body = body("form-data; filename=\"a.jpg");
        assert_eq!(Upload::parse(TYPE, body.as_bytes()), Err(NoFileName));
        assert_eq!(named("a\\\".jpg").unwrap(), ".jpg");
    }

    #[test]
    fn f121_a_file_above_the_limit_is_refused() {
        let body_of = |len: usize| {
            body("a; filename=a.jpg").replace("\r\nx\r\n", &format!("\r\n{}\r\n", "x".repeat(len)))
        };
        let fits = body_of(FILE_SIZE_MAX);
        assert_eq!(Upload::parse(TYPE, fits.as_bytes()).unwrap().content.len(), FILE_SIZE_MAX);
        let too_large = body_of(FILE_SIZE_MAX + 1);
        assert_eq!(Upload::parse(TYPE, too_large.as_bytes()), Err(FileTooLarge));
        assert_eq!(FileTooLarge.code(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(
            content_type in "(multipart/form-data; boundary=B?|.*)",
            pieces in prop::collection::vec(prop_oneof![
                Just(b"--B".to_vec()), Just(b"\r\n".to_vec()), Just(b"\r\n\r\n".to_vec()),
                Just(b"Content-Disposition: a; filename=".to_vec()), Just(b"\"".to_vec()),
                Just(b"a_1x2.jpg".to_vec()), Just(b"Content-Type:".to_vec()),
                prop::collection::vec(any::<u8>(), 0..9),
            ], 0..30),
        ) {
            let body = pieces.concat();
            if let Ok(upload) = Upload::parse(&content_type, &body) {
                prop_assert!(upload.content.len() < body.len());
                let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"._".contains(&byte);
                prop_assert!(upload.extend.bytes().all(is_char));
            }
        }
    }
}
