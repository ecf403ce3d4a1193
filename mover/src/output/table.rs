//! Rows in columns, as restic prints them.
//!
//! Invariants: a cell may have several lines; nothing is printed after the last cell of a line that
//! has anything.

/// A table.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    footer: Vec<String>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), ..Self::default() }
    }

    /// Adds a row: one cell for each heading.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a line below the table.
    pub(crate) fn footer(&mut self, line: impl Into<String>) {
        self.footer.push(line.into());
    }

    /// The lines of the table.
    pub(crate) fn lines(&self) -> Vec<String> {
        let headings: Vec<String> = self.headings.iter().map(|text| (*text).to_owned()).collect();
        let mut widths = vec![0; headings.len()];
        for row in self.rows.iter().chain([&headings]) {
            for (width, cell) in widths.iter_mut().zip(row) {
                let widest = cell.lines().map(|line| line.chars().count()).max();
                *width = (*width).max(widest.unwrap_or(0));
            }
        }
        let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1));
        let mut lines = row_lines(&headings, &widths);
        lines.push(rule.clone());
        lines.extend(self.rows.iter().flat_map(|row| row_lines(row, &widths)));
        lines.push(rule);
        lines.extend(self.footer.iter().cloned());
        lines
    }
}

fn row_lines(row: &[String], widths: &[usize]) -> Vec<String> {
    let height = row.iter().map(|cell| cell.lines().count()).max().unwrap_or(0).max(1);
    let line = |at: usize| {
        let cells = row.iter().zip(widths);
        let cells = cells.map(|(cell, width)| {
            let text = cell.lines().nth(at).unwrap_or_default();
            let padding = width.saturating_sub(text.chars().count());
            format!("{text}{}", " ".repeat(padding))
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_several_lines_stay_in_their_column() {
        let mut table = Table::new(&["ID", "Tags", "Size"]);
        table.row(vec!["1234".into(), "a\nbcdefg".into(), "3 B".into()]);
        table.row(vec!["5".into(), String::new(), String::new()]);
        table.footer("2 rows");
        let lines = [
            "ID    Tags    Size",
            "------------------",
            "1234  a       3 B",
            "      bcdefg",
            "5",
            "------------------",
            "2 rows",
        ];
        assert_eq!(table.lines(), lines);
    }
}
