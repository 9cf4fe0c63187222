//! How much one request may ask for, whatever it says.

/// Most messages in one answer. Clients page by 18 or so.
pub const MSG_CNT_MAX: u32 = 100;

/// Most ids in one SQL statement; a longer list is worked on in slices.
pub const IDS_PER_STATEMENT_MAX: usize = 1000;

/// How many messages a request gets that asks for `msg_cnt`: never the whole history (F29).
pub fn capped_msg_cnt(msg_cnt: u32) -> u32 {
    msg_cnt.min(MSG_CNT_MAX)
}

/// The ids in pieces that one statement can take. No id is left out.
pub fn id_slices(ids: &[u32]) -> impl Iterator<Item = &[u32]> {
    ids.chunks(IDS_PER_STATEMENT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f29_a_request_for_everything_gets_one_page() {
        assert_eq!([0, 1, 100, 101, u32::MAX].map(capped_msg_cnt), [0, 1, 100, 100, 100]);
    }

    #[test]
    fn f29_a_long_list_is_worked_on_in_slices_and_whole() {
        let ids: Vec<u32> = (0..2500).collect();
        let slices: Vec<_> = id_slices(&ids).collect();
        assert_eq!(slices.iter().map(|slice| slice.len()).collect::<Vec<_>>(), [1000, 1000, 500]);
        assert_eq!(slices.concat(), ids);
        assert_eq!(id_slices(&[]).count(), 0);
    }
}
