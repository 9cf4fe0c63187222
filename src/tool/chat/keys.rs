//! What the keys do.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::event::Effect;
use super::line::Line;
use super::state::{Focus, State};

/// Rows of the list that are crossed at a time.
const LIST_PAGE: isize = 10;

impl State {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        if control && matches!(key.code, KeyCode::Char('c' | 'q')) {
            self.effects.push(Effect::Quit);
            return;
        }
        if std::mem::take(&mut self.help) {
            return;
        }
        match key.code {
            KeyCode::F(1) => self.help = true,
            KeyCode::Char('f') if control => {
                self.focus = Focus::Search;
                self.search.take();
                self.select_first();
            }
            KeyCode::Char('n') if control => self.open_unread(),
            KeyCode::Char('r') if control => self.retry(),
            KeyCode::Char('l') if control => self.effects.push(Effect::Redraw),
            KeyCode::Up | KeyCode::Down if alt => {
                self.leave_search();
                self.select(if key.code == KeyCode::Up { -1 } else { 1 });
                self.open_selected();
            }
            code => match self.focus {
                Focus::List => self.list_key(key),
                Focus::Search => self.search_key(code, control),
                Focus::Input => self.input_key(code, control, alt),
            },
        }
    }

    fn list_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Up => self.select(-1),
            KeyCode::Down => self.select(1),
            KeyCode::PageUp => self.select(-LIST_PAGE),
            KeyCode::PageDown => self.select(LIST_PAGE),
            KeyCode::Home => self.select(isize::MIN),
            KeyCode::End => self.select(isize::MAX),
            KeyCode::Enter | KeyCode::Right => self.open_selected(),
            KeyCode::Tab | KeyCode::Esc => self.focus = Focus::Input,
            // Commands need no talk, and who types wants to write.
            KeyCode::Char(_) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.focus = Focus::Input;
                self.input_key(key.code, false, key.modifiers.contains(KeyModifiers::ALT));
            }
            _ => {}
        }
    }

    fn search_key(&mut self, code: KeyCode, control: bool) {
        match code {
            KeyCode::Up => self.select(-1),
            KeyCode::Down => self.select(1),
            KeyCode::Enter => {
                let selected = self.selected;
                self.leave_search();
                self.selected = selected;
                self.open_selected();
            }
            KeyCode::Esc | KeyCode::Tab => self.leave_search(),
            code => {
                if edit(&mut self.search, code, control, false) {
                    self.select_first();
                }
            }
        }
    }

    fn input_key(&mut self, code: KeyCode, control: bool, alt: bool) {
        match code {
            KeyCode::Enter if alt => self.line.insert("\n"),
            KeyCode::Enter => self.submit(),
            KeyCode::PageUp => self.scroll_page(true),
            KeyCode::PageDown => self.scroll_page(false),
            KeyCode::Up => self.line.older(),
            KeyCode::Down => self.line.newer(),
            KeyCode::Tab => self.focus = Focus::List,
            KeyCode::Esc => {
                self.notice.clear();
                self.scroll(false, usize::MAX);
            }
            code => {
                if edit(&mut self.line, code, control, alt) {
                    self.typed();
                }
            }
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        if self.focus == Focus::Search {
            self.search.insert(&text.replace(['\n', '\r'], " "));
            self.select_first();
        } else {
            self.focus = Focus::Input;
            self.line.insert(text);
            self.typed();
        }
    }

    fn submit(&mut self) {
        if self.line.text().trim().is_empty() {
            return;
        }
        let text = self.line.text();
        let is_command = text.starts_with('/') && !text.starts_with("//");
        if self.open.is_none() && !is_command {
            "choose somebody in the list first (Tab), or search (Ctrl-F)"
                .clone_into(&mut self.notice);
            return;
        }
        self.notice.clear();
        let text = self.line.send();
        if is_command {
            self.command(&text);
        } else {
            // A text that begins with a slash is written with two.
            let text = text.strip_prefix('/').unwrap_or(&text).to_owned();
            self.send(text);
        }
    }

    fn open_selected(&mut self) {
        if let Some((_, session)) = self.selected {
            self.open(session);
        }
    }

    fn select_first(&mut self) {
        self.selected = None;
        self.select(0);
    }

    fn leave_search(&mut self) {
        if self.focus == Focus::Search {
            self.focus = if self.open.is_some() { Focus::Input } else { Focus::List };
            self.search.take();
            self.select(0);
        }
    }
}

/// Does what the key does in a line. Says whether the text may have changed.
fn edit(line: &mut Line, code: KeyCode, control: bool, alt: bool) -> bool {
    match code {
        KeyCode::Left if control || alt => line.word_left(),
        KeyCode::Right if control || alt => line.word_right(),
        KeyCode::Left => line.left(),
        KeyCode::Right => line.right(),
        KeyCode::Home => line.home(),
        KeyCode::End => line.end(),
        KeyCode::Char('a') if control => line.home(),
        KeyCode::Char('e') if control => line.end(),
        _ => return change(line, code, control, alt),
    }
    false
}

fn change(line: &mut Line, code: KeyCode, control: bool, alt: bool) -> bool {
    match code {
        KeyCode::Backspace if control || alt => line.delete_word(),
        KeyCode::Backspace => line.backspace(),
        // What some terminals send for it.
        KeyCode::Char('h') if control => line.backspace(),
        KeyCode::Delete => line.delete(),
        KeyCode::Char('w') if control => line.delete_word(),
        KeyCode::Char('u') if control => line.delete_to_start(),
        KeyCode::Char('k') if control => line.delete_to_end(),
        KeyCode::Char('j') if control => line.insert("\n"),
        KeyCode::Char(c) if !control && !alt => line.insert(c.encode_utf8(&mut [0; 4])),
        _ => return false,
    }
    true
}
