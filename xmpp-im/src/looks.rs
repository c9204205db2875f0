//! What names look like, so that nobody passes for somebody else (ABUSE A047, A072).

use unicode_security::skeleton;

/// What a name looks like (UTS #39 §4), in small letters: two names of which this is the same are hard to tell apart. It is for
/// comparing, and is no name itself.
///
/// ```
/// use xmpp_im::looks::looks;
///
/// // With Cyrillic letters, a digit, and other letters that look the same side by side.
/// assert_eq!(looks("scope"), looks("ѕсоре"));
/// assert_eq!(looks("Olga1"), looks("olgal"));
/// assert_eq!(looks("postmaster"), looks("postrnaster"));
/// assert_ne!(looks("Ольга"), looks("Olga"));
/// ```
pub fn looks(name: &str) -> String {
    let small: String = name.chars().flat_map(char::to_lowercase).collect();
    skeleton(&small).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whoever_looks_like_another_is_looked_like(one in "[a-zA-Z0-9а-яА-Яα-ω一-十]{1,6}", other in ".{1,6}") {
            let alike = |one: &str, other: &str| looks(one) == looks(other);
            prop_assert!(alike(&one, &one));
            prop_assert_eq!(alike(&one, &other), alike(&other, &one));
            // What a name looks like looks like the name: no chain of names wanders off.
            let shape = looks(&looks(&one));
            prop_assert_eq!(looks(&shape), shape);
        }
    }
}
