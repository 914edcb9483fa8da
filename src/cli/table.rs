//! Columns for a terminal.

use crate::cli::output::say;

/// Prints rows under titles, each column as wide as its widest cell. Titles alone are not printed.
///
/// # Errors
/// When standard output is gone.
pub fn print<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> std::io::Result<()> {
    for line in lines(titles, rows) {
        say(&line)?;
    }
    Ok(())
}

fn lines<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let titles = titles.map(str::to_uppercase);
    let mut widths = titles.each_ref().map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &[String; N]| {
        let padded: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    std::iter::once(&titles).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "long cell".to_owned()], ["longer".to_owned(), "x".to_owned()]];
        assert_eq!(lines(["id", "what"], &rows), ["ID      WHAT", "a       long cell", "longer  x"]);
        assert!(lines(["id"], &[]).is_empty());
    }
}
