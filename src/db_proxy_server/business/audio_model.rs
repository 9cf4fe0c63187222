//! Voice messages: bytes in msfs, a row of IMAudio, and its number as the content of the message.

use std::collections::HashMap;
use std::thread;

use bytes::Bytes;
use log::warn;
use parking_lot::Mutex;

use super::{Business, HandlerError};
use crate::storage::sql::placeholders;
use crate::storage::{DbConn, DbError, Row, Value};

/// A voice message begins with its duration in seconds, big-endian.
const DURATION_LEN: usize = 4;

/// Voice messages of one answer that are fetched side by side.
const FETCHES_MAX: usize = 4;

/// What is known of a stored voice message.
#[derive(Clone, Debug)]
struct Audio {
    path: String,
    size: u32,
    duration: u32,
}

/// Stores a voice message and gives the content of its message; `None` where it is none.
///
/// C++: db_proxy_server/business/AudioModel.cpp CAudioModel::saveAudioInfo
/// Differs: what cannot be stored is refused, not acknowledged (F92, S26).
pub fn save(
    business: &Business,
    from_id: u32,
    to_id: u32,
    created: u32,
    data: &[u8],
) -> Result<Option<String>, HandlerError> {
    let Some((duration, sound)) = data.split_first_chunk::<DURATION_LEN>() else {
        return Ok(None);
    };
    if sound.is_empty() {
        return Ok(None);
    }
    let path = business.http.upload_byte_file(&business.msfs_site, sound)?;
    let sql = "insert into IMAudio (fromId, toId, path, size, duration, created) \
               values (?,?,?,?,?,?)";
    let size = u32::try_from(sound.len()).unwrap_or(u32::MAX);
    let values = [
        from_id.into(),
        to_id.into(),
        path.into(),
        size.into(),
        u32::from_be_bytes(*duration).into(),
        created.into(),
    ];
    let mut conn = business.master()?;
    conn.execute_update(sql, &values)?;
    let id = conn.insert_id().to_string();
    business.sounds.keep(&id, data);
    Ok(Some(id))
}

/// The rows of these contents. The sound is fetched later, when no connection is held.
#[derive(Debug, Default)]
pub struct Audios(HashMap<String, Audio>);

impl Audios {
    /// Looks all contents up with one statement.
    ///
    /// C++: db_proxy_server/business/AudioModel.cpp CAudioModel::readAudios
    pub fn find(conn: &mut dyn DbConn, contents: &[&str]) -> Result<Self, HandlerError> {
        let ids: Vec<Value> =
            contents.iter().filter_map(|id| id.parse::<u32>().ok()).map(Value::from).collect();
        if ids.is_empty() {
            return Ok(Self::default());
        }
        let sql = format!(
            "select id, path, size, duration from IMAudio where id in ({})",
            placeholders(ids.len())
        );
        let audio = |row: Row<'_>| -> Result<(String, Audio), DbError> {
            let audio = Audio {
                path: row.get_or_default("path")?,
                size: row.get_or_default("size")?,
                duration: row.get_or_default("duration")?,
            };
            Ok((row.get::<u32>("id")?.to_string(), audio))
        };
        let rows = conn.execute_query(&sql, &ids)?;
        Ok(Self(rows.rows().map(audio).collect::<Result<_, _>>()?))
    }

    /// Fetches the sounds. What cannot be had is its duration alone: a player shows it and stays
    /// silent.
    ///
    /// C++: db_proxy_server/business/AudioModel.cpp CAudioModel::readAudioContent
    /// Differs: several at a time, within a time limit, and never the number of the row as if it
    /// were sound (F98, S25).
    pub fn fetch(&self, business: &Business, contents: &[&str]) -> HashMap<String, Bytes> {
        let known: Vec<(&String, &Audio)> =
            self.0.iter().filter(|(id, _)| contents.contains(&id.as_str())).collect();
        let share = known.len().div_ceil(FETCHES_MAX).max(1);
        thread::scope(|scope| {
            let fetch = |audios| move || fetch_some(business, audios);
            let threads: Vec<_> =
                known.chunks(share).map(|audios| scope.spawn(fetch(audios))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }
}

fn fetch_some(business: &Business, audios: &[(&String, &Audio)]) -> Vec<(String, Bytes)> {
    let fetch = |&(id, audio): &(&String, &Audio)| {
        if let Some(data) = business.sounds.get(id) {
            return (id.clone(), data);
        }
        let mut data = audio.duration.to_be_bytes().to_vec();
        match business.http.download_byte_file(&audio.path, audio.size as usize) {
            Ok(sound) => {
                data.extend(sound);
                business.sounds.keep(id, &data);
            }
            Err(error) => warn!("audio={id} not fetched: {error}"),
        }
        (id.clone(), data.into())
    };
    audios.iter().map(fetch).collect()
}

/// Bytes of voice messages that are remembered; beyond this all are forgotten.
pub const REMEMBERED_LEN_MAX: usize = 32 << 20;

/// Voice messages that were fetched or stored a while ago, by the numbers of their rows. They never
/// change, and most are asked for by the few who were not there when they came.
#[derive(Debug, Default)]
pub struct Sounds {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<String, Bytes>,
    len: usize,
}

impl Sounds {
    fn get(&self, id: &str) -> Option<Bytes> {
        self.known.lock().by_id.get(id).cloned()
    }

    fn keep(&self, id: &str, data: &[u8]) {
        let mut known = self.known.lock();
        if known.len + data.len() > REMEMBERED_LEN_MAX {
            *known = Known::default();
        }
        if data.len() <= REMEMBERED_LEN_MAX
            && known.by_id.insert(id.to_owned(), Bytes::copy_from_slice(data)).is_none()
        {
            known.len += data.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f98_sounds_are_remembered_up_to_a_limit() {
        let sounds = Sounds::default();
        let half = vec![7; REMEMBERED_LEN_MAX / 2];
        sounds.keep("1", &half);
        sounds.keep("1", &half);
        sounds.keep("2", &half);
        assert!(sounds.get("1").is_some() && sounds.get("2").is_some());
        sounds.keep("3", b"one more");
        assert_eq!((sounds.get("1"), sounds.get("3")), (None, Some("one more".into())));
        sounds.keep("4", &vec![7; REMEMBERED_LEN_MAX + 1]);
        assert_eq!((sounds.get("4"), sounds.get("3")), (None, None));
    }
}
