//! Seeded random numbers: the same seed gives the same numbers on every machine and in every version.

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): 64 bits of state, full period.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

/// What the state grows by with each number.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// Starts at `seed`; every seed, 0 included, is as good as any other.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Goes on as if so many numbers had been drawn.
    pub const fn skip(&mut self, count: u64) {
        self.state = self.state.wrapping_add(STEP.wrapping_mul(count));
    }

    /// A number in `0..bound`, by multiplication (Lemire 2019, without its rejection: biased by less than
    /// `bound / 2^64`).
    ///
    /// # Panics
    ///
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_of_a_seed_never_change() {
        // The published test vector of SplitMix64 for seed 1234567.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_u64(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_that_are_skipped_are_those_that_would_have_been_drawn() {
        let (mut one, mut other) = (Random::new(5), Random::new(5));
        for _ in 0..7 {
            one.next_u64();
        }
        other.skip(7);
        assert_eq!(one.next_u64(), other.next_u64());
    }

    #[test]
    fn bounds_hold() {
        let mut random = Random::new(0);
        for bound in 1..500 {
            assert!(random.below(bound) < bound);
            assert!((0.0..1.0).contains(&random.unit()));
        }
    }
}
