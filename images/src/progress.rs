//! What a person sees while artifacts are fetched: bars on a terminal, one plain line per package elsewhere. The only part of
//! this crate that writes to stderr.

use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// Bars when stderr is a terminal, else lines.
    #[default]
    Auto,
    /// One line when a package starts to come and one when it is there.
    Lines,
    /// Nothing, for tests and for callers that show their own.
    Hidden,
}

pub(crate) enum Progress {
    Bars(MultiProgress),
    Lines,
    Hidden,
}

impl Progress {
    pub(crate) fn new(mode: ProgressMode) -> Self {
        match mode {
            ProgressMode::Auto if std::io::stderr().is_terminal() => Self::Bars(MultiProgress::new()),
            ProgressMode::Auto | ProgressMode::Lines => Self::Lines,
            ProgressMode::Hidden => Self::Hidden,
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: &str) {
        match self {
            // Without a line on the terminal there is nobody to tell that it failed.
            Self::Bars(bars) => drop(bars.println(text)),
            Self::Lines => line(text),
            Self::Hidden => {}
        }
    }

    /// A transfer of about `size` bytes (0: not known) begins.
    pub(crate) fn transfer(&self, label: &str, size: u64) -> Transfer {
        match self {
            Self::Bars(bars) => {
                let bar = bars.add(ProgressBar::new(size));
                let template = "{prefix:48!} [{bar:24}] {bytes:>11}/{total_bytes:11} {bytes_per_sec:>12}";
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_prefix(label.to_owned());
                Transfer(Some(bar))
            }
            Self::Lines => {
                line(&format!("fetching {label} ({})", mib(size)));
                Transfer(None)
            }
            Self::Hidden => Transfer(None),
        }
    }
}

fn line(text: &str) {
    // stderr that is gone is no reason to stop a fetch, as `eprintln!` would by its panic.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn mib(bytes: u64) -> String {
    match bytes {
        0 => "size not known".to_owned(),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

/// One transfer; its bar goes when it is dropped.
pub(crate) struct Transfer(Option<ProgressBar>);

impl Transfer {
    pub(crate) fn advance(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    pub(crate) fn restart(&self) {
        if let Some(bar) = &self.0 {
            bar.reset();
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
