//! A length of time in years, months, days and hours, as retention options give it.

use std::{fmt, str::FromStr};

/// Years, months, days and hours before a moment. What a month is depends on that moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

/// Why a text is no period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// There is no number where one should be.
    #[error("no number where one is wanted in {text:?}")]
    NoNumber {
        /// The text.
        text: String,
    },
    /// The number is below zero, which would reach into the future.
    #[error("{text:?} is negative")]
    Negative {
        /// The text.
        text: String,
    },
    /// The number is too large.
    #[error("{text:?} is longer than any calendar")]
    TooLong {
        /// The text.
        text: String,
    },
    /// There is no unit, or an unknown one, behind a number.
    #[error("{text:?} needs y, m, d or h behind every number")]
    NoUnit {
        /// The text.
        text: String,
    },
}

impl Period {
    /// Whether it is no time at all.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    /// Reads `2y5m7d3h`; each unit may be left out, of one given twice the last counts.
    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let mut period = Self::default();
        let mut rest = text.trim();
        let told = || text.to_owned();
        while !rest.is_empty() {
            if rest.starts_with('-') {
                return Err(PeriodError::Negative { text: told() });
            }
            let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
            let (digits, behind) = rest.split_at(end);
            if digits.is_empty() {
                return Err(PeriodError::NoNumber { text: told() });
            }
            let number = digits.parse().map_err(|_large| PeriodError::TooLong { text: told() })?;
            let mut behind = behind.chars();
            match behind.next() {
                Some('y') => period.years = number,
                Some('m') => period.months = number,
                Some('d') => period.days = number,
                Some('h') => period.hours = number,
                _ => return Err(PeriodError::NoUnit { text: told() }),
            }
            rest = behind.as_str();
        }
        Ok(period)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        units
            .iter()
            .filter(|(number, _)| *number != 0)
            .try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_printed() {
        for (text, printed) in
            [("1y5m7d2h", "1y5m7d2h"), (" 7d ", "7d"), ("2h1y", "1y2h"), ("0d", ""), ("", "")]
        {
            let period: Period = text.parse().expect("a period");
            assert_eq!(period.to_string(), printed);
            assert_eq!(period.is_zero(), printed.is_empty());
        }
        assert_eq!("1d2d".parse(), Ok(Period { days: 2, ..Period::default() }));
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in ["5", "d", "5x", "-5d", "1d-5h", "5 d", "1.5d", "99999999999d", "4294967296h"] {
            text.parse::<Period>().expect_err(text);
        }
    }
}
