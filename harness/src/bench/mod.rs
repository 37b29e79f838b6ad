//! Loaders beside each other: what was measured, as figures and as ratios to the fastest reference. Pure.

mod figures;
mod table;

pub use figures::{Basis, Contest, Entrant, Quantity, Ratio, Spread, contests};
pub use table::table;
