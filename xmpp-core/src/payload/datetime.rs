//! Dates and times (XEP-0082).

use super::{TextValue, ValueError};
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment, in UTC, to the nanosecond; on the wire `1969-07-21T02:56:15Z` (XEP-0082 §3.2). Years 0001 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// Seconds since 1970-01-01T00:00:00Z.
    secs: i64,
    nanos: u32,
}

/// An offset from UTC in minutes; on the wire `Z` or `-06:00` (XEP-0082 §3.1). At most 14 hours either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeZone {
    minutes: i16,
}

/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

impl DateTime {
    /// From seconds since 1970-01-01T00:00:00Z and nanoseconds; `None` outside the years 1 to 9999.
    pub fn from_unix(secs: i64, nanos: u32) -> Option<Self> {
        ((FIRST..=LAST).contains(&secs) && nanos < 1_000_000_000).then_some(DateTime { secs, nanos })
    }
    /// Seconds since 1970-01-01T00:00:00Z, negative before.
    pub fn unix_seconds(&self) -> i64 {
        self.secs
    }
    /// Milliseconds since 1970-01-01T00:00:00Z, negative before.
    pub fn unix_millis(&self) -> i64 {
        self.secs * 1000 + i64::from(self.nanos / 1_000_000)
    }
    /// Microseconds since 1970-01-01T00:00:00Z, negative before.
    pub fn unix_micros(&self) -> i64 {
        self.secs * 1_000_000 + i64::from(self.nanos / 1000)
    }
    /// Nanoseconds within the second.
    pub fn nanos(&self) -> u32 {
        self.nanos
    }
    /// The same with the fraction cut to milliseconds, as most implementations send it.
    pub fn to_millis(self) -> Self {
        DateTime { secs: self.secs, nanos: self.nanos - self.nanos % 1_000_000 }
    }
}

/// Moments outside the years 1 to 9999 become the nearest one inside.
impl From<SystemTime> for DateTime {
    fn from(t: SystemTime) -> Self {
        let (secs, nanos) = match t.duration_since(UNIX_EPOCH) {
            Ok(d) => (i64::try_from(d.as_secs()).unwrap_or(LAST), d.subsec_nanos()),
            Err(e) => {
                let d = e.duration();
                let whole = i64::try_from(d.as_secs()).unwrap_or(LAST);
                match d.subsec_nanos() {
                    0 => (-whole, 0),
                    n => (-whole - 1, 1_000_000_000 - n),
                }
            }
        };
        DateTime { secs: secs.clamp(FIRST, LAST), nanos }
    }
}

/// A moment that the system's clock cannot hold (Windows begins in 1601) becomes 1970.
impl From<DateTime> for SystemTime {
    fn from(t: DateTime) -> Self {
        let seconds = Duration::from_secs(t.secs.unsigned_abs());
        let whole = if t.secs < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
        whole.and_then(|w| w.checked_add(Duration::from_nanos(u64::from(t.nanos)))).unwrap_or(UNIX_EPOCH)
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, by counting years from March so that the leap day is last.
fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_date`].
fn date_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Takes `n` digits off the front.
fn digits(rest: &mut &[u8], n: usize) -> Option<i64> {
    let (head, tail) = rest.split_at_checked(n)?;
    *rest = tail;
    head.iter().try_fold(0i64, |acc, b| b.is_ascii_digit().then(|| acc * 10 + i64::from(b - b'0')))
}

fn expect(rest: &mut &[u8], byte: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[byte])?;
    Some(())
}

/// `Z`, `+hh:mm` or `-hh:mm`, in minutes.
fn offset(rest: &mut &[u8]) -> Option<i64> {
    let (sign, tail) = rest.split_first()?;
    *rest = tail;
    let sign = match sign {
        b'Z' => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits(rest, 2)?;
    expect(rest, b':')?;
    let minutes = digits(rest, 2)?;
    (minutes < 60 && hours * 60 + minutes <= 840).then_some(sign * (hours * 60 + minutes))
}

fn fraction(rest: &mut &[u8]) -> Option<u32> {
    let count = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (head, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    let mut nanos = 0u32;
    for i in 0..9 {
        nanos = nanos * 10 + head.get(i).map_or(0, |b| u32::from(b - b'0'));
    }
    (count > 0).then_some(nanos)
}

fn parse(text: &str) -> Option<DateTime> {
    let mut rest = text.as_bytes();
    let rest = &mut rest;
    let year = digits(rest, 4)?;
    expect(rest, b'-')?;
    let month = digits(rest, 2)?;
    expect(rest, b'-')?;
    let day = digits(rest, 2)?;
    expect(rest, b'T')?;
    let hour = digits(rest, 2)?;
    expect(rest, b':')?;
    let minute = digits(rest, 2)?;
    expect(rest, b':')?;
    let second = digits(rest, 2)?;
    let nanos = if expect(rest, b'.').is_some() { fraction(rest)? } else { 0 };
    let zone = offset(rest)?;
    let date_ok =
        (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    // A leap second counts as the first of the next minute, which is what Unix time does.
    if !rest.is_empty() || !date_ok || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let secs = days_from_date(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - zone * 60;
    DateTime::from_unix(secs, nanos)
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date_from_days(self.secs.div_euclid(86_400));
        let s = self.secs.rem_euclid(86_400);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)?;
        match self.nanos {
            0 => {}
            n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000)?,
            n if n % 1_000 == 0 => write!(f, ".{:06}", n / 1_000)?,
            n => write!(f, ".{n:09}")?,
        }
        f.write_str("Z")
    }
}

impl std::str::FromStr for DateTime {
    type Err = ValueError;
    fn from_str(text: &str) -> Result<Self, ValueError> {
        parse(text.trim_ascii()).ok_or(ValueError::expected("a date and time as of XEP-0082"))
    }
}

impl TextValue for DateTime {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        text.parse()
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

impl TimeZone {
    /// Universal time.
    pub const UTC: TimeZone = TimeZone { minutes: 0 };

    /// Minutes east of Greenwich; `None` beyond 14 hours.
    pub fn from_minutes(minutes: i16) -> Option<Self> {
        (-840..=840).contains(&minutes).then_some(TimeZone { minutes })
    }
    /// Minutes east of Greenwich, negative to the west.
    pub fn minutes(&self) -> i16 {
        self.minutes
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = self.minutes.unsigned_abs();
        match self.minutes {
            0 => f.write_str("Z"),
            n => write!(f, "{}{:02}:{:02}", if n < 0 { '-' } else { '+' }, m / 60, m % 60),
        }
    }
}

impl TextValue for TimeZone {
    fn from_text(text: &str) -> Result<Self, ValueError> {
        let mut rest = text.trim_ascii().as_bytes();
        let minutes = offset(&mut rest).filter(|_| rest.is_empty()).and_then(|m| i16::try_from(m).ok());
        minutes.map(|minutes| TimeZone { minutes }).ok_or(ValueError::expected("Z or an offset such as -06:00"))
    }
    fn to_text(&self) -> Cow<'_, str> {
        Cow::Owned(self.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn xep0082_3_2_the_same_moment_in_two_zones() {
        let utc: DateTime = "1969-07-21T02:56:15Z".parse().unwrap();
        let west: DateTime = "1969-07-20T21:56:15-05:00".parse().unwrap();
        assert_eq!(utc, west);
        assert_eq!(utc.unix_seconds(), -14_159_025);
        assert_eq!(west.to_string(), "1969-07-21T02:56:15Z");
    }

    #[test]
    fn xep0082_3_2_fractions_of_any_length() {
        for (text, nanos, out) in [
            ("2002-09-10T23:08:25.5Z", 500_000_000, "2002-09-10T23:08:25.500Z"),
            ("2002-09-10T23:08:25.000001Z", 1000, "2002-09-10T23:08:25.000001Z"),
            ("2002-09-10T23:08:25.1234567899Z", 123_456_789, "2002-09-10T23:08:25.123456789Z"),
        ] {
            let t: DateTime = text.parse().unwrap();
            assert_eq!((t.nanos(), t.to_string().as_str()), (nanos, out));
        }
    }

    #[test]
    fn xep0082_dates_that_do_not_exist_are_refused() {
        for text in [
            "",
            "Z",
            "2002-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2002-13-01T00:00:00Z",
            "2002-00-01T00:00:00Z",
            "2002-01-32T00:00:00Z",
            "2002-01-01T24:00:00Z",
            "2002-01-01T00:60:00Z",
            "2002-01-01T00:00:61Z",
            "2002-01-01T00:00:00",
            "2002-01-01T00:00:00.Z",
            "2002-01-01T00:00:00+15:00",
            "2002-01-01T00:00:00+1:00",
            "2002-01-01T00:00:00Zjunk",
            "2002-01-01 00:00:00Z",
            "20020910T23:08:25",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "２００２-01-01T00:00:00Z",
        ] {
            assert!(text.parse::<DateTime>().is_err(), "{text}");
        }
        assert!("2000-02-29T00:00:00Z".parse::<DateTime>().is_ok());
    }

    #[test]
    fn every_day_of_nine_thousand_years_survives() {
        let mut expected = (1, 1, 1);
        for days in FIRST / 86_400..=LAST / 86_400 {
            assert_eq!(date_from_days(days), expected);
            assert_eq!(days_from_date(expected.0, expected.1, expected.2), days);
            expected.2 += 1;
            if expected.2 > days_in_month(expected.0, expected.1) {
                expected = if expected.1 == 12 { (expected.0 + 1, 1, 1) } else { (expected.0, expected.1 + 1, 1) };
            }
        }
        assert_eq!(expected, (10_000, 1, 1));
    }

    #[test]
    fn system_time_there_and_back() {
        for (secs, nanos) in [(0, 0), (1, 5), (-1, 999_999_999), (-1, 0), (-14_159_025, 1), (253_402_300_799, 0)] {
            let t = DateTime::from_unix(secs, nanos).unwrap();
            assert_eq!(DateTime::from(SystemTime::from(t)), t);
        }
    }

    #[test]
    fn xep0082_3_1_zones() {
        for text in ["Z", "-06:00", "+05:30", "-00:30", "+14:00"] {
            assert_eq!(TimeZone::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(TimeZone::from_text("+00:00").unwrap(), TimeZone::UTC);
        for text in ["", "6", "-6:00", "+14:01", "+00:60", "Z0"] {
            assert!(TimeZone::from_text(text).is_err(), "{text}");
        }
    }
}
