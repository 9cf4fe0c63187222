//! How much of the disk offline files may take, all together and for one sender.

use std::collections::HashMap;

use super::offline_file::OFFLINE_FILE_HEADER_LEN;

/// Most offline files one user may have on their way, however small they are.
pub const FILES_PER_USER_MAX: u32 = 10_000;

/// What a disk gives a file is a multiple of this.
const DISK_BLOCK: u64 = 4096;

/// Bytes of files that are stored or announced, by sender.
#[derive(Debug)]
pub struct Quota {
    total_max: u64,
    user_max: u64,
    total: u64,
    users: HashMap<u32, Share>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    bytes: u64,
    files: u32,
}

impl Quota {
    /// Nothing is stored. 0 stands for any number of bytes.
    pub fn new(total_max: u64, user_max: u64) -> Self {
        let unlimited = |max: u64| if max == 0 { u64::MAX } else { max };
        Self {
            total_max: unlimited(total_max),
            user_max: unlimited(user_max),
            total: 0,
            users: HashMap::new(),
        }
    }

    /// Counts a file that will be stored, if there is room for it.
    #[must_use]
    pub fn reserve(&mut self, user_id: u32, file_size: u32) -> bool {
        let bytes = on_disk(file_size);
        let share = self.users.get(&user_id).copied().unwrap_or_default();
        let fits = self.total.saturating_add(bytes) <= self.total_max
            && share.bytes.saturating_add(bytes) <= self.user_max
            && share.files < FILES_PER_USER_MAX;
        if fits {
            self.add(user_id, file_size);
        }
        fits
    }

    /// Counts a file that is stored already, whether or not it fits.
    pub fn add(&mut self, user_id: u32, file_size: u32) {
        let bytes = on_disk(file_size);
        let share = self.users.entry(user_id).or_default();
        share.bytes += bytes;
        share.files += 1;
        self.total += bytes;
    }

    /// Forgets a file that was counted.
    pub fn release(&mut self, user_id: u32, file_size: u32) {
        let bytes = on_disk(file_size);
        let Some(share) = self.users.get_mut(&user_id) else {
            return;
        };
        share.bytes = share.bytes.saturating_sub(bytes);
        share.files -= 1;
        if share.files == 0 {
            self.users.remove(&user_id);
        }
        self.total = self.total.saturating_sub(bytes);
    }

    /// Bytes of all files.
    pub fn total(&self) -> u64 {
        self.total
    }
}

fn on_disk(file_size: u32) -> u64 {
    (OFFLINE_FILE_HEADER_LEN as u64 + u64::from(file_size)).next_multiple_of(DISK_BLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f115_what_does_not_fit_is_refused_and_what_is_deleted_makes_room() {
        let mut quota = Quota::new(5 * DISK_BLOCK, 3 * DISK_BLOCK);
        assert!(quota.reserve(1, 3000) && quota.reserve(1, 4096 + 3000));
        assert!(!quota.reserve(1, 0), "the share of user 1");
        assert!(quota.reserve(2, 4096));
        assert!(!quota.reserve(3, 0), "all together");
        assert_eq!(quota.total(), 5 * DISK_BLOCK);
        quota.release(1, 3000);
        assert!(quota.reserve(1, 0));
        quota.release(1, 0);
        quota.release(1, 4096 + 3000);
        quota.release(2, 4096);
        assert_eq!((quota.total(), quota.users.len()), (0, 0));
        // One that was never counted.
        quota.release(2, 4096);
        assert_eq!(quota.total(), 0);
    }

    #[test]
    fn f115_sizes_do_not_overflow() {
        let mut quota = Quota::new(0, 0);
        assert!((0..10).all(|_| quota.reserve(1, u32::MAX)));
        assert_eq!(quota.total(), 10 * ((1 << 32) + DISK_BLOCK));
        let mut small = Quota::new(u64::from(u32::MAX), 0);
        assert!(!small.reserve(1, u32::MAX));
    }

    #[test]
    fn f115_empty_files_are_limited_too() {
        let mut quota = Quota::new(0, 0);
        assert!((0..FILES_PER_USER_MAX).all(|_| quota.reserve(1, 0)));
        assert!(!quota.reserve(1, 0));
        assert!(quota.reserve(2, 0));
    }
}
