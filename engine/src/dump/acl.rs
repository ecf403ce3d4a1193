//! Linux access lists as text.
//!
//! ```text
//!  0        4        6        8            12
//!  ┌────────┬────────┬────────┬────────────┬──
//!  │ 2, LE  │ tag    │ rights │ id         │ … 8 bytes for each line
//!  └────────┴────────┴────────┴────────────┴──
//! ```
//!
//! Checked against acl(5) and the kernel's `posix_acl_xattr.h`.

const VERSION: [u8; 4] = [2, 0, 0, 0];

/// The list in long text form with numbers for names; `None` for what is none.
pub(super) fn text(value: &[u8]) -> Option<Vec<u8>> {
    let lines = value.strip_prefix(&VERSION)?;
    let (lines, rest) = lines.as_chunks::<8>();
    if !rest.is_empty() {
        return None;
    }
    let mut text = String::new();
    for [tag, tag_high, rights, _, id @ ..] in lines {
        let id = u32::from_le_bytes(*id).to_string();
        let (kind, id) = match (tag, tag_high) {
            (0x01, 0) => ("user", ""),
            (0x02, 0) => ("user", id.as_str()),
            (0x04, 0) => ("group", ""),
            (0x08, 0) => ("group", id.as_str()),
            (0x10, 0) => ("mask", ""),
            (0x20, 0) => ("other", ""),
            _ => return None,
        };
        let right = |bit: u8, letter: char| if rights & bit != 0 { letter } else { '-' };
        let rights = [right(4, 'r'), right(2, 'w'), right(1, 'x')];
        text.push_str(&format!("{kind}:{id}:{}\n", String::from_iter(rights)));
    }
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_with_numbers_and_anything_else_is_refused() {
        let mut list = VERSION.to_vec();
        for (tag, rights, id) in [(1_u16, 7_u16, u32::MAX), (2, 5, 1000), (4, 4, u32::MAX)] {
            list.extend(tag.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        let expected = "user::rwx\nuser:1000:r-x\ngroup::r--\n";
        assert_eq!(text(&list).expect("a list"), expected.as_bytes());
        assert_eq!(text(&VERSION), Some(Vec::new()));
        list.pop();
        assert_eq!(text(&list), None);
        assert_eq!(text(&[3, 0, 0, 0]), None);
        assert_eq!(text(&[2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
