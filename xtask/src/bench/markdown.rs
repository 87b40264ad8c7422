//! Tables in Markdown.
//!
//! In: rows of texts. Out: one text.

/// A Markdown table that also reads well as it is; the first row is its head, the first `texts` columns are no numbers.
pub fn markdown(rows: &[Vec<String>], texts: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            column if column < texts => format!(" {cell:<width$} "),
            _ => format!(" {cell:>width$} "),
        });
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule = widths.iter().enumerate().map(|(column, width)| match column {
        column if column < texts => format!("{}--", "-".repeat(*width)),
        _ => format!("{}-:", "-".repeat(*width)),
    });
    let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
    let mut lines = rows.iter().map(line);
    lines.next().into_iter().chain([rule]).chain(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["bcd".to_owned(), "1".to_owned()]];
        assert_eq!(markdown(&rows, 1), "| a   | long |\n|-----|-----:|\n| bcd |    1 |\n");
    }
}
