//! Rust source to a list of items with their paths, lines and doc lines.
//!
//! Not a Rust parser: it knows where items begin and end, and nothing of what is inside functions.

use std::collections::{BTreeMap, BTreeSet};

use super::lexer::{self, Kind, Token};
use super::tree::{SourceFile, Tree};

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ItemKind {
    Module,
    Fn,
    /// Struct, enum, union, trait or type alias: what a method or field may belong to.
    Type,
    /// Constant, static or macro.
    Other,
    /// Field or enum variant.
    Member,
}

#[derive(Clone, Debug)]
pub(super) struct DocLine {
    pub(super) text: String,
    pub(super) line: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Item {
    /// `netlib::event_dispatch::EventDispatch::listen`; tests of `tests/it` begin with `it::`.
    pub(super) path: String,
    pub(super) kind: ItemKind,
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) end_line: usize,
    pub(super) docs: Vec<DocLine>,
    /// Carries `#[test]`.
    pub(super) is_test: bool,
    /// Lies in a test module.
    pub(super) test_code: bool,
}

/// Every item of `src` and `tests`.
#[derive(Debug, Default)]
pub(super) struct Code {
    pub(super) items: Vec<Item>,
    by_path: BTreeMap<String, Vec<usize>>,
}

impl Code {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut raw = Vec::new();
        for file in tree.rust_files(&["src", "tests"]) {
            scan_file(file, &mut raw);
        }
        let items = resolve(raw);
        let mut by_path = BTreeMap::<String, Vec<usize>>::new();
        for (at, item) in items.iter().enumerate() {
            by_path.entry(item.path.clone()).or_default().push(at);
        }
        Self { items, by_path }
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    pub(super) fn is_test(&self, path: &str) -> bool {
        self.by_path.get(path).is_some_and(|found| found.iter().any(|&at| self.items[at].is_test))
    }

    /// The paths that end like a wrong one: what its author may have meant.
    pub(super) fn similar(&self, path: &str) -> String {
        let name = path.rsplit("::").next().unwrap_or(path);
        let tail = format!("::{name}");
        let found: Vec<&str> = self.by_path.keys().map(String::as_str).collect();
        let mut found: Vec<&str> = found.into_iter().filter(|p| p.ends_with(&tail)).collect();
        found.truncate(3);
        if found.is_empty() { String::new() } else { format!("; similar: {}", found.join(", ")) }
    }
}

/// An item whose impl block may stand in another module than its type.
#[derive(Debug)]
struct Raw {
    module: String,
    owner: Option<String>,
    name: String,
    item: Item,
}

/// Gives every method the path of its type: the type of this name in the same module, else in the
/// nearest module above, else the only one in the tree.
fn resolve(raw: Vec<Raw>) -> Vec<Item> {
    let mut types = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in raw.iter().filter(|r| r.item.kind == ItemKind::Type && r.owner.is_none()) {
        types.entry(entry.name.clone()).or_default().insert(entry.module.clone());
    }
    let place = |module: &str, owner: &str| -> String {
        let Some(known) = types.get(owner) else {
            return join(module, owner);
        };
        let mut above = Some(module);
        while let Some(candidate) = above {
            if known.contains(candidate) {
                return join(candidate, owner);
            }
            above = candidate.rsplit_once("::").map(|(parent, _)| parent);
        }
        match known.first() {
            Some(only) if known.len() == 1 => join(only, owner),
            _ => join(module, owner),
        }
    };
    raw.into_iter()
        .map(|entry| {
            let scope = match &entry.owner {
                Some(owner) => place(&entry.module, owner),
                None => entry.module,
            };
            Item { path: join(&scope, &entry.name), ..entry.item }
        })
        .collect()
}

fn join(scope: &str, name: &str) -> String {
    match (scope, name) {
        ("", name) => name.to_owned(),
        (scope, "") => scope.to_owned(),
        (scope, name) => format!("{scope}::{name}"),
    }
}

/// `src/netlib/timer.rs` is `netlib::timer`, `tests/it/tidy/mod.rs` is `it::tidy`.
pub(super) fn module_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").or_else(|| path.strip_prefix("tests/")).unwrap_or(path);
    let inside = inside.strip_suffix(".rs").unwrap_or(inside);
    let mut parts: Vec<&str> = inside.split('/').collect();
    if matches!(parts.last(), Some(&("mod" | "lib" | "main"))) {
        parts.pop();
    }
    parts.join("::")
}

fn scan_file(file: &SourceFile, out: &mut Vec<Raw>) {
    let module = module_of(&file.path);
    let all = lexer::tokens(&file.text);
    let tokens: Vec<_> = all.into_iter().filter(|t| t.kind != Kind::Comment).collect();
    let in_tests =
        file.path.starts_with("tests/") || module.split("::").any(|part| part == "tests");
    let scope = Scope { module, owner: None, test_code: in_tests };
    let mut parser = Parser { tokens: &tokens, pos: 0, file: &file.path, out };
    let docs = parser.inner_docs();
    let head = Head { docs, ..Head::default() };
    parser.push(&scope, "", ItemKind::Module, head, 1);
    parser.items(&scope);
}

struct Scope {
    module: String,
    owner: Option<String>,
    test_code: bool,
}

/// What stands in front of an item.
#[derive(Default)]
struct Head {
    docs: Vec<DocLine>,
    is_test: bool,
    cfg_test: bool,
}

struct Parser<'a> {
    tokens: &'a [Token<'a>],
    pos: usize,
    file: &'a str,
    out: &'a mut Vec<Raw>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.pos)
    }

    fn at(&self, text: &str) -> bool {
        self.peek().is_some_and(|t| t.is(text))
    }

    fn next_is(&self, text: &str) -> bool {
        self.tokens.get(self.pos + 1).is_some_and(|t| t.is(text))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.at(text);
        self.pos += usize::from(found);
        found
    }

    /// The line of the token just taken.
    fn last_line(&self) -> usize {
        self.tokens.get(self.pos.saturating_sub(1)).map_or(1, |t| t.line)
    }

    fn push(&mut self, scope: &Scope, name: &str, kind: ItemKind, head: Head, line: usize) {
        let item = Item {
            path: String::new(),
            kind,
            file: self.file.to_owned(),
            line,
            end_line: self.last_line(),
            docs: head.docs,
            is_test: head.is_test,
            test_code: scope.test_code || head.cfg_test,
        };
        self.out.push(Raw {
            module: scope.module.clone(),
            owner: scope.owner.clone(),
            name: name.to_owned(),
            item,
        });
    }

    /// All items up to the closing brace of this scope, or to the end of the file.
    fn items(&mut self, scope: &Scope) {
        while self.peek().is_some() && !self.at("}") {
            let before = self.pos;
            self.item(scope);
            if self.pos == before {
                self.pos += 1;
            }
        }
    }

    fn inner_docs(&mut self) -> Vec<DocLine> {
        let mut docs = Vec::new();
        while let Some(token) = self.peek().filter(|t| t.kind == Kind::InnerDoc) {
            docs.push(doc_line(token));
            self.pos += 1;
        }
        docs
    }

    fn head(&mut self) -> Head {
        let mut head = Head::default();
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::OuterDoc => head.docs.push(doc_line(token)),
                Kind::InnerDoc => {}
                _ if token.is("#") => {
                    self.attribute(&mut head);
                    continue;
                }
                _ => break,
            }
            self.pos += 1;
        }
        head
    }

    fn attribute(&mut self, head: &mut Head) {
        self.pos += 1;
        self.eat("!");
        let start = self.pos;
        self.skip_group();
        let idents: Vec<&str> = self.tokens[start..self.pos]
            .iter()
            .filter(|t| t.kind == Kind::Ident)
            .map(|t| t.text)
            .collect();
        head.is_test |= idents == ["test"];
        let conditional = idents.first() == Some(&"cfg");
        head.cfg_test |= conditional && idents.contains(&"test") && !idents.contains(&"not");
    }

    fn modifiers(&mut self) {
        loop {
            if self.eat("pub") {
                if self.at("(") {
                    self.skip_group();
                }
            } else if self.at("extern") && !self.next_is("crate") {
                self.pos += 1;
                if self.peek().is_some_and(|t| t.kind == Kind::Literal) {
                    self.pos += 1;
                }
            } else if self.at("const") && ["fn", "unsafe", "async"].iter().any(|m| self.next_is(m))
            {
                self.pos += 1;
            } else if !(self.eat("unsafe") || self.eat("async")) {
                return;
            }
        }
    }

    fn item(&mut self, scope: &Scope) {
        let head = self.head();
        self.modifiers();
        let Some(keyword) = self.peek().filter(|t| t.kind == Kind::Ident) else {
            if self.at("{") {
                self.skip_group();
            }
            return;
        };
        self.pos += 1;
        match keyword.text {
            "mod" => self.module(scope, head, keyword.line),
            "fn" => self.function(scope, head, keyword.line),
            "struct" | "union" => self.structure(scope, head, keyword.line),
            "enum" => self.enumeration(scope, head, keyword.line),
            "trait" => self.trait_item(scope, head, keyword.line),
            "impl" => self.implementation(scope),
            "type" if scope.owner.is_none() => {
                self.short(scope, ItemKind::Type, head, keyword.line)
            }
            "type" | "const" | "static" => self.short(scope, ItemKind::Other, head, keyword.line),
            "use" | "extern" => self.skip_to(&[";"], true),
            _ => self.macro_call(scope, head, keyword.line),
        }
    }

    fn name(&mut self) -> &'a str {
        self.eat("mut");
        let name = self.peek().filter(|t| t.kind == Kind::Ident).map_or("", |t| t.text);
        self.pos += 1;
        name
    }

    fn module(&mut self, scope: &Scope, mut head: Head, line: usize) {
        let name = self.name();
        // The file of an outlined module speaks for itself.
        if !self.eat("{") {
            self.eat(";");
            return;
        }
        head.docs.extend(self.inner_docs());
        let inner = Scope {
            module: join(&scope.module, name),
            owner: None,
            test_code: scope.test_code || head.cfg_test,
        };
        self.items(&inner);
        self.eat("}");
        self.push(scope, name, ItemKind::Module, head, line);
    }

    fn function(&mut self, scope: &Scope, head: Head, line: usize) {
        let name = self.name();
        self.skip_to(&["{", ";"], false);
        if self.at("{") {
            self.skip_group();
        } else {
            self.pos += 1;
        }
        self.push(scope, name, ItemKind::Fn, head, line);
    }

    fn structure(&mut self, scope: &Scope, head: Head, line: usize) {
        let name = self.name();
        self.skip_to(&["{", ";"], false);
        let inner = Scope { owner: Some(name.to_owned()), module: scope.module.clone(), ..*scope };
        if self.eat("{") {
            while self.peek().is_some() && !self.at("}") {
                let head = self.head();
                self.modifiers();
                let Some(field) = self.peek() else { break };
                self.pos += 1;
                self.skip_type();
                self.push(&inner, field.text, ItemKind::Member, head, field.line);
                self.eat(",");
            }
        }
        self.pos += 1;
        self.push(scope, name, ItemKind::Type, head, line);
    }

    fn enumeration(&mut self, scope: &Scope, head: Head, line: usize) {
        let name = self.name();
        self.skip_to(&["{"], true);
        let inner = Scope { owner: Some(name.to_owned()), module: scope.module.clone(), ..*scope };
        while self.peek().is_some() && !self.at("}") {
            let head = self.head();
            let Some(variant) = self.peek().filter(|t| t.kind == Kind::Ident) else {
                break;
            };
            self.skip_to(&[",", "}"], false);
            self.push(&inner, variant.text, ItemKind::Member, head, variant.line);
            self.eat(",");
        }
        self.pos += 1;
        self.push(scope, name, ItemKind::Type, head, line);
    }

    fn trait_item(&mut self, scope: &Scope, head: Head, line: usize) {
        let name = self.name();
        self.skip_to(&["{"], true);
        self.owned_items(scope, name);
        self.push(scope, name, ItemKind::Type, head, line);
    }

    fn implementation(&mut self, scope: &Scope) {
        let start = self.pos;
        self.skip_to(&["{"], false);
        let owner = self_type(&self.tokens[start..self.pos]);
        self.pos += 1;
        self.owned_items(scope, owner);
    }

    fn owned_items(&mut self, scope: &Scope, owner: &str) {
        let inner = Scope { owner: Some(owner.to_owned()), module: scope.module.clone(), ..*scope };
        self.items(&inner);
        self.eat("}");
    }

    fn short(&mut self, scope: &Scope, kind: ItemKind, head: Head, line: usize) {
        let name = self.name();
        self.skip_to(&[";"], true);
        if name != "_" {
            self.push(scope, name, kind, head, line);
        }
    }

    fn macro_call(&mut self, scope: &Scope, head: Head, line: usize) {
        let name = self.tokens[self.pos - 1].text;
        if name == "macro_rules" && self.eat("!") {
            let defined = self.name();
            self.skip_group();
            self.push(scope, defined, ItemKind::Other, head, line);
        } else if name == "proptest" && self.at("!") && self.next_is("{") {
            self.pos += 2;
            self.items(scope);
            self.eat("}");
        } else if self.eat("!") {
            self.skip_group();
        }
        self.eat(";");
    }

    /// Moves to one of these tokens, outside all brackets, and behind it if `take`.
    fn skip_to(&mut self, stops: &[&str], take: bool) {
        while let Some(token) = self.peek() {
            if stops.iter().any(|stop| token.is(stop)) {
                self.pos += usize::from(take);
                return;
            }
            if ["(", "[", "{"].iter().any(|open| token.is(open)) {
                self.skip_group();
            } else {
                self.pos += 1;
            }
        }
    }

    /// Moves over the type of a field, to the comma or brace that ends it.
    fn skip_type(&mut self) {
        let mut angles = 0_i32;
        while let Some(token) = self.peek() {
            if angles == 0 && (token.is(",") || token.is("}")) {
                return;
            }
            angles += i32::from(token.is("<")) - i32::from(token.is(">"));
            if ["(", "[", "{"].iter().any(|open| token.is(open)) {
                self.skip_group();
            } else {
                self.pos += 1;
            }
        }
    }

    /// Moves behind the bracket that closes the one here.
    fn skip_group(&mut self) {
        let mut depth = 0_usize;
        while let Some(token) = self.peek() {
            self.pos += 1;
            if token.kind == Kind::Punct {
                match token.text {
                    "(" | "[" | "{" => depth += 1,
                    ")" | "]" | "}" => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            if depth == 0 {
                return;
            }
        }
    }
}

fn doc_line(token: &Token<'_>) -> DocLine {
    let text = token.text.strip_prefix(' ').unwrap_or(token.text);
    DocLine { text: text.to_owned(), line: token.line }
}

/// The name in `impl<T> Trait<T> for path::Name<T> where ..`.
fn self_type<'a>(header: &[Token<'a>]) -> &'a str {
    let mut angles = 0_i32;
    let mut name = "";
    for token in header {
        angles += i32::from(token.is("<")) - i32::from(token.is(">"));
        if angles != 0 || token.kind != Kind::Ident {
            continue;
        }
        match token.text {
            "where" => break,
            "for" => name = "",
            "dyn" | "mut" | "const" => {}
            text => name = text,
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(files: &[(&str, &str)]) -> Code {
        Code::of(&Tree::of(files))
    }

    fn paths(source: &str) -> Vec<String> {
        let mut paths: Vec<_> =
            code(&[("src/a/b.rs", source)]).items.into_iter().map(|i| i.path).collect();
        paths.sort();
        paths
    }

    #[test]
    fn files_become_modules() {
        let modules =
            ["src/lib.rs", "src/netlib/mod.rs", "src/netlib/timer.rs", "tests/it/main.rs"];
        assert_eq!(modules.map(module_of), ["", "netlib", "netlib::timer", "it"]);
        assert_eq!(module_of("tests/it/tidy/mod.rs"), "it::tidy");
        assert_eq!(module_of("src/bin/login_server.rs"), "bin::login_server");
    }

    #[test]
    fn every_kind_of_item_is_found() {
        let source = "
            pub(crate) const fn f<const N: usize>(x: [u8; 4]) -> u8 { g::<{ 1 }>(); 0 }
            pub struct Unit;
            struct Tuple(Vec<u8>, u8);
            struct Fields<T> where T: Fn(u8) -> u8 { pub map: HashMap<u8, Vec<T>>, n: [u8; 2] }
            enum E { A, B(u8), C { x: u8 }, D = 4 }
            trait T: Send { const K: u8; type Out; fn m(&self); fn d() {} }
            type Alias = fn(u8) -> u8;
            const C: [u8; 2] = [{ 1 }, 2];
            static S: u8 = 1;
            macro_rules! m { ($x:expr) => { fn no() {} } }
            const _: () = assert!(true);
            use a::{b, c};
        ";
        let expected = "a::b a::b::Alias a::b::C a::b::E a::b::E::A a::b::E::B a::b::E::C \
            a::b::E::D a::b::Fields a::b::Fields::map a::b::Fields::n a::b::S a::b::T \
            a::b::T::K a::b::T::Out a::b::T::d a::b::T::m a::b::Tuple a::b::Unit a::b::f a::b::m";
        assert_eq!(paths(source).join(" "), expected);
    }

    #[test]
    fn methods_belong_to_the_type_of_the_impl() {
        let source = "
            struct X<T>(T);
            impl<T: Into<u8>> X<T> { fn own(&self) { fn inner() {} } }
            impl<'a, T> fmt::Display for X<T> where T: 'a { fn fmt(&self) {} }
            impl From<&str> for other::Foreign { fn from() {} }
        ";
        let expected = "a::b a::b::Foreign::from a::b::X a::b::X::fmt a::b::X::own";
        assert_eq!(paths(source).join(" "), expected);
    }

    #[test]
    fn an_impl_in_another_module_keeps_the_path_of_its_type() {
        let code = code(&[
            ("src/n/mod.rs", "pub struct Loop;"),
            ("src/n/io.rs", "impl super::Loop { fn read() {} }"),
            ("src/m.rs", "impl Loop { fn far() {} }"),
        ]);
        assert!(code.contains("n::Loop::read") && code.contains("n::Loop::far"));
    }

    #[test]
    fn strings_and_comments_hide_items() {
        let source = "/* fn a() {} */ // fn b() {}\nconst S: &str = \"fn c() { }\"; fn d() {}";
        assert_eq!(paths(source), ["a::b", "a::b::S", "a::b::d"]);
    }

    #[test]
    fn tests_are_known_also_inside_proptest() {
        let code = code(&[(
            "src/a.rs",
            "#[cfg(test)] mod tests {
                #[test] fn one() {}
                fn helper() {}
                proptest! {
                    #![proptest_config(Config::with_cases(3))]
                    #[test]
                    fn two(x in vec(any::<u8>(), 0..4), y: u8) { }
                }
            }",
        )]);
        assert!(code.is_test("a::tests::one") && code.is_test("a::tests::two"));
        assert!(!code.is_test("a::tests::helper") && code.contains("a::tests::helper"));
        assert!(code.items.iter().filter(|i| i.path.contains("tests")).all(|i| i.test_code));
    }

    #[test]
    fn docs_and_extent_of_a_function_are_known() {
        let source = "/// One.\n#[inline]\n/// Two.\nfn f(\n) {\n}\n";
        let code = code(&[("src/a.rs", source)]);
        let item = code.items.iter().find(|i| i.path == "a::f").expect("the function is there");
        assert_eq!((item.line, item.end_line), (4, 6));
        assert_eq!(item.docs.iter().map(|d| d.text.as_str()).collect::<Vec<_>>(), ["One.", "Two."]);
    }

    #[test]
    fn a_wrong_path_suggests_the_right_one() {
        let code = code(&[("src/n/x.rs", "pub fn go() {}")]);
        assert_eq!(code.similar("n::go"), "; similar: n::x::go");
    }
}
