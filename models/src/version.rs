//! The order of versions.

use std::cmp::Ordering;

/// Compares `1.10` after `1.9`, `v2` after `v1`, and `2.0-rc1` before `2.0` and `2`, as semantic versioning orders them.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (left_release, left_pre) = split_version(left);
    let (right_release, right_pre) = split_version(right);
    compare_parts(left_release, right_release, Some("0"))
        .then_with(|| match (left_pre, right_pre) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(left), Some(right)) => compare_parts(left, right, None),
        })
        // Versions that mean the same (`1` and `01`) still need one order.
        .then_with(|| left.cmp(right))
}

/// Release and pre-release; a leading `v` and build metadata after `+` say nothing about the order.
fn split_version(version: &str) -> (&str, Option<&str>) {
    let version = version.split('+').next().unwrap_or(version);
    let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
    version.split_once('-').map_or((version, None), |(release, pre)| (release, Some(pre)))
}

/// Part by part; where one has fewer, it is filled up with `missing`, or else it is the smaller one.
fn compare_parts(left: &str, right: &str, missing: Option<&str>) -> Ordering {
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let order = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (left, right) => match (left.or(missing), right.or(missing)) {
                (Some(left), Some(right)) => compare_part(left, right),
                (left, right) => left.is_some().cmp(&right.is_some()),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Numbers before words, numbers by value whatever their length.
fn compare_part(left: &str, right: &str) -> Ordering {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty();
    match (number(left), number(right)) {
        (true, true) => {
            let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
            left.len().cmp(&right.len()).then_with(|| left.cmp(right))
        }
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.cmp(right),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let mut versions = ["10", "9", "v2", "2.0-rc1", "1.10", "1.9", "1.9.1", "2.0-rc.2", "2.0", "20260101"];
        versions.sort_by(|left, right| compare(left, right));
        assert_eq!(versions, ["1.9", "1.9.1", "1.10", "2.0-rc.2", "2.0-rc1", "2.0", "v2", "9", "10", "20260101"]);
    }
}
