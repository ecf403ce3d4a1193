//! The part of a file that a request is for.
//!
//! Invariants: what cannot be read as one range of bytes is passed over, as HTTP has it, and the
//! whole file is the answer; several ranges are answered with the whole file, which HTTP allows.

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// From a byte to one past the last.
    Range { from: u64, end: u64 },
    /// Nothing that is there.
    Beyond,
}

/// The part that a `Range` header is for, of a file of `size` bytes.
pub(super) fn part(header: &str, size: u64) -> Part {
    let Some((from, last)) = header.strip_prefix("bytes=").and_then(|spec| spec.split_once('-'))
    else {
        return Part::Whole;
    };
    let number = |text: &str| {
        text.trim().bytes().all(|byte| byte.is_ascii_digit()).then(|| {
            // Digits only, so what does not fit is too large.
            text.trim().parse().unwrap_or(u64::MAX)
        })
    };
    let (Some(first), Some(given_last)) = (number(from), number(last)) else { return Part::Whole };
    match (from.trim().is_empty(), last.trim().is_empty()) {
        (true, true) => Part::Whole,
        (true, false) if given_last == 0 || size == 0 => Part::Beyond,
        (true, false) => Part::Range { from: size.saturating_sub(given_last), end: size },
        (false, is_open) => {
            if !is_open && given_last < first {
                return Part::Whole;
            }
            if first >= size {
                return Part::Beyond;
            }
            let end = if is_open { size } else { given_last.saturating_add(1).min(size) };
            Part::Range { from: first, end }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_answered() {
        let range = |from, end| Part::Range { from, end };
        for (header, expected) in [
            ("bytes=0-0", range(0, 1)),
            ("bytes=0-", range(0, 100)),
            ("bytes=5-9", range(5, 10)),
            ("bytes=90-1000", range(90, 100)),
            ("bytes=99-99999999999999999999", range(99, 100)),
            ("bytes=-1", range(99, 100)),
            ("bytes=-1000", range(0, 100)),
            ("bytes= 5 - 9 ", range(5, 10)),
            ("bytes=100-", Part::Beyond),
            ("bytes=99999999999999999999-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=9-5", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("items=0-1", Part::Whole),
        ] {
            assert_eq!(part(header, 100), expected, "{header}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Beyond);
        assert_eq!(part("bytes=-5", 0), Part::Beyond);
    }
}
