//! Writes the pages of a report: the rim of [`super::html`] and [`super::junit`].

use super::{ReportError, ReportView, html, io_error, junit, new_file, read_view};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The results for people.
const HTML_FILE: &str = "report.html";

/// The results for CI systems.
const JUNIT_FILE: &str = "junit.xml";

/// Writes both pages of the report in `folder` into it, in place of earlier ones.
pub fn write_pages(folder: &Path) -> Result<[PathBuf; 2], ReportError> {
    let view = read_view(folder)?;
    let files = [HTML_FILE, JUNIT_FILE].map(|name| folder.join(name));
    write_html(&view, folder, &files[0])?;
    write_junit(&view, &files[1])?;
    Ok(files)
}

/// Writes the HTML page of the report in `folder` to `file`. Its links are relative where it lies in that folder.
pub fn write_html(view: &ReportView, folder: &Path, file: &Path) -> Result<(), ReportError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(io_error("find", path));
    let folder = absolute(folder)?;
    let base = match absolute(file)?.parent() {
        Some(parent) if parent == folder => Path::new("."),
        _ => &folder,
    };
    write_file(file, html(view, base).as_bytes())
}

/// Writes the JUnit file of a report to `file`.
pub fn write_junit(view: &ReportView, file: &Path) -> Result<(), ReportError> {
    let text = junit(view).map_err(|error| io_error("write", file)(io::Error::other(error)))?;
    write_file(file, text.as_bytes())
}

/// Writes a file that appears when it is whole, in place of an earlier one.
pub fn write_file(file: &Path, content: &[u8]) -> Result<(), ReportError> {
    let write = || {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut new = new_file(folder.unwrap_or(Path::new(".")))?;
        new.write_all(content)?;
        new.persist(file).map_err(|error| error.error)
    };
    write().map(drop).map_err(io_error("write", file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Verdict;
    use crate::report::Report;
    use crate::report::tests::{header, result};
    use crate::runner::Summary;

    /// Bug: a run that ends, also an interrupted one, leaves no pages; a page elsewhere has links that lead nowhere; or one half
    /// of a page is left where another stood.
    #[test]
    fn pages_are_written_when_a_run_ends() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("r");
        let mut report = Report::create(&folder, header()).unwrap();
        report.add(&result("cell-a", Verdict::Pass)).unwrap();
        report.finish(&Summary { interrupted: true, ..Summary::default() }).unwrap();
        let page = std::fs::read_to_string(folder.join(HTML_FILE)).unwrap();
        assert!(page.contains("cell-a") && page.contains("Interrupted."));
        assert!(std::fs::read_to_string(folder.join(JUNIT_FILE)).unwrap().contains("cell-a"));
        let elsewhere = parent.path().join("page.html");
        write_html(&read_view(&folder).unwrap(), &folder, &elsewhere).unwrap();
        let far = std::fs::read_to_string(&elsewhere).unwrap();
        // The result's evidence is the folder of its id.
        assert!(far.contains("cell-a") && !far.contains("href=\"./"), "{far}");
        // A page takes the place of an earlier one as a whole: nothing of a longer one is left behind it.
        std::fs::write(&elsewhere, "x".repeat(far.len() * 2)).unwrap();
        write_html(&read_view(&folder).unwrap(), &folder, &elsewhere).unwrap();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), far);
        let missing = parent.path().join("none/page.html");
        let why = write_junit(&ReportView::default(), &missing).unwrap_err().to_string();
        assert!(why.contains("cannot write") && why.contains("none/page.html"), "{why}");
    }
}
