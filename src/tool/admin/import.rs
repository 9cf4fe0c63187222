//! `teamtalk user import`: many users from a table.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::json;

use super::csv::{self, Record};
use super::depart::check_name;
use super::{departs, find_depart, plain, stored};
use crate::db_proxy_server::business::Business;
use crate::db_proxy_server::business::depart_model;
use crate::db_proxy_server::business::user_model::{self, NewUser};
use crate::storage::{DbError, Transaction};
use crate::tool::output::Output;
use crate::tool::progress::progress;

/// A larger file is refused: a user takes some 100 bytes.
pub const CSV_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Most mistakes that are told at once.
const MISTAKES_SHOWN_MAX: usize = 50;

/// The columns that are known.
const COLUMNS: [&str; 7] = ["name", "nick", "password", "sex", "department", "phone", "email"];

/// A user as somebody typed him.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) nick: String,
    pub(super) password: String,
    pub(super) sex: String,
    pub(super) department: String,
    pub(super) phone: String,
    pub(super) email: String,
}

impl Person {
    /// The user he will be, without department and password, or all that is wrong with him.
    pub(super) fn check(&self) -> Result<NewUser, Vec<String>> {
        let nick = if self.nick.is_empty() { &self.name } else { &self.nick };
        let mut user = NewUser {
            name: self.name.clone(),
            nick: nick.clone(),
            phone: self.phone.clone(),
            email: self.email.clone(),
            ..NewUser::default()
        };
        let mut mistakes = user.mistakes();
        user.sex = match self.sex.to_ascii_lowercase().as_str() {
            "" | "0" | "unknown" => 0,
            "1" | "m" | "male" | "男" => 1,
            "2" | "f" | "female" | "女" => 2,
            other => {
                mistakes.push(format!("sex is {other}, not male, female or nothing"));
                0
            }
        };
        if mistakes.is_empty() { Ok(user) } else { Err(mistakes) }
    }
}

/// A line of the file that is right, so far as the file alone tells.
#[derive(Debug)]
struct Line {
    line: usize,
    user: NewUser,
    password: String,
    department: String,
}

/// Mistakes with the lines they are on.
type Mistakes = Vec<(usize, String)>;

/// Adds the users of a file, all or none.
pub(super) fn run(
    business: &Business,
    output: &Output,
    file: &Path,
    check: bool,
    add_departs: bool,
) -> anyhow::Result<()> {
    let name = file.display().to_string();
    let text = read(file).with_context(|| name.clone())?;
    let records = csv::parse(&text).with_context(|| name.clone())?;
    let (mut lines, mut mistakes) = people(&records).with_context(|| name.clone())?;
    find_names(business, &lines, &mut mistakes)?;
    let new_departs = find_departs(business, &mut lines, &mut mistakes, add_departs)?;
    if !mistakes.is_empty() {
        bail!("{}", told(&name, mistakes));
    }
    if check {
        let value = json!({ "users": lines.len(), "departs": new_departs, "imported": false });
        return output.one(&value, &format!("{name}: {} users, no mistakes", lines.len()));
    }
    // Before the transaction: one password may take 20 ms, and others want to write meanwhile.
    let bar = progress("passwords", lines.len() as u64);
    for line in &mut lines {
        line.user.password = stored(&line.password, business.password_form)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    store(business, &mut lines, &new_departs).with_context(|| format!("{name}: none imported"))?;
    let value = json!({ "users": lines.len(), "departs": new_departs, "imported": true });
    output.one(&value, &format!("{} users added", lines.len()))
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut input: Box<dyn Read> =
        if file == Path::new("-") { Box::new(io::stdin()) } else { Box::new(File::open(file)?) };
    let mut bytes = Vec::new();
    input.by_ref().take(CSV_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > CSV_BYTES_MAX {
        bail!("larger than {CSV_BYTES_MAX} bytes; divide it");
    }
    String::from_utf8(bytes).context("not UTF-8; save it as such")
}

/// The people of a table, and what is wrong with them.
fn people(records: &[Record]) -> anyhow::Result<(Vec<Line>, Mistakes)> {
    let Some((header, records)) = records.split_first() else {
        bail!("empty; the first line has to be {}", COLUMNS.join(","));
    };
    let columns = columns(header)?;
    let (mut lines, mut mistakes) = (Vec::new(), Mistakes::new());
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for Record { line, values } in records {
        if values.len() != columns.len() {
            let text = format!("{} values for {} columns", values.len(), columns.len());
            mistakes.push((*line, text));
            continue;
        }
        let value = |name| {
            let at = columns.iter().position(|&column| column == name);
            at.map_or_else(String::new, |at| values[at].clone())
        };
        let person = Person {
            name: value("name"),
            nick: value("nick"),
            password: value("password"),
            sex: value("sex"),
            department: value("department"),
            phone: value("phone"),
            email: value("email"),
        };
        let name_at = columns.iter().position(|&column| column == "name");
        let name = name_at.map_or("", |at| values[at].as_str());
        if let Some(first) = seen.insert(name, *line).filter(|_| !name.is_empty()) {
            mistakes.push((*line, format!("name {name} stands on line {first} already")));
        }
        if person.password.is_empty() {
            mistakes.push((*line, "password is empty".to_owned()));
        }
        match person.check() {
            Ok(user) => lines.push(Line {
                line: *line,
                user,
                password: person.password,
                department: person.department,
            }),
            Err(wrong) => mistakes.extend(wrong.into_iter().map(|text| (*line, text))),
        }
    }
    Ok((lines, mistakes))
}

fn columns(header: &Record) -> anyhow::Result<Vec<&'static str>> {
    let mut columns = Vec::with_capacity(header.values.len());
    for value in &header.values {
        let value = value.to_lowercase();
        let Some(column) = COLUMNS.into_iter().find(|column| *column == value) else {
            bail!("line {}: no column {value}; there are {}", header.line, COLUMNS.join(","));
        };
        if columns.contains(&column) {
            bail!("line {}: column {value} stands there twice", header.line);
        }
        columns.push(column);
    }
    for needed in ["name", "password"] {
        if !columns.contains(&needed) {
            bail!("line {}: column {needed} is missing", header.line);
        }
    }
    Ok(columns)
}

/// Names that somebody has already.
fn find_names(business: &Business, lines: &[Line], mistakes: &mut Mistakes) -> anyhow::Result<()> {
    let users = plain(user_model::all_users(business))?;
    let taken: HashSet<&str> =
        users.iter().map(|user| user.user_info.user_real_name.as_str()).collect();
    for Line { line, user, .. } in lines.iter().filter(|l| taken.contains(l.user.name.as_str())) {
        mistakes
            .push((*line, format!("there is a user with the login name {} already", user.name)));
    }
    Ok(())
}

/// Sets the departments that exist, and gives the names of those to be made.
fn find_departs(
    business: &Business,
    lines: &mut [Line],
    mistakes: &mut Mistakes,
    add: bool,
) -> anyhow::Result<Vec<String>> {
    let departs = departs(business)?;
    let mut missing: Vec<String> = Vec::new();
    for Line { line, user, department, .. } in lines {
        if department.is_empty() || missing.contains(department) {
            continue;
        }
        let unknown = departs.iter().all(|depart| depart.name != *department);
        if unknown && add && department.parse::<u32>().is_err() {
            match check_name(department) {
                Ok(()) => missing.push(department.clone()),
                Err(error) => mistakes.push((*line, error.to_string())),
            }
            continue;
        }
        match find_depart(&departs, department) {
            Ok(depart) => user.depart_id = depart.id,
            Err(error) => mistakes.push((*line, error.to_string())),
        }
    }
    Ok(missing)
}

/// The message of an import that does not take place.
fn told(name: &str, mut mistakes: Mistakes) -> String {
    mistakes.sort();
    let mut text = format!("{name}: {} mistakes, nothing was imported", mistakes.len());
    for (line, mistake) in mistakes.iter().take(MISTAKES_SHOWN_MAX) {
        text += &format!("\n  line {line}: {mistake}");
    }
    if mistakes.len() > MISTAKES_SHOWN_MAX {
        text += &format!("\n  and {} more", mistakes.len() - MISTAKES_SHOWN_MAX);
    }
    text
}

/// One transaction.
fn store(business: &Business, lines: &mut [Line], new_departs: &[String]) -> anyhow::Result<()> {
    let now = business.now();
    let mut conn = business.master()?;
    let mut transaction = Transaction::begin(&mut *conn)?;
    let mut made = HashMap::new();
    for name in new_departs {
        made.insert(name, depart_model::insert_depart(&mut *transaction, name, 0, 0, now)?);
    }
    let bar = progress("users", lines.len() as u64);
    for Line { line, user, department, .. } in lines {
        if let Some(&id) = made.get(department) {
            user.depart_id = id;
        }
        match user_model::insert_user(&mut *transaction, user, now) {
            Err(DbError::Duplicate { .. }) => bail!("line {line}: {} exists now", user.name),
            result => result.with_context(|| format!("line {line}"))?,
        };
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Vec<Line>, Mistakes) {
        people(&csv::parse(text).unwrap()).unwrap()
    }

    #[test]
    fn columns_come_in_any_order_and_most_may_be_missing() {
        let (lines, mistakes) = of("Password,name,sex\nsecret,alice,F\n\nx,bob,\n");
        assert_eq!(mistakes, []);
        let found: Vec<_> =
            lines.iter().map(|l| (l.line, l.user.name.as_str(), l.user.sex)).collect();
        assert_eq!(found, [(2, "alice", 2), (4, "bob", 0)]);
        assert_eq!((lines[0].user.nick.as_str(), lines[0].password.as_str()), ("alice", "secret"));
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = "name,password,nick,sex,email\n\
                    alice,x,,,\n\
                    alice,x,,,\n\
                    bob,,,other,nobody\n\
                    carol,x\n\
                    \" dora\",x,,,\n\
                    42,x,,,\n\
                    ,x,,,\n";
        let (lines, mistakes) = of(text);
        assert_eq!(lines.len(), 2, "the second alice is told once");
        let text = told("users.csv", mistakes);
        assert_eq!(
            text,
            "users.csv: 8 mistakes, nothing was imported\n  \
             line 3: name alice stands on line 2 already\n  \
             line 4: email nobody has no @\n  \
             line 4: password is empty\n  \
             line 4: sex is other, not male, female or nothing\n  \
             line 5: 2 values for 5 columns\n  \
             line 6: name has blanks around it\n  \
             line 7: name is a number, which is taken for an id\n  \
             line 8: name is empty"
        );
    }

    #[test]
    fn long_values_are_told_before_the_database_does() {
        let person = Person { name: "x".repeat(65), phone: "1".repeat(33), ..Person::default() };
        let mistakes = person.check().unwrap_err();
        assert_eq!(
            mistakes,
            [
                "name has more than 64 characters",
                "nick has more than 32 characters",
                "phone has more than 32 characters"
            ]
        );
    }

    #[test]
    fn a_header_that_is_not_understood_is_told() {
        for (text, expected) in [
            ("", "empty; the first line has to be name,nick"),
            ("name,password,age\n", "line 1: no column age"),
            ("name,password,name\n", "line 1: column name stands there twice"),
            ("name\n", "line 1: column password is missing"),
        ] {
            let error = people(&csv::parse(text).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn not_more_mistakes_are_shown_than_anybody_reads() {
        let mistakes = (0..60).map(|line| (line, "x".to_owned())).collect();
        let text = told("users.csv", mistakes);
        assert!(text.ends_with("line 49: x\n  and 10 more"), "{text}");
    }

    #[test]
    fn a_file_has_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users.csv");
        File::create(&path).unwrap().set_len(CSV_BYTES_MAX + 1).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("larger than"));
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("UTF-8"));
    }
}
