//! Names of files and topics. What a scenario calls its cameras is anybody's text; a path made of it must stay where it
//! belongs.

/// Longest name, in bytes.
const LONGEST: usize = 100;

/// Letters, digits, `-`, `_` and `.`; everything else becomes `_`, and so does a leading dot.
pub(super) fn plain(name: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut plain: String =
        name.chars().take(LONGEST).map(|letter| if allowed(letter) { letter } else { '_' }).collect();
    if plain.is_empty() || plain.starts_with('.') {
        plain.insert(0, '_');
    }
    plain
}

/// The plain form of each, made different by a number where two would be the same.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut taken: Vec<String> = Vec::new();
    for name in names {
        let first = plain(name);
        let numbered = (2..).map(|number| format!("{first}_{number}"));
        let free = std::iter::once(first.clone()).chain(numbered).find(|name| !taken.contains(name));
        taken.extend(free);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_its_folder() {
        for (name, expected) in [
            ("camera_front_wide_120fov", "camera_front_wide_120fov"),
            ("../../etc/passwd", "_.._.._etc_passwd"),
            ("..", "_.."),
            ("", "_"),
            ("a/b\\c:d", "a_b_c_d"),
            ("kamera grün", "kamera_gr_n"),
        ] {
            assert_eq!(plain(name), expected);
        }
    }

    #[test]
    fn names_that_become_the_same_are_numbered() {
        assert_eq!(distinct(["a b", "a_b", "a/b", "c"].into_iter()), ["a_b", "a_b_2", "a_b_3", "c"]);
    }
}
