//! The files of the repository, or snippets that stand for them.

use std::path::Path;
use std::{fmt, fs, io};

/// Something wrong, where it is, and what to do.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Problem {
    file: String,
    line: usize,
    text: String,
}

impl Problem {
    pub(super) fn new(file: &str, line: usize, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

#[derive(Debug)]
pub(super) struct SourceFile {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Tree {
    files: Vec<SourceFile>,
    /// Files that are not text are known by name.
    others: Vec<String>,
}

impl Tree {
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |&(path, text): &(&str, &str)| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        Self { files: files.iter().map(file).collect(), others: Vec::new() }
    }

    /// Everything below `root` but hidden files and what `.gitignore` names from the root on.
    pub(super) fn load(root: &Path) -> io::Result<Self> {
        let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
        let ignored = ignored.lines().filter_map(|l| l.trim().strip_prefix('/'));
        let ignored: Vec<&str> = ignored.map(|l| l.trim_end_matches('/')).collect();
        let mut tree = Self { files: Vec::new(), others: Vec::new() };
        tree.load_dir(root, "", &ignored)?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn load_dir(&mut self, dir: &Path, prefix: &str, ignored: &[&str]) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            if name.starts_with('.') || ignored.contains(&path.as_str()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.load_dir(&entry.path(), &format!("{path}/"), ignored)?;
            } else if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                self.files.push(SourceFile { path, text });
            } else {
                self.others.push(path);
            }
        }
        Ok(())
    }

    pub(super) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    pub(super) fn get(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|f| f.path == path)
    }

    /// Whether this is a file or a directory with files in it.
    pub(super) fn exists(&self, path: &str) -> bool {
        let dir = format!("{}/", path.trim_end_matches('/'));
        let paths = self.files.iter().map(|f| f.path.as_str());
        paths
            .chain(self.others.iter().map(String::as_str))
            .any(|p| p == path || p.starts_with(&dir))
    }

    /// The Rust files below these directories.
    pub(super) fn rust_files(&self, dirs: &[&str]) -> impl Iterator<Item = &SourceFile> {
        let wanted = move |file: &&SourceFile| {
            let top = file.path.split_once('/').map_or("", |(top, _)| top);
            dirs.contains(&top) && file.path.ends_with(".rs")
        };
        self.files.iter().filter(wanted)
    }

    pub(super) fn has_any(&self, dirs: &[&str]) -> bool {
        self.rust_files(dirs).next().is_some()
    }
}
