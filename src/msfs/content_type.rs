//! What browsers are told a file is.

/// The longest of the beginnings below.
pub const MAGIC_LEN: usize = 8;

/// What is no picture is for programs, not for browsers.
const OTHER: &str = "application/octet-stream";

/// Kinds of pictures that browsers may show, and what their files begin with.
const PICTURES: [(&str, &[u8]); 4] = [
    ("image/jpeg", b"\xff\xd8\xff"),
    ("image/png", b"\x89PNG\r\n\x1a\n"),
    ("image/gif", b"GIF87a"),
    ("image/gif", b"GIF89a"),
];

/// The type of a file by its first bytes, and whether browsers may show it. Its name was chosen by
/// whoever has uploaded it: a page called `.jpg` is still a page.
pub fn content_type(begin: &[u8]) -> (&'static str, bool) {
    let picture = PICTURES.iter().find(|(_, magic)| begin.starts_with(magic));
    picture.map_or((OTHER, false), |(name, _)| (name, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f9_a_picture_is_what_begins_like_one() {
        for (begin, name) in [
            (&b"\xff\xd8\xff\xe0\0\x10JF"[..], "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n", "image/png"),
            (b"GIF89a\x01\0", "image/gif"),
            (b"GIF87a", "image/gif"),
        ] {
            assert_eq!(content_type(begin), (name, true));
        }
        for begin in
            [&b""[..], b"\xff\xd8", b"<html>", b"<svg xml", b"GIF88a<", b"#!AMR\n", b"%PDF-"]
        {
            assert_eq!(content_type(begin), (OTHER, false));
        }
        assert!(PICTURES.iter().all(|(_, magic)| magic.len() <= MAGIC_LEN));
    }
}
