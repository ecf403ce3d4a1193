//! The polynomial a restic repository cuts with.
//!
//! Invariants
//! - A [`Polynomial`] has degree 53 and is irreducible over GF(2); there is no other way to hold
//!   one, so a damaged or hostile config cannot make chunks degenerate.
//! - Its text is lower-case hexadecimal without prefix, as restic's `config` carries it
//!   (checked against the module `restic/chunker`, `polynomials.go`).

use core::fmt;

use crate::damage::Damage;

const DEGREE: u32 = 53;

/// An irreducible polynomial of degree 53 over GF(2), bit i standing for x^i.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Polynomial(u64);

impl Polynomial {
    /// Takes the polynomial with these coefficients, if it is one a chunker can use.
    pub fn new(coefficients: u64) -> Result<Self, Damage> {
        if is_irreducible(coefficients) {
            Ok(Self(coefficients))
        } else {
            Err(Damage::Invalid { what: "chunker polynomial" })
        }
    }

    /// Reads the hexadecimal form a config holds; either case, no prefix, no sign.
    pub fn from_hex(hex: &str) -> Result<Self, Damage> {
        let wrong = Damage::Invalid { what: "chunker polynomial" };
        // `from_str_radix` alone would take a leading plus sign.
        if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        Self::new(u64::from_str_radix(hex, 16).map_err(|_| wrong)?)
    }

    /// Draws 64-bit numbers until one of them, cut to 54 bits with the first and last forced to
    /// one, is irreducible. About one in 27 is.
    pub fn random(mut draw: impl FnMut() -> u64) -> Self {
        loop {
            let candidate = draw() & ((1 << (DEGREE + 1)) - 1) | 1 << DEGREE | 1;
            if is_irreducible(candidate) {
                return Self(candidate);
            }
        }
    }

    /// The coefficients, bit i standing for x^i.
    pub fn coefficients(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Polynomial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Polynomial({:x})", self.0)
    }
}

/// Whether these coefficients are of degree 53 and have no divisor.
///
/// Ben-Or: f of degree n is irreducible exactly if it shares no factor with x^(2^i) - x for any
/// i up to n/2, the product of all irreducible polynomials of degrees dividing i.
pub fn is_irreducible(coefficients: u64) -> bool {
    if degree(coefficients) != Some(DEGREE) {
        return false;
    }
    let x = 0b10;
    let mut power = x;
    (1..=DEGREE / 2).all(|_| {
        power = multiply(power, power, coefficients);
        divisor(coefficients, power ^ x) == 1
    })
}

fn degree(polynomial: u64) -> Option<u32> {
    polynomial.checked_ilog2()
}

/// a * b mod f, for a and b of lower degree than f and f of degree 53.
fn multiply(a: u64, mut b: u64, f: u64) -> u64 {
    let (mut shifted, mut product) = (a, 0);
    while b != 0 {
        if b & 1 == 1 {
            product ^= shifted;
        }
        b >>= 1;
        shifted <<= 1;
        if shifted >> DEGREE & 1 == 1 {
            shifted ^= f;
        }
    }
    product
}

/// The greatest common divisor; `a` is not zero.
fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, remainder(a, b));
    }
    a
}

fn remainder(mut a: u64, b: u64) -> u64 {
    while let (Some(of_a), Some(of_b)) = (degree(a), degree(b)) {
        let Some(distance) = of_a.checked_sub(of_b) else { break };
        a ^= b << distance;
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_of_real_repositories_are_taken_and_shown_as_they_were_written() {
        for hex in ["265223f8e828b9", "3da3358b4dc173", "2e3e3e4a305605"] {
            assert_eq!(Polynomial::from_hex(hex).unwrap().to_string(), hex);
        }
        assert_eq!(Polynomial::from_hex("3DA3358B4DC173"), Polynomial::new(0x3d_a335_8b4d_c173));
    }

    #[test]
    fn text_that_is_no_usable_polynomial_is_refused() {
        let reducible = "20000000000001"; // x^53 + 1 has the factor x + 1
        let of_another_degree = "13"; // x^4 + x + 1, irreducible
        for hex in
            ["", "+265223f8e828b9", "0x265223f8e828b9", " 265223f8e828b9", "ffffffffffffffffff"]
                .into_iter()
                .chain([reducible, of_another_degree, "0", "265223f8e828b8"])
        {
            assert_eq!(
                Polynomial::from_hex(hex),
                Err(Damage::Invalid { what: "chunker polynomial" }),
                "{hex:?}"
            );
        }
    }

    #[test]
    fn every_product_of_two_polynomials_is_found_reducible() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for low in 1..=26_u32 {
            for _ in 0..20 {
                state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
                // Both factors have a constant term, so that x itself is never the reason.
                let a = (state >> 7) & ((1 << low) - 1) | 1 << low | 1;
                let high = DEGREE - low;
                let b = (state >> 3) & ((1 << high) - 1) | 1 << high | 1;
                let product =
                    (0..=low).filter(|bit| a >> bit & 1 == 1).fold(0, |p, bit| p ^ b << bit);
                assert_eq!(degree(product), Some(DEGREE));
                assert!(!is_irreducible(product), "{a:x} * {b:x}");
            }
        }
    }

    #[test]
    fn a_random_polynomial_comes_from_the_first_draw_that_is_irreducible() {
        // Bits above 53 are ignored, bits 53 and 0 forced.
        let draws = [0, 0xffc6_5223_f8e8_28b8, 0];
        let mut next = draws.into_iter();
        let drawn = Polynomial::random(|| next.next().unwrap());
        assert_eq!(drawn.to_string(), "265223f8e828b9");
        assert_eq!(next.count(), 1);
    }

    #[test]
    fn about_one_candidate_in_27_is_irreducible() {
        let mut state = 1_u64;
        let mut draws = 0;
        for _ in 0..200 {
            Polynomial::random(|| {
                draws += 1;
                state =
                    state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(0x9e37_79b9_7f4a_7c15);
                state ^ state >> 29
            });
        }
        assert!((200 * 18..200 * 38).contains(&draws), "{draws}");
    }
}
