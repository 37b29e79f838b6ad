//! How much is asked of a guest beside its outcome.

use std::path::Path;

/// How much is asked of a guest beside its outcome. By default nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inquiry<'a> {
    /// The machine of a guest that hung, or whose outcome is not the expected one, is looked at before it is ended.
    pub examine: bool,
    /// The guest's clocks run by the number of its instructions, a nanosecond each (TCG alone does): what it does takes the same
    /// time whatever else the host does.
    pub counted: bool,
    /// QEMU logs every exception and interrupt (TCG alone does): slow, and kept in part.
    pub trace: bool,
    /// The memory of a guest whose outcome is not the expected one goes into this file as well.
    pub dump: Option<&'a Path>,
}
