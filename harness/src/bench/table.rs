//! A contest as a table, for people.

use super::figures::{Contest, Quantity, Spread};

/// The lines of a contest's table.
pub fn table(contest: &Contest) -> Vec<String> {
    let each = || contest.entrants.iter().flat_map(|one| one.rounds.values()).map(Vec::len);
    // Fewer of a loader that was not measured to the end.
    let rounds = match (each().min().unwrap_or(0), each().max().unwrap_or(0)) {
        (least, most) if least == most => most.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let title =
        format!("{}; {rounds} rounds, {}: median (least to most)", contest.name, contest.basis.unit());
    let mut rows = vec![row("", |quantity| quantity.name().to_owned())];
    for entrant in &contest.entrants {
        rows.push(row(&entrant.name, |quantity| cell(entrant.figures.get(&quantity), 1)));
    }
    let compared = contest.entrants.iter().any(|one| !one.ours);
    for entrant in contest.entrants.iter().filter(|one| one.ours && compared) {
        let name = format!("{} / fastest", entrant.name);
        rows.push(row(&name, |quantity| cell(entrant.ratios.get(&quantity).map(|ratio| &ratio.share), 2)));
        rows.push(row("", |quantity| match (entrant.ratios.get(&quantity), contest.unknown(quantity)) {
            (Some(ratio), _) => ratio.to.clone(),
            (None, Some(reference)) => format!("none of {reference}"),
            (None, None) => String::new(),
        }));
    }
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len))
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (text, &width))| match column {
            0 => format!("  {text:<width$}"),
            _ => format!("  {text:>width$}"),
        });
        cells.collect::<String>().trim_end().to_owned()
    };
    std::iter::once(title).chain(rows.into_iter().map(line)).collect()
}

fn row(name: &str, cell: impl Fn(Quantity) -> String) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(Quantity::ALL.map(cell)).collect()
}

fn cell(spread: Option<&Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "-".to_owned(),
        |Spread { median, least, most }| format!("{median:.digits$} ({least:.digits$} to {most:.digits$})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::contests;
    use crate::bench::figures::Basis;
    use crate::bench::figures::tests::benched;

    /// Bug: a figure stands in another's column, or it is not said which reference a ratio is to.
    #[test]
    fn a_contest_for_people() {
        let all = [
            benched("in-tree", &["--entry-32bit"], &[50, 52], 5),
            benched("kexec-tools@2.0.20", &[], &[100, 104], 50),
        ];
        let text = table(&contests(&all, Basis::Time)[0]).join("\n");
        let golden = "\
5.10-amd64 -> 5.10-amd64, i386 userspace, 256M@1968M on pc-4g; 2 rounds, milliseconds: median (least to most)
                                                  load   panic to purgatory  purgatory to kernel      panic to kernel
  in-tree --entry-32bit            51.0 (50.0 to 52.0)  10.0 (10.0 to 10.0)     5.0 (5.0 to 5.0)  15.0 (15.0 to 15.0)
  kexec-tools@2.0.20            102.0 (100.0 to 104.0)  10.0 (10.0 to 10.0)  50.0 (50.0 to 50.0)  60.0 (60.0 to 60.0)
  in-tree --entry-32bit / fastest     0.50 (0.50 to 0.50)  1.00 (1.00 to 1.00)  0.10 (0.10 to 0.10)  0.25 (0.25 to 0.25)
                                  kexec-tools@2.0.20   kexec-tools@2.0.20   kexec-tools@2.0.20   kexec-tools@2.0.20";
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>(),
            golden.split_whitespace().collect::<Vec<_>>()
        );
        let widths: Vec<usize> = text.lines().skip(1).map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "the columns do not line up:\n{text}");
    }
}
