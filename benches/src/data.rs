//! Bytes to measure with.
//!
//! Invariants: the same on every machine and in every run.

/// Bytes that neither compress nor repeat.
pub fn random_bytes(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
    while bytes.len() < length {
        bytes.extend_from_slice(&next());
    }
    bytes.truncate(length);
    bytes
}

/// Lines of words such as source code has, which compress about sevenfold.
pub fn text_bytes(length: usize) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "fn",
        "let",
        "match",
        "return",
        "struct",
        "self",
        "buffer",
        "index",
        "chunk",
        "directory",
        "(key, value)",
        "=>",
        "=",
        "{",
        "}",
        ";",
        "u64",
        "&mut",
        "Option<usize>",
        "// why:",
        "offset + 1",
        "\"name\"",
        "if",
        "else",
    ];
    let choices = random_bytes(length);
    let mut bytes = Vec::with_capacity(length + 16);
    for (at, choice) in choices.iter().enumerate() {
        bytes.extend_from_slice(WORDS[usize::from(*choice) % WORDS.len()].as_bytes());
        bytes.push(if at % 9 == 8 { b'\n' } else { b' ' });
        if bytes.len() >= length {
            break;
        }
    }
    bytes.truncate(length);
    bytes
}
