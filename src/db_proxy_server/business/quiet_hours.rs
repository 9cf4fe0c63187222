//! When phones of users who asked for it are not to ring.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::base::config_value::ConfigValue;

/// `QuietHours`: from one full hour until another one, at the place of this installation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QuietHours {
    from: u8,
    until: u8,
}

impl Default for QuietHours {
    /// From ten in the evening to eight in the morning, as in the original.
    fn default() -> Self {
        Self { from: 22, until: 8 }
    }
}

impl ConfigValue for QuietHours {
    const EXPECTED: &str = "two hours of the day, e.g. 22-8";

    fn parse(text: &str) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let (from, until) = (from.trim().parse().ok()?, until.trim().parse().ok()?);
        (from < 24 && until < 24).then_some(Self { from, until })
    }
}

/// `TimeZone`: whose hours are meant, by its name in the IANA database.
#[derive(Clone, Debug)]
pub struct Zone(pub TimeZone);

impl Default for Zone {
    /// That of the machine: `TZ`, or `/etc/localtime`.
    fn default() -> Self {
        Self(TimeZone::system())
    }
}

impl ConfigValue for Zone {
    const EXPECTED: &str = "a time zone this machine knows, e.g. Asia/Shanghai";

    fn parse(text: &str) -> Option<Self> {
        TimeZone::get(text).ok().map(Self)
    }
}

/// Whether it is a quiet hour at this time.
pub fn is_quiet(hours: QuietHours, zone: &Zone, unix_time: u32) -> bool {
    let at = Timestamp::UNIX_EPOCH.saturating_add(Span::new().seconds(unix_time));
    // Every second of 32 bits is far inside of what a timestamp can say.
    let hour = at.map_or(0, |at| at.to_zoned(zone.0.clone()).hour().unsigned_abs());
    if hours.from <= hours.until {
        (hours.from..hours.until).contains(&hour)
    } else {
        hour >= hours.from || hour < hours.until
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::Offset;

    use super::*;

    fn zone(offset: i8) -> Zone {
        Zone(TimeZone::fixed(Offset::constant(offset)))
    }

    #[test]
    fn f143_quiet_hours_are_those_of_the_zone() {
        let quiet = |hours, offset, hour: u32| is_quiet(hours, &zone(offset), hour * 3600 + 1800);
        let original = QuietHours::default();
        let at = |offset, hours: [u32; 5]| hours.map(|hour| quiet(original, offset, hour));
        assert_eq!(at(0, [21, 22, 0, 7, 8]), [false, true, true, true, false]);
        assert_eq!(at(8, [13, 14, 16, 23, 0]), [false, true, true, true, false]);
        let noon = QuietHours::parse("12 - 14").unwrap();
        assert_eq!([11, 12, 13, 14].map(|hour| quiet(noon, 0, hour)), [false, true, true, false]);
        let never = QuietHours::parse("0-0").unwrap();
        assert!(!(0..24).any(|hour| quiet(never, 0, hour)));
        assert!(is_quiet(original, &zone(0), u32::MAX), "half past six in the morning, 2106");
    }

    #[test]
    fn f143_wrong_hours_and_zones_are_refused() {
        for text in ["", "22", "22-24", "-1-8", "22-8-9", "a-b"] {
            assert_eq!(QuietHours::parse(text), None, "{text}");
        }
        assert!(Zone::parse("Middle-earth/Shire").is_none());
    }
}
