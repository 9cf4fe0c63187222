//! What a request says about the part it wants: `Range` and `If-None-Match`.

/// Which bytes of a file a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Range {
    /// All: there is no range, or none that is understood. Several at once are not.
    Whole,
    /// From the first number up to, but not including, the second.
    Part(u64, u64),
    /// The file ends before it.
    Unsatisfiable,
}

impl Range {
    /// Reads a `Range` header for a file of `size` bytes.
    pub fn parse(text: &str, size: u64) -> Self {
        Self::parse_part(text, size).unwrap_or(Self::Whole)
    }

    fn parse_part(text: &str, size: u64) -> Option<Self> {
        let (first, last) = text.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
        let number = |text: &str| {
            // A number that is too large lies behind every file.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let (offset, end) = match (first, last) {
            ("", suffix) => (size.saturating_sub(number(suffix)?), size),
            (first, "") => (number(first)?, size),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                (first, last.saturating_add(1).min(size))
            }
        };
        Some(if offset < end { Self::Part(offset, end) } else { Self::Unsatisfiable })
    }
}

/// Whether an `If-None-Match` header names this content.
pub fn matches(list: &str, etag: &str) -> bool {
    let tag = |item: &str| item.trim().trim_start_matches("W/") == etag;
    list.trim() == "*" || list.split(',').any(tag)
}

#[cfg(test)]
mod tests {
    use super::Range::{Part, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn a_range_lies_within_the_file() {
        for (text, range) in [
            ("bytes=0-0", Part(0, 1)),
            ("bytes=2-5", Part(2, 6)),
            ("bytes=2-", Part(2, 10)),
            ("bytes=9-99999999999999999999999", Part(9, 10)),
            ("bytes=-3", Part(7, 10)),
            ("bytes=-99", Part(0, 10)),
            ("bytes=10-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-4", Whole),
            ("bytes=0-1,3-4", Whole),
            ("bytes=-", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-b", Whole),
            ("items=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(Range::parse(text, 10), range, "{text}");
        }
        assert_eq!(Range::parse("bytes=0-", 0), Unsatisfiable);
        assert_eq!(Range::parse("bytes=-5", 0), Unsatisfiable);
    }

    #[test]
    fn a_client_that_has_the_content_need_not_fetch_it() {
        assert!(matches("\"a\", W/\"b\"", "\"b\"") && matches(" * ", "\"b\""));
        assert!(!matches("\"a\"", "\"b\"") && !matches("", "\"b\""));
    }
}
