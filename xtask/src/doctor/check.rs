//! One thing that was looked at, and how people and programs are told of it. Pure.

use serde::Serialize;

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// The rig runs, and this is worth knowing.
    Note,
    /// The rig does not run without it.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// What was looked at.
    check: String,
    level: Level,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(rename = "do")]
    advice: Option<String>,
}

impl Check {
    pub(super) fn ok(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Ok, found: found.into(), advice: None }
    }

    pub(super) fn note(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Note, found: found.into(), advice: Some(advice.into()) }
    }

    pub(super) fn missing(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check: check.into(), level: Level::Missing, found: found.into(), advice: Some(advice.into()) }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Findings {
    /// Whether the rig can run: nothing is missing.
    usable: bool,
    /// The probe's figures; none where no QEMU could be tried.
    speed: Option<super::speed::Figures>,
    checks: Vec<Check>,
}

impl Findings {
    pub(super) fn new(checks: Vec<Check>, speed: Option<super::speed::Figures>) -> Self {
        Self { usable: checks.iter().all(|check| check.level != Level::Missing), speed, checks }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// A line a check, a second one with what to do, and the conclusion.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Check { check, level, found, advice } in &self.checks {
            let level = match level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Missing => "missing",
            };
            text.push_str(&format!("{level:<8} {check}: {found}\n"));
            if let Some(advice) = advice {
                text.push_str(&format!("         -> {advice}\n"));
            }
        }
        let missing = self.checks.iter().filter(|check| check.level == Level::Missing).count();
        text.push_str(&match missing {
            0 => "this host can run the rig".to_owned(),
            1 => "this host cannot run the rig yet: 1 thing is missing".to_owned(),
            more => format!("this host cannot run the rig yet: {more} things are missing"),
        });
        text
    }

    /// The same for programs, one object.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Findings {
        let checks = vec![
            Check::ok("cc", "/usr/bin/cc"),
            Check::note("load", "6.8 on 2 CPUs", "wait"),
            Check::missing("QEMU", "none in PATH", "install it"),
        ];
        Findings::new(checks, None)
    }

    /// Catches a lack without what to do about it, and a conclusion that contradicts the lines.
    #[test]
    fn people_are_told_what_to_do() {
        assert_eq!(
            findings().text(),
            "ok       cc: /usr/bin/cc\n\
             note     load: 6.8 on 2 CPUs\n         -> wait\n\
             missing  QEMU: none in PATH\n         -> install it\n\
             this host cannot run the rig yet: 1 thing is missing"
        );
        let noted = Findings::new(vec![Check::note("load", "6.8", "wait")], None);
        assert!(noted.is_usable() && noted.text().ends_with("this host can run the rig"));
    }

    /// Catches renamed fields: scripts read them.
    #[test]
    fn programs_are_told_the_same() {
        let json: serde_json::Value = serde_json::from_str(&findings().json().unwrap()).unwrap();
        assert_eq!(json["usable"], false);
        let missing = serde_json::json!({"check": "QEMU", "level": "missing", "found": "none in PATH", "do": "install it"});
        assert_eq!(json["checks"][2], missing);
    }
}
