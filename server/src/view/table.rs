//! Plain tables: columns as wide as they need, two blanks between them.

/// Rows under headings.
#[derive(Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Columns whose values stand to the right.
    numeric: Vec<bool>,
}

impl Table {
    /// A table without rows. A heading that begins with `>` has its column stand to the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.iter().map(|heading| heading.trim_start_matches('>')).collect(),
            numeric: headings.iter().map(|heading| heading.starts_with('>')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as lines, without trailing blanks.
    pub fn render(&self) -> String {
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let lines: Vec<&Vec<String>> = std::iter::once(&headings).chain(&self.rows).collect();
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|column| {
                lines
                    .iter()
                    .filter_map(|line| line.get(column))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for line in lines {
            let mut text = String::new();
            for ((cell, width), numeric) in line.iter().zip(&widths).zip(&self.numeric) {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if *numeric { (padding.as_str(), "") } else { ("", padding.as_str()) };
                text.push_str(&format!("{before}{cell}{after}  "));
            }
            out.push_str(text.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need() {
        let mut table = Table::new(&["metric", ">value"]);
        table.row(vec!["temperature".to_owned(), "21.5".to_owned()]);
        table.row(vec!["druck".to_owned(), "7".to_owned()]);
        assert_eq!(table.render(), "metric       value\ntemperature   21.5\ndruck            7\n");
    }
}
