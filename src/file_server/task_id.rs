//! The name of a transfer, which is also its secret.

use std::fmt;

use uuid::Uuid;

/// Names one transfer. Whoever knows it may take part, so it is made of 122 random bits and no log
/// shows it (F5).
///
/// Only this type becomes part of a path, and only a canonical UUID becomes this type (F106).
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TaskId(Uuid);

impl TaskId {
    /// A new one.
    ///
    /// C++: file_server/transfer_task.cpp GenerateUUID
    pub fn generate() -> Self {
        Self(Uuid::new_v4())
    }

    /// The task id in this text: 36 hex digits and hyphens in their places, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        // The other forms of a UUID, which have other lengths, are none of ours.
        let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
        Some(Self(uuid))
    }

    /// The text that travels, in lower case.
    pub fn text(self) -> String {
        self.0.hyphenated().to_string()
    }

    /// What the tasks of one transfer have in common in the queue of workers.
    pub fn key(self) -> u64 {
        self.0.as_u64_pair().0
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskId(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f106_only_a_canonical_uuid_is_a_task_id() {
        let text = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        assert_eq!(TaskId::parse(text).unwrap().text(), text);
        assert_eq!(TaskId::parse(&text.to_uppercase()).unwrap().text(), text);
        for wrong in [
            "",
            "67",
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67e55044-10b1-426f-9247-bb680e5fe0c8\0",
            "67e55044-10b1-426f-9247-bb680e5fe0cg",
            "67e5504410b1-426f-9247-bb680e5fe0c8-",
            "../../../../../../../../../etc/passwd",
            "67e55044-10b1-426f-9247-../../../../",
        ] {
            assert_eq!(TaskId::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn f5_task_ids_differ_and_logs_do_not_show_them() {
        let (a, b) = (TaskId::generate(), TaskId::generate());
        assert_ne!(a, b);
        assert_eq!(a.text().len(), 36);
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    }
}
