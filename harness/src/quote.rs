//! Texts of guests where there is room for their beginning only. Pure.

/// Characters of a quoted line that fit into a sentence.
const QUOTED: usize = 100;

/// The text without blanks around it, cut where it is too long for a sentence.
pub(crate) fn quote(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
