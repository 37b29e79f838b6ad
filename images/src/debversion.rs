//! Order of Debian package versions, as Debian Policy section 5.6.12 defines it. Knows nothing else about packages.

use std::cmp::Ordering;

/// Compares two versions as dpkg does.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (split(left), split(right));
    number(left.0, right.0).then_with(|| part(left.1, right.1)).then_with(|| part(left.2, right.2))
}

/// The upstream part: without epoch and Debian revision.
pub(crate) fn upstream(version: &str) -> &str {
    split(version).1
}

/// The upstream part as its authors write it: without Debian's mark of a repacked source, such as `+dfsg3`.
pub(crate) fn released(version: &str) -> &str {
    let upstream = upstream(version);
    upstream.split_once(['+', '~']).map_or(upstream, |(released, _)| released)
}

/// Epoch, upstream version, revision. An absent epoch or revision counts as `0`.
fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
    (epoch, upstream, revision)
}

/// Alternates between comparing a run of non-digits and a run of digits.
fn part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let order = text(cut(&mut left, |c| !c.is_ascii_digit()), cut(&mut right, |c| !c.is_ascii_digit()))
            .then_with(|| {
                number(cut(&mut left, |c| c.is_ascii_digit()), cut(&mut right, |c| c.is_ascii_digit()))
            });
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Takes the longest prefix of accepted characters off.
fn cut<'a>(text: &mut &'a str, accept: impl Fn(char) -> bool) -> &'a str {
    let end = text.find(|c| !accept(c)).unwrap_or(text.len());
    let (prefix, rest) = text.split_at(end);
    *text = rest;
    prefix
}

/// Tilde before the end, the end before letters, letters before everything else.
fn text(left: &str, right: &str) -> Ordering {
    let weight = |c: Option<u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(letter),
        Some(other) => i32::from(other) + 256,
    };
    let (left, right) = (left.as_bytes(), right.as_bytes());
    (0..left.len().max(right.len()))
        .map(|at| weight(left.get(at).copied()).cmp(&weight(right.get(at).copied())))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Numbers of any length, leading zeros without meaning.
fn number(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches an order by text, in which 6.1.99 is newer than 6.1.176, and a wrong place of the tilde.
    #[test]
    fn order_is_dpkgs() {
        let ascending = [
            "5.10.223-1",
            "5.10.223-1+b1",
            "6.1.99-1",
            "6.1.176-1~deb12u1",
            "6.1.176-1",
            "6.1.176-1+deb12u1",
            "6.12~rc1-1",
            "6.12-1",
            "6.12.107-1",
            "6.12.107+deb13-1",
            "1:0.1-1",
            "1:2.0.20-2.1",
            "1:2.0.25-3",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (position, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), at.cmp(&position), "{left} and {right}");
            }
        }
        assert_eq!(compare("0:1.0-0", "1.00"), Ordering::Equal);
    }

    /// Catches the series of a package being read off its epoch or revision.
    #[test]
    fn upstream_part() {
        assert_eq!(upstream("1:2.0.25-3+deb12u3"), "2.0.25");
        assert_eq!(upstream("1.85.0+dfsg3-1~deb12u3"), "1.85.0+dfsg3");
        assert_eq!(released("1.85.0+dfsg3-1~deb12u3"), "1.85.0");
        assert_eq!(released("1:2.0.25-3"), "2.0.25");
    }
}
