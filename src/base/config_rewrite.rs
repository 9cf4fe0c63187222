//! Changing one value of a configuration file and leaving the rest of it alone.

use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use super::config_file_reader::{trim_space, without_comment};

/// `contents` with the first line that sets `key` changed, or with a line more.
pub(super) fn with_value(contents: &[u8], key: &str, value: &str) -> Vec<u8> {
    let mut line_start = 0;
    for (index, line) in contents.split(|&byte| byte == b'\n').enumerate() {
        if let Some(old) = value_range(without_comment(index + 1, line), key) {
            // The mark before the first line was cut off by without_comment.
            let mark = if index == 0 && line.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let start = line_start + mark;
            let (before, after) = (&contents[..start + old.start], &contents[start + old.end..]);
            return [before, value.as_bytes(), after].concat();
        }
        line_start += line.len() + 1;
    }
    let line_end = if contents.is_empty() || contents.ends_with(b"\n") { "" } else { "\n" };
    [contents, format!("{line_end}{key}={value}\n").as_bytes()].concat()
}

/// Where the value stands in a line that sets `key`.
fn value_range(text: &[u8], key: &str) -> Option<Range<usize>> {
    let is_blank = |byte: &u8| b" \t\r".contains(byte);
    let equal = text.iter().position(|&byte| byte == b'=')?;
    let start = equal + 1 + text[equal + 1..].iter().position(|byte| !is_blank(byte))?;
    let end = text.iter().rposition(|byte| !is_blank(byte))? + 1;
    (trim_space(&String::from_utf8_lossy(&text[..equal])) == key).then_some(start..end)
}

/// Writes beside the file and renames, so that a crash leaves the old file or the new one.
pub(super) fn replace_file(path: &Path, contents: &[u8]) -> io::Result<()> {
    // Renaming onto a symbolic link would replace the link.
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    let written = write();
    if written.is_err() {
        // Nothing to add to the first error if this one fails too.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::config_file_reader::ConfigFileReader;
    use super::*;

    #[test]
    fn only_the_bytes_of_the_value_are_replaced() {
        let with = |before: &[u8]| with_value(before, "a", "new");
        assert_eq!(with(b"\xef\xbb\xbf a = \xff\xfe #c\r\n"), b"\xef\xbb\xbf a = new #c\r\n");
        assert_eq!(with(b"a==\t=\r\nb"), b"a=new\r\nb");
        assert_eq!(with(b""), b"a=new\n");
    }

    proptest! {
        #[test]
        fn a_value_set_is_the_value_read(
            before in "[ab=# \t\r\n1]{0,40}",
            value in "[a-z=]([a-z =]{0,8}[a-z=])?",
        ) {
            let after = with_value(before.as_bytes(), "a", &value);
            let mut config = ConfigFileReader::parse(Path::new("x"), &after);
            prop_assert_eq!(config.get::<String>("a").unwrap(), value);
            let mut old = ConfigFileReader::parse(Path::new("x"), before.as_bytes());
            for key in ["b", "1", "ab"] {
                prop_assert_eq!(
                    config.get_opt::<String>(key).unwrap(),
                    old.get_opt::<String>(key).unwrap()
                );
            }
        }
    }
}
