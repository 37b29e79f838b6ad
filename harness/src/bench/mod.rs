//! Loaders beside each other, and ways of running cells beside each other: what was measured, as figures and as ratios. Pure.

mod figures;
mod matrix;
mod table;

pub use figures::{Basis, Contest, Entrant, Quantity, Ratio, Spread, contests};
pub use matrix::{Comparison, Lap, Part, Way};
pub use table::table;
