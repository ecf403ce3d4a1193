//! Data for the tests of the rolling hashes.

/// Bytes without a pattern.
pub(crate) fn random(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Data on which candidates crowd or never come.
pub(crate) fn regular(length: usize) -> Vec<Vec<u8>> {
    let mut all = vec![vec![0; length], vec![0xff; length]];
    for period in [2, 3, 4, 7, 8, 16, 32, 63, 64, 65, 2112] {
        let unit = random(period, period as u64);
        all.push(unit.iter().copied().cycle().take(length).collect());
    }
    // Zero runs of every kind of length between random ones.
    let mut mixed = Vec::new();
    for step in 1.. {
        mixed.extend(random(step * 37 % 5000, step as u64));
        mixed.resize(mixed.len() + step * 101 % 3000, 0);
        if mixed.len() >= length {
            break;
        }
    }
    mixed.truncate(length);
    all.push(mixed);
    all
}
