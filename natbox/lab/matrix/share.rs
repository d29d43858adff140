//! A share of runs that succeeded, with its confidence interval.

/// How many of so many runs succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Runs that came to a path.
    pub connected: usize,
    /// All runs.
    pub runs: usize,
}

/// The quantile of the normal distribution for 95 %.
const Z: f64 = 1.959_963_984_540_054;

impl Share {
    /// The share, 0 to 1; 0 of no runs.
    pub fn value(self) -> f64 {
        if self.runs == 0 { 0.0 } else { self.connected as f64 / self.runs as f64 }
    }

    /// The 95 % confidence interval of the share: Wilson's score interval, which holds for few runs and at 0 and 1 too
    /// (Wilson 1927; Brown, Cai and DasGupta 2001).
    pub fn interval(self) -> (f64, f64) {
        if self.runs == 0 {
            return (0.0, 1.0);
        }
        let (n, p) = (self.runs as f64, self.value());
        let middle = p + Z * Z / (2.0 * n);
        let width = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        // At the ends the arithmetic misses 0 and 1 by its last digit.
        let low = if self.connected == 0 { 0.0 } else { (middle - width) / scale };
        let high = if self.connected == self.runs { 1.0 } else { (middle + width) / scale };
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::Share;

    fn rounded(connected: usize, runs: usize) -> (f64, f64) {
        let (low, high) = Share { connected, runs }.interval();
        ((low * 1e4).round() / 1e4, (high * 1e4).round() / 1e4)
    }

    #[test]
    fn the_interval_is_wilson_s() {
        // By hand from the formula, with z = 1.96.
        assert_eq!(rounded(0, 10), (0.0, 0.2775));
        assert_eq!(rounded(5, 10), (0.2366, 0.7634));
        assert_eq!(rounded(10, 10), (0.7225, 1.0));
        assert_eq!(rounded(1, 1), (0.2065, 1.0));
        assert_eq!(rounded(81, 263), (0.2553, 0.3662));
        assert_eq!(rounded(0, 0), (0.0, 1.0));
    }
}
