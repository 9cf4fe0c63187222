//! The `C++:` and `Differs:` lines of the code.

use super::lexer::{self, Kind};
use super::scan::{Code, DocLine, Item, ItemKind};
use super::tree::{Problem, Tree};

const CITE: &str = "C++:";
const DIFFERS: &str = "Differs:";

/// Where an item comes from.
#[derive(Debug)]
pub(super) struct Cite<'a> {
    pub(super) item: &'a Item,
    pub(super) line: usize,
    /// Below `server/src`.
    pub(super) file: &'a str,
    pub(super) symbol: &'a str,
}

/// What an item does otherwise than its original.
#[derive(Debug)]
pub(super) struct Differs<'a> {
    pub(super) item: &'a Item,
    pub(super) line: usize,
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Cites<'a> {
    pub(super) cites: Vec<Cite<'a>>,
    pub(super) differs: Vec<Differs<'a>>,
    /// Lines that do not have the one form.
    pub(super) problems: Vec<Problem>,
}

impl<'a> Cites<'a> {
    pub(super) fn of(tree: &Tree, code: &'a Code) -> Self {
        let mut cites = Self::default();
        for item in code.items.iter().filter(|item| item.file.starts_with("src/")) {
            cites.read(item);
        }
        cites.find_stray(tree, code);
        cites
    }

    fn read(&mut self, item: &'a Item) {
        let docs = &item.docs;
        if item.kind == ItemKind::Module {
            return self.read_module(item);
        }
        let Some(at) = docs.iter().position(|d| d.text.starts_with(CITE)) else {
            if let Some(line) = docs.iter().find(|d| d.text.starts_with(DIFFERS)) {
                self.wrong(item, line, "a `Differs:` line stands behind a `C++:` line");
            }
            return;
        };
        self.read_cite(item, &docs[at]);
        for line in &docs[..at] {
            if line.text.starts_with(DIFFERS) {
                self.wrong(item, line, "a `Differs:` line stands behind the `C++:` line");
            }
        }
        for line in &docs[at + 1..] {
            let follows = self.differs.last().is_some_and(|d| d.line > docs[at].line);
            if line.text.starts_with(CITE) {
                self.wrong(item, line, "an item has one `C++:` line; name the others in the map");
            } else if line.text.is_empty() || !self.read_differs(item, line, follows) {
                self.wrong(item, line, "only `Differs:` lines may follow the `C++:` line");
                return;
            }
        }
    }

    /// A module may have an origin and differ as well; its page goes on behind that.
    fn read_module(&mut self, item: &'a Item) {
        let mut inside = false;
        for line in &item.docs {
            if line.text.starts_with(CITE) {
                self.read_cite(item, line);
                inside = false;
            } else {
                inside = !line.text.is_empty() && self.read_differs(item, line, inside);
            }
        }
    }

    fn read_cite(&mut self, item: &'a Item, line: &'a DocLine) {
        match parse(&line.text) {
            Ok((file, symbol)) => {
                self.cites.push(Cite { item, line: line.line, file, symbol });
            }
            Err(why) => self.wrong(item, line, why),
        }
    }

    /// Takes a `Differs:` line, or one that goes on with it if there is one to go on with.
    fn read_differs(&mut self, item: &'a Item, line: &DocLine, follows: bool) -> bool {
        if let Some(text) = line.text.strip_prefix(DIFFERS) {
            let text = text.trim().to_owned();
            self.differs.push(Differs { item, line: line.line, text });
            return true;
        }
        if let Some(last) = self.differs.last_mut().filter(|_| follows) {
            last.text = format!("{} {}", last.text, line.text.trim());
        }
        follows
    }

    fn wrong(&mut self, item: &Item, line: &DocLine, why: &str) {
        self.problems.push(Problem::new(&item.file, line.line, format!("{}: {why}", item.path)));
    }

    /// Lines that document no item: in a function, above an impl block, in a plain comment.
    fn find_stray(&mut self, tree: &Tree, code: &Code) {
        for file in tree.rust_files(&["src"]) {
            let items = code.items.iter().filter(|item| item.file == file.path);
            let known: Vec<usize> = items.flat_map(|item| &item.docs).map(|d| d.line).collect();
            for token in lexer::tokens(&file.text) {
                let comment = matches!(token.kind, Kind::OuterDoc | Kind::InnerDoc | Kind::Comment);
                let text = token.text.trim_start();
                let ours = text.starts_with(CITE) || text.starts_with(DIFFERS);
                if comment && ours && !known.contains(&token.line) {
                    let why = "this line documents no item: move it to the doc comment of one";
                    self.problems.push(Problem::new(&file.path, token.line, why));
                }
            }
        }
    }
}

/// Takes `C++: base/imconn.cpp CImConn::OnRead` apart.
fn parse(text: &str) -> Result<(&str, &str), &'static str> {
    let words: Vec<&str> = text.split(' ').collect();
    let &[CITE, file, symbol] = words.as_slice() else {
        return Err("the form is `C++: path symbol`: one file, one symbol, single blanks");
    };
    if file.starts_with("server/") || !file.contains('/') {
        return Err("the path is relative to server/src, as in base/imconn.cpp");
    }
    if stem(file).is_none() {
        return Err("the path ends in .h, .hpp or .cpp, without a line number");
    }
    if symbol.contains(['(', ',', '`']) {
        return Err("the symbol is a bare name, as in CImConn::OnRead");
    }
    Ok((file, symbol))
}

/// A C++ file without its extension: what header and source have in common.
pub(super) fn stem(file: &str) -> Option<&str> {
    [".cpp", ".hpp", ".h"].iter().find_map(|ext| file.strip_suffix(ext))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(source: &str) -> Vec<String> {
        let tree = Tree::of(&[("src/a.rs", source)]);
        let code = Code::of(&tree);
        Cites::of(&tree, &code).problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn the_lines_of_an_item_are_read() {
        let source = "/// Reads.\n///\n/// C++: base/imconn.cpp CImConn::OnRead\n\
            /// Differs: reads all (F33),\n/// then reports.\n/// Differs: more.\nfn f() {}\n";
        let tree = Tree::of(&[("src/a.rs", source)]);
        let code = Code::of(&tree);
        let found = Cites::of(&tree, &code);
        assert_eq!(found.problems, []);
        assert_eq!(
            (found.cites[0].file, found.cites[0].symbol),
            ("base/imconn.cpp", "CImConn::OnRead")
        );
        let texts: Vec<_> = found.differs.iter().map(|d| (d.line, d.text.as_str())).collect();
        assert_eq!(texts, [(4, "reads all (F33), then reports."), (6, "more.")]);
        assert_eq!(found.differs[0].item.path, "a::f");
    }

    #[test]
    fn every_other_form_is_refused() {
        for wrong in [
            "C++: base/imconn.cpp",
            "C++: base/imconn.cpp  f",
            "C++: base/imconn.cpp f, g",
            "C++: base/imconn.cpp:12 f",
            "C++: base/imconn.cpp f()",
            "C++: server/src/base/imconn.cpp f",
            "C++: imconn.cpp f",
            "C++: base/imconn.rs f",
        ] {
            let found = problems(&format!("/// {wrong}\nfn f() {{}}\n"));
            assert_eq!(found.len(), 1, "{wrong}");
            assert!(found[0].starts_with("src/a.rs:1: a::f: "), "{}", found[0]);
        }
    }

    #[test]
    fn the_order_of_the_lines_is_fixed() {
        let behind = "/// C++: base/a.cpp f\n/// More.\nfn f() {}\n";
        assert!(problems(behind)[0].contains("src/a.rs:2: a::f: only `Differs:` lines"));
        let before = "/// Differs: x.\n/// C++: base/a.cpp f\nfn f() {}\n";
        assert!(problems(before)[0].contains("src/a.rs:1:"));
        let alone = "/// Differs: x.\nfn f() {}\n";
        assert!(problems(alone)[0].contains("src/a.rs:1:"));
        let twice = "/// C++: base/a.cpp f\n/// C++: base/a.cpp g\nfn f() {}\n";
        assert!(problems(twice)[0].contains("src/a.rs:2: a::f: an item has one"));
    }

    #[test]
    fn a_module_differs_in_one_paragraph() {
        let tree =
            Tree::of(&[("src/a.rs", "//! One.\n//!\n//! Differs: x\n//! y.\n//!\n//! - z\n")]);
        let code = Code::of(&tree);
        let found = Cites::of(&tree, &code);
        assert_eq!(found.problems, []);
        let texts: Vec<_> = found.differs.iter().map(|d| (&*d.item.path, &*d.text)).collect();
        assert_eq!(texts, [("a", "x y.")]);
    }

    #[test]
    fn a_line_without_an_item_is_found() {
        let source = "fn f() {\n    // Differs: x.\n}\n/// C++: base/a.cpp C\nimpl C {}\n";
        let found = problems(source);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("src/a.rs:2: ") && found[1].starts_with("src/a.rs:4: "));
    }
}
