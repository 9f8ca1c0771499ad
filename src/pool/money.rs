//! Amounts of dollars as text; counted in billionths, so that sums are exact.

const NANO: u64 = 1_000_000_000;

/// `12.50`: two digits of cents, or more where needed.
pub fn usd(nano: u64) -> String {
    let digits = format!("{:09}", nano % NANO);
    let cents = digits.trim_end_matches('0');
    format!("{}.{cents:0<2}", nano / NANO)
}

/// Billionths of dollars from `12`, `12.5` or `0.000001`; `None` for anything else.
pub fn nano_usd(text: &str) -> Option<u64> {
    let (dollars, cents) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(dollars) || !is_number(cents) || cents.len() > 9 {
        return None;
    }
    let cents: u64 = format!("{cents:0<9}").parse().ok()?;
    dollars
        .parse::<u64>()
        .ok()?
        .checked_mul(NANO)?
        .checked_add(cents)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dollars_have_two_digits_of_cents_or_more_where_needed() {
        let cases = [
            (0, "0.00"),
            (12_500_000_000, "12.50"),
            (NANO, "1.00"),
            (1, "0.000000001"),
            (123_450_000, "0.12345"),
        ];
        for (nano, expected) in cases {
            assert_eq!(usd(nano), expected);
        }
    }

    #[test]
    fn invalid_amounts_are_refused() {
        assert_eq!(nano_usd("10"), Some(10 * NANO));
        for text in [
            "",
            ".",
            ".5",
            "5.",
            "-1",
            "+1",
            "1e3",
            "1,5",
            "0.0000000001",
            "99999999999",
            "１",
        ] {
            assert_eq!(nano_usd(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn formatted_amounts_are_parsed_back(nano: u64) {
            prop_assert_eq!(nano_usd(&usd(nano)), Some(nano));
        }
    }
}
