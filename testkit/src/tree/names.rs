//! Names, link targets, modes and times that have broken backup tools before.

/// Legal names.
pub(super) const NASTY: [&[u8]; 30] = [
    b" ",
    b"  leading and trailing  ",
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b"\x01\x1b[31m\x7f",
    b"\\",
    b"\\n",
    b"a\\b",
    b"\"quoted\"",
    b"'",
    b"<&>",
    b"*",
    b"?[a-z]",
    b"-rf",
    b"--",
    b"...",
    b".hidden",
    b"%s%n",
    b"$HOME",
    b"~",
    b"C:",
    b"\xff",
    b"bad \xc3\x28 utf-8",
    b"\xed\xa0\x80 surrogate",
    b"\xc3\xa9 composed",
    b"e\xcc\x81 decomposed",
    b"\xe2\x80\xa8\xc2\xa0\xef\xbb\xbf",
    b"\xf0\x9f\xa6\x80\xe6\xbc\xa2\xe5\xad\x97",
    &[b'x'; 255],
];

/// Targets of links, few of which exist.
pub(super) const TARGETS: [&[u8]; 8] = [
    b".",
    b"..",
    b"/",
    b"nowhere",
    b"../../../../etc/passwd",
    b"\xff\xfe",
    b"with \"quotes\" and \\ and <tags>",
    &[b'l'; 1000],
];

/// Modes under which the owner can still read.
pub(super) const FILE_MODES: [u32; 8] = [0o644, 0o600, 0o755, 0o400, 0o777, 0o4755, 0o2755, 0o6711];

/// Modes under which the owner can still enter, list and remove.
pub(super) const DIRECTORY_MODES: [u32; 5] = [0o755, 0o700, 0o1777, 0o2770, 0o711];

/// Around which times lie: before 1970, at it, now, and past 32 bits.
pub(super) const SECONDS: [i64; 6] =
    [-1_000_000_000, -50_000, 0, 1_000_000_000, 1_700_000_000, 4_500_000_000];
