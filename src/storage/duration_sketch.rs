//! `DurationSketch`: a histogram of durations for percentiles within 5 %. Two of them can be merged.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Enough for durations of two years; the last bin has no end.
const BINS: usize = 256;

/// The first millisecond of each bin.
const BIN_STARTS_MS: [u64; BINS] = {
    let mut starts = [0; BINS];
    let mut bin = 1;
    while bin < BINS {
        starts[bin] = starts[bin - 1] + bin_width_ms(starts[bin - 1]);
        bin += 1;
    }
    starts
};

/// Counts by the first millisecond of their bin. Stored as the same in JSON: `{"19":1,"550":12}`. A row of a rollup may have
/// several, one after the other, which are one sketch together.
///
/// A bin is a tenth of its first millisecond wide, so that the middle of a bin is at most 5 % from each duration in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationSketch(BTreeMap<u64, u64>);

impl DurationSketch {
    pub fn add(&mut self, ms: u64) {
        self.add_to_bin(bin_start_ms(ms), 1);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the counts of another sketch.
    pub fn merge(&mut self, other: &Self) {
        for (start, count) in &other.0 {
            self.add_to_bin(*start, *count);
        }
    }

    /// Adds the counts of stored sketches, which may stand one after the other. What is no sketch is ignored.
    pub fn merge_json(&mut self, json: &str) {
        let sketches = serde_json::Deserializer::from_str(json).into_iter();
        for sketch in sketches.map_while(Result::ok) {
            self.merge(&sketch);
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers serialize to JSON")
    }

    /// The percentile `percent` in milliseconds; `None` without durations.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let total = self.0.values().fold(0_u64, |sum, n| sum.saturating_add(*n));
        let rank = (u128::from(total) * u128::from(percent)).div_ceil(100);
        let mut below = 0;
        let bin = self.0.iter().find(|(_, count)| {
            below += u128::from(**count);
            below >= rank
        });
        bin.map(|(start, _)| start + bin_width_ms(*start) / 2)
    }

    fn add_to_bin(&mut self, start: u64, count: u64) {
        let bin = self.0.entry(start).or_default();
        *bin = bin.saturating_add(count);
    }
}

fn bin_start_ms(ms: u64) -> u64 {
    BIN_STARTS_MS[BIN_STARTS_MS.partition_point(|start| *start <= ms) - 1]
}

const fn bin_width_ms(start: u64) -> u64 {
    if start < 20 { 1 } else { start / 10 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketch_of(durations: &[u64]) -> DurationSketch {
        let mut sketch = DurationSketch::default();
        for ms in durations {
            sketch.add(*ms);
        }
        sketch
    }

    /// Up to a month, of each order of magnitude about as many.
    fn durations() -> impl Strategy<Value = Vec<u64>> {
        let duration = (0_u32..32).prop_flat_map(|bits| 0..=1_u64 << bits);
        prop::collection::vec(duration, 1..200)
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_five_percent(mut durations in durations(), percent in 1_u64..=100) {
            let estimate = sketch_of(&durations).percentile(percent).unwrap();

            durations.sort_unstable();
            let rank = (durations.len() * usize::try_from(percent).unwrap()).div_ceil(100);
            let exact = durations[rank - 1];
            prop_assert!(exact.abs_diff(estimate) * 20 <= exact, "{estimate} for {exact}");
        }

        #[test]
        fn sketches_merged_in_any_order_are_the_sketch_of_all(
            one in durations(), another in durations(), third in durations()
        ) {
            let all = sketch_of(&[one.as_slice(), &another, &third].concat());
            let [one, another, third] = [one, another, third].map(|part| sketch_of(&part));

            let mut forwards = one.clone();
            forwards.merge(&another);
            forwards.merge(&third);
            let mut backwards = third.clone();
            backwards.merge_json(&(another.to_json() + &one.to_json()));

            prop_assert_eq!(&forwards, &all);
            prop_assert_eq!(&backwards, &all);
        }
    }

    #[test]
    fn every_duration_lies_in_its_bin() {
        for (index, start) in BIN_STARTS_MS.into_iter().enumerate() {
            let next = BIN_STARTS_MS.get(index + 1).copied();
            for ms in [start, next.map_or(u64::MAX, |next| next - 1)] {
                assert_eq!(bin_start_ms(ms), start, "{ms}");
            }
        }
    }

    #[test]
    fn a_sketch_is_stored_as_json_that_names_the_first_millisecond_of_each_bin() {
        let sketch = sketch_of(&[600, 19, 550]);

        assert_eq!(sketch.to_json(), r#"{"19":1,"550":2}"#);
        assert_eq!(DurationSketch::default().to_json(), "{}");
        assert_eq!(DurationSketch::default().percentile(50), None);
        assert!(sketch_of(&[u64::MAX]).percentile(100).is_some());
    }

    #[test]
    fn text_that_is_no_sketch_counts_nothing() {
        for text in ["", "{", "[1]", r#"{"a":1}"#, r#"{"1":-1}"#, "null"] {
            let mut sketch = sketch_of(&[5]);
            sketch.merge_json(text);
            assert_eq!(sketch, sketch_of(&[5]), "{text}");
        }
    }
}
