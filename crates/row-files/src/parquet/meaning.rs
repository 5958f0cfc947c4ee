//! What a column's stored values mean, and what they become in JSON.
//!
//! Integers and floats stay numbers, texts strings. A decimal of at most fifteen digits is a
//! number, a longer one a string; dates, times and timestamps are strings as ISO 8601 writes them.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use half::f16;
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as Physical};
use parquet::schema::types::ColumnDescriptor;
use serde_json::{Number, Value};

/// Digits that a double keeps whatever they are.
const EXACT_DIGITS: i32 = 15;

/// How a column's values are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing that is read
    Nothing,
    Bool,
    Signed,
    /// Of so many bits
    Unsigned(u32),
    Float,
    Float16,
    Text,
    Decimal {
        scale: i32,
        is_number: bool,
    },
    Date,
    /// Units in a second
    Time(i64),
    /// Units in a second, and whether it is in UTC
    Timestamp(i64, bool),
    Uuid,
}

impl Meaning {
    /// Errors: what the column holds, where that is no JSON.
    pub fn of(column: &ColumnDescriptor) -> Result<Self, String> {
        use ConvertedType as C;
        use LogicalType as L;
        let decimal = |scale, precision| Self::Decimal {
            scale,
            is_number: precision <= EXACT_DIGITS,
        };
        let physical = column.physical_type();
        let meaning = match (column.logical_type_ref(), column.converted_type()) {
            (Some(L::Decimal(d)), _) => decimal(d.scale, d.precision),
            (_, C::DECIMAL) => decimal(column.type_scale(), column.type_precision()),
            (Some(L::Date), _) | (_, C::DATE) => Self::Date,
            (Some(L::Time(time)), _) => Self::Time(per_second(&time.unit)),
            (_, C::TIME_MILLIS) => Self::Time(1_000),
            (_, C::TIME_MICROS) => Self::Time(1_000_000),
            (Some(L::Timestamp(time)), _) => {
                Self::Timestamp(per_second(&time.unit), time.is_adjusted_to_u_t_c)
            }
            (_, C::TIMESTAMP_MILLIS) => Self::Timestamp(1_000, true),
            (_, C::TIMESTAMP_MICROS) => Self::Timestamp(1_000_000, true),
            (Some(L::Integer(int)), _) if !int.is_signed => {
                Self::Unsigned(u32::from(int.bit_width.unsigned_abs()))
            }
            (_, C::UINT_8) => Self::Unsigned(8),
            (_, C::UINT_16) => Self::Unsigned(16),
            (_, C::UINT_32) => Self::Unsigned(32),
            (_, C::UINT_64) => Self::Unsigned(64),
            (Some(L::Float16), _) => Self::Float16,
            (Some(L::Uuid), _) => Self::Uuid,
            (Some(L::Geometry(_) | L::Geography(_)), _) => return Err("holds geometry".into()),
            (_, C::INTERVAL) => return Err("holds intervals".into()),
            (_, C::BSON) => return Err("holds BSON".into()),
            _ => match physical {
                Physical::BOOLEAN => Self::Bool,
                Physical::INT32 | Physical::INT64 => Self::Signed,
                Physical::INT96 => Self::Timestamp(1_000_000_000, false),
                Physical::FLOAT | Physical::DOUBLE => Self::Float,
                Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY => Self::Text,
            },
        };
        match meaning.fits(physical) {
            true => Ok(meaning),
            false => Err(format!("holds {physical} that are said to be {meaning:?}")),
        }
    }

    fn fits(self, physical: Physical) -> bool {
        let is_int = matches!(physical, Physical::INT32 | Physical::INT64);
        let is_bytes = matches!(
            physical,
            Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY
        );
        match self {
            Self::Nothing => true,
            Self::Bool => physical == Physical::BOOLEAN,
            Self::Signed | Self::Unsigned(_) | Self::Date | Self::Time(_) => is_int,
            Self::Timestamp(..) => is_int || physical == Physical::INT96,
            Self::Float => matches!(physical, Physical::FLOAT | Physical::DOUBLE),
            Self::Float16 | Self::Uuid => physical == Physical::FIXED_LEN_BYTE_ARRAY,
            Self::Text => is_bytes,
            Self::Decimal { .. } => is_int || is_bytes,
        }
    }

    /// Of an integer. Errors: what is wrong with it.
    pub fn integer(self, value: i64) -> Result<Value, String> {
        Ok(match self {
            // a narrower one is stored in 32 bits with its sign
            Self::Unsigned(64) => Value::from(value as u64),
            Self::Unsigned(_) => Value::from(value as u32),
            Self::Decimal { scale, is_number } => decimal(i128::from(value), scale, is_number)?,
            Self::Date => Value::from(date(value).ok_or("a date out of range")?),
            Self::Time(unit) => Value::from(time(value, unit).ok_or("a time out of range")?),
            Self::Timestamp(unit, utc) => {
                Value::from(timestamp(value, unit, utc).ok_or("a timestamp out of range")?)
            }
            _ => Value::from(value),
        })
    }

    /// Of a number. Errors: it is none that JSON knows.
    pub fn float(value: f64) -> Result<Value, String> {
        match Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None if value.is_nan() => Err("is NaN, which is no number; remove such rows".into()),
            None => Err("is infinite, which is no number of JSON; remove such rows".into()),
        }
    }

    /// Of bytes. Errors: what is wrong with them.
    pub fn bytes(self, bytes: &[u8]) -> Result<Value, String> {
        match self {
            Self::Float16 => {
                let bytes = bytes.try_into().map_err(|_| "is no half of two bytes")?;
                Self::float(f16::from_le_bytes(bytes).to_f64())
            }
            Self::Decimal { scale, is_number } => {
                let value = big_endian(bytes).ok_or("is a decimal of more than 38 digits")?;
                decimal(value, scale, is_number)
            }
            Self::Uuid => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
                let groups = groups.map(|range| hex.get(range).unwrap_or_default());
                Ok(Value::from(groups.join("-")))
            }
            _ => match str::from_utf8(bytes) {
                Ok(text) => Ok(Value::from(text)),
                Err(_) => Err(
                    "holds bytes that are not UTF-8 text; leave the column out, or ignore it"
                        .into(),
                ),
            },
        }
    }

    /// A timestamp of 96 bits: nanoseconds of a Julian day.
    pub fn int96(words: &[u32]) -> Result<Value, String> {
        const DAY_OF_1970: i64 = 2_440_588;
        let [low, high, day] = words else {
            return Err("is no timestamp".into());
        };
        let nanos = (u64::from(*high) << 32) | u64::from(*low);
        let days = TimeDelta::try_days(i64::from(*day) - DAY_OF_1970);
        let within = TimeDelta::nanoseconds(i64::try_from(nanos).unwrap_or(i64::MAX));
        days.and_then(|days| DateTime::UNIX_EPOCH.checked_add_signed(days))
            .and_then(|day| day.checked_add_signed(within))
            .map(|at| Value::from(at.format(TIMESTAMP).to_string()))
            .ok_or_else(|| "is a timestamp out of range".into())
    }
}

const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.f";

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::MILLIS => 1_000,
        TimeUnit::MICROS => 1_000_000,
        TimeUnit::NANOS => 1_000_000_000,
    }
}

/// Seconds and the nanoseconds after them.
fn split(value: i64, per_second: i64) -> (i64, u32) {
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    (value.div_euclid(per_second), nanos as u32)
}

fn date(days: i64) -> Option<String> {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1)?;
    let date = epoch.checked_add_signed(TimeDelta::try_days(days)?)?;
    Some(date.to_string())
}

fn time(value: i64, per_second: i64) -> Option<String> {
    let (secs, nanos) = split(value, per_second);
    let secs = u32::try_from(secs).ok()?;
    let time = NaiveTime::from_num_seconds_from_midnight_opt(secs, nanos)?;
    Some(time.to_string())
}

fn timestamp(value: i64, per_second: i64, is_utc: bool) -> Option<String> {
    let (secs, nanos) = split(value, per_second);
    let at = DateTime::from_timestamp(secs, nanos)?;
    let zone = if is_utc { "+00:00" } else { "" };
    Some(format!("{}{zone}", at.format(TIMESTAMP)))
}

/// A number of two's complement, the highest byte first.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = match bytes.first() {
        Some(first) if first & 0x80 != 0 => 0xff,
        _ => 0,
    };
    let n_extra = bytes.len().saturating_sub(16);
    let (extra, rest) = bytes.split_at(n_extra);
    if extra.iter().any(|byte| *byte != sign) {
        return None;
    }
    let mut all = [sign; 16];
    all[16 - rest.len()..].copy_from_slice(rest);
    Some(i128::from_be_bytes(all))
}

fn decimal(value: i128, scale: i32, is_number: bool) -> Result<Value, String> {
    let n_decimals = usize::try_from(scale).map_err(|_| "is a decimal of a negative scale")?;
    if n_decimals > 64 {
        return Err("is a decimal of more than 64 places".into());
    }
    let digits = format!("{:0>1$}", value.unsigned_abs(), n_decimals + 1);
    let (whole, places) = digits.split_at(digits.len() - n_decimals);
    let sign = if value < 0 { "-" } else { "" };
    let text = match places {
        "" => format!("{sign}{whole}"),
        places => format!("{sign}{whole}.{places}"),
    };
    match (is_number, n_decimals) {
        (false, _) => Ok(Value::from(text)),
        (true, 0) => Ok(i64::try_from(value).map_or_else(|_| Value::from(text), Value::from)),
        (true, _) => {
            let number = text.parse::<f64>().ok().and_then(Number::from_f64);
            Ok(number.map_or_else(|| Value::from(text), Value::Number))
        }
    }
}
