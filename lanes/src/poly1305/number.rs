//! Numbers modulo 2^130 - 5 as limbs of 44, 44 and 42 bits.
//!
//! Invariants: limbs may be a little longer than that between operations; each function says how
//! much it takes and gives.

const LIMB: u64 = (1 << 44) - 1;
const TOP: u64 = (1 << 42) - 1;

/// l0 + l1 * 2^44 + l2 * 2^88.
pub(super) type Number = [u64; 3];

/// r of a key, clamped.
pub(super) fn clamped(r: [u8; 16]) -> Number {
    split(u128::from_le_bytes(r) & 0x0fff_fffc_0fff_fffc_0fff_fffc_0fff_ffff)
}

/// A block of up to 16 bytes with the one behind its last byte.
pub(super) fn block(bytes: &[u8]) -> Number {
    let mut padded = [0; 16];
    padded[..bytes.len()].copy_from_slice(bytes);
    if let Some(end) = padded.get_mut(bytes.len()) {
        *end = 1;
    }
    let [l0, l1, l2] = split(u128::from_le_bytes(padded));
    [l0, l1, if bytes.len() == 16 { l2 | 1 << 40 } else { l2 }]
}

fn split(value: u128) -> Number {
    // The masks make the casts exact.
    [value as u64 & LIMB, (value >> 44) as u64 & LIMB, (value >> 88) as u64]
}

pub(super) fn add(a: Number, b: Number) -> Number {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// a * b, for limbs of a below 2^49 and of b below 2^45; of the result below 2^45.
pub(super) fn multiply(a: Number, b: Number) -> Number {
    let [a0, a1, a2] = a.map(u128::from);
    let [b0, b1, b2] = b.map(u128::from);
    // A limb beyond the top stands for 2^132, which is 20.
    let (c1, c2) = (20 * b1, 20 * b2);
    let d0 = a0 * b0 + a1 * c2 + a2 * c1;
    let d1 = a0 * b1 + a1 * b0 + a2 * c2 + (d0 >> 44);
    let d2 = a0 * b2 + a1 * b1 + a2 * b0 + (d1 >> 44);
    // Below 2^96, so that five times what is beyond 2^42 fits into 64 bits.
    let l0 = (d0 as u64 & LIMB) + 5 * (d2 >> 42) as u64;
    [l0 & LIMB, (d1 as u64 & LIMB) + (l0 >> 44), d2 as u64 & TOP]
}

/// The tag: reduced fully, plus s, modulo 2^128. Limbs below 2^50.
pub(super) fn finish(number: Number, s: [u8; 16]) -> [u8; 16] {
    let [mut l0, mut l1, mut l2] = number;
    // The first pass leaves l0 a few too long, the second at most five, the third none.
    for _ in 0..3 {
        l1 += l0 >> 44;
        l0 &= LIMB;
        l2 += l1 >> 44;
        l1 &= LIMB;
        l0 += 5 * (l2 >> 42);
        l2 &= TOP;
    }
    // Adding 5 overflows 2^130 exactly if the number was not below the modulus.
    let m0 = l0 + 5;
    let m1 = l1 + (m0 >> 44);
    let m2 = l2 + (m1 >> 44);
    let over = (m2 >> 42).wrapping_neg();
    let pick = |below: u64, reduced: u64| u128::from(below & !over | reduced & over);
    let value = pick(l0, m0 & LIMB) | pick(l1, m1 & LIMB) << 44 | pick(l2, m2 & TOP) << 88;
    value.wrapping_add(u128::from_le_bytes(s)).to_le_bytes()
}
