//! A table for people, in both forms that it is printed in. Pure.

/// Rows under a head. Every row has as many cells as the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What it tells.
    pub title: String,
    /// The columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// For a terminal: columns as wide as their widest cell, numbers to the right.
    pub fn text(&self) -> String {
        let mut text = format!("{}:", self.title);
        if self.rows.is_empty() {
            text.push_str(" nowhere\n");
            return text;
        }
        text.push('\n');
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for row in all() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if self.is_of_numbers(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            text.push_str(&format!("  {}\n", line.trim_end()));
        }
        text
    }

    /// For documents.
    pub fn markdown(&self) -> String {
        let mut text = format!("{}:", self.title);
        if self.rows.is_empty() {
            text.push_str(" nowhere.\n");
            return text;
        }
        text.push_str("\n\n");
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        text.push_str(&line(&self.head));
        let rule = (0..self.head.len()).map(|column| if self.is_of_numbers(column) { "---:" } else { "---" });
        text.push_str(&format!("| {} |\n", rule.collect::<Vec<_>>().join(" | ")));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }

    fn is_of_numbers(&self, column: usize) -> bool {
        let is_number = |cell: &String| !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit());
        self.rows.iter().all(|row| row.get(column).is_some_and(is_number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[&str; 2]]) -> Table {
        Table {
            title: "Which".into(),
            head: vec!["loader".into(), "cells".into()],
            rows: rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect(),
        }
    }

    /// Bug: a bar in a cell makes a column; columns do not stand under each other; an empty table looks like a broken one.
    #[test]
    fn both_forms() {
        let full = table(&[["in-tree", "120"], ["a|b", "7"]]);
        assert_eq!(full.text(), "Which:\n  loader   cells\n  in-tree    120\n  a|b          7\n");
        assert_eq!(
            full.markdown(),
            "Which:\n\n| loader | cells |\n| --- | ---: |\n| in-tree | 120 |\n| a\\|b | 7 |\n"
        );
        assert_eq!(table(&[]).text(), "Which: nowhere\n");
        assert_eq!(table(&[]).markdown(), "Which: nowhere.\n");
    }
}
