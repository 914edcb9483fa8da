//! Sizes as people write them: `512m`, `16Gi`, `1073741824`.

/// Bytes of a size: a whole number, with k, m, g or t for powers of 1024; `i` and `b` may follow.
pub(super) fn parse(text: &str) -> Result<i64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{text:?} is no size; expected a number, and k, m, g or t after it")),
    };
    let number: i64 = number.parse().map_err(|_| format!("{text:?} is no size; expected a number"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

/// A size for a table.
pub(super) fn show(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes.max(0) as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in
            [("0", 0), ("512m", 512 << 20), ("16Gi", 16 << 30), ("1KB", 1024), ("2tib", 2 << 40)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "-1", "1.5g", "12x", "99999999999t"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!([show(0), show(1023), show(1536), show(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
