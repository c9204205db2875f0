//! The few statistics that the reports rest on.

/// The middle value, or the mean of the two middle ones; 0 when there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle), middle.checked_sub(1).and_then(|m| sorted.get(m))) {
        (1, Some(&m), _) => m,
        (0, Some(&high), Some(&low)) => (low + high) / 2.0,
        _ => 0.0,
    }
}

/// The smallest value that at least `share` (0 to 1) of all values do not exceed (nearest rank); 0 when there is none.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// The slope of the least-squares line through `(x, y)`; `None` unless there are two different `x`.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
    let spread: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
    let together: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
    (spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), 3.0);
        assert_eq!(median(&[7.0]), 7.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn median_is_not_moved_by_one_bad_round() {
        assert_eq!(median(&[10.0, 11.0, 12.0, 11.0, 9_000.0]), 11.0);
    }

    #[test]
    fn percentile_is_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&hundred, 0.50), 50.0);
        assert_eq!(percentile(&hundred, 0.99), 99.0);
        assert_eq!(percentile(&hundred, 1.0), 100.0);
        assert_eq!(percentile(&hundred, 0.0), 1.0);
        assert_eq!(percentile(&[3.0], 0.99), 3.0);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }

    #[test]
    fn slope_finds_the_cost_of_one_whatever_the_base() {
        let exact = [
            (2_000.0, 50e6 + 2_000.0 * 3072.0),
            (8_000.0, 50e6 + 8_000.0 * 3072.0),
            (16_000.0, 50e6 + 16_000.0 * 3072.0),
        ];
        assert!((slope(&exact).unwrap() - 3072.0).abs() < 1e-6);
        let noisy = [(0.0, 1.0), (1.0, 2.0), (2.0, 6.0)];
        assert!((slope(&noisy).unwrap() - 2.5).abs() < 1e-9);
    }

    #[test]
    fn slope_needs_two_different_sizes() {
        assert_eq!(slope(&[]), None);
        assert_eq!(slope(&[(5.0, 1.0), (5.0, 9.0)]), None);
    }
}
