//! The PRECIS framework (RFC 8264) and the two profiles of it that addresses use (RFC 8265).
use std::ops::RangeInclusive;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{
    BidiClass, CanonicalCombiningClass, ChangesWhenLowercased, DefaultIgnorableCodePoint, GeneralCategory as Gc,
    JoiningType, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// A string class (RFC 8264 §4).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// IdentifierClass.
    Identifier,
    /// FreeformClass.
    Freeform,
}

/// A derived property (RFC 8264 §8), of which `Unassigned` is no case of its own: nobody treats it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Property {
    /// PVALID.
    Valid,
    /// ID_DIS or FREE_PVAL.
    FreeOnly,
    /// CONTEXTJ or CONTEXTO: valid where [`in_context`] says so.
    Context,
    /// DISALLOWED and UNASSIGNED.
    Disallowed,
}

/// How often a profile is applied until nothing changes. Real text settles at the second; what has not settled after
/// these is refused, so that what is accepted is always its own prepared form.
const ROUNDS: usize = 4;

const ARABIC_INDIC: RangeInclusive<char> = '\u{660}'..='\u{669}';
const EXTENDED_ARABIC_INDIC: RangeInclusive<char> = '\u{6f0}'..='\u{6f9}';

pub(super) fn category(c: char) -> Gc {
    CodePointMapData::<Gc>::new().get(c)
}

fn joining(c: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(c)
}

fn script(c: char) -> Script {
    CodePointMapData::<Script>::new().get(c)
}

fn has_compat(c: char) -> bool {
    !ComposingNormalizerBorrowed::new_nfkc().is_normalized(c.encode_utf8(&mut [0; 4]))
}

/// The algorithm of RFC 8264 §8; the order of its steps is the rule.
pub(super) fn property(c: char) -> Property {
    match c {
        '\u{21}'..='\u{7e}' => return Property::Valid,
        // §9.6, exceptions.
        '\u{df}' | '\u{3c2}' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => return Property::Valid,
        '\u{b7}'
        | '\u{375}'
        | '\u{5f3}'
        | '\u{5f4}'
        | '\u{30fb}'
        | '\u{660}'..='\u{669}'
        | '\u{6f0}'..='\u{6f9}'
        | '\u{200c}'
        | '\u{200d}' => return Property::Context,
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => {
            return Property::Disallowed;
        }
        // §9.9, old Hangul jamo: the ones that conjoin, blocks that Unicode has filled.
        '\u{1100}'..='\u{11ff}' | '\u{a960}'..='\u{a97c}' | '\u{d7b0}'..='\u{d7c6}' | '\u{d7cb}'..='\u{d7fb}' => {
            return Property::Disallowed;
        }
        _ => {}
    }
    let category = category(c);
    // Noncharacters are of the category Cn too.
    if matches!(category, Gc::Unassigned | Gc::Control)
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
    {
        return Property::Disallowed;
    }
    if has_compat(c) {
        return Property::FreeOnly;
    }
    match category {
        Gc::LowercaseLetter
        | Gc::UppercaseLetter
        | Gc::OtherLetter
        | Gc::DecimalNumber
        | Gc::ModifierLetter
        | Gc::NonspacingMark
        | Gc::SpacingMark => Property::Valid,
        Gc::TitlecaseLetter
        | Gc::LetterNumber
        | Gc::OtherNumber
        | Gc::EnclosingMark
        | Gc::SpaceSeparator
        | Gc::MathSymbol
        | Gc::CurrencySymbol
        | Gc::ModifierSymbol
        | Gc::OtherSymbol
        | Gc::ConnectorPunctuation
        | Gc::DashPunctuation
        | Gc::OpenPunctuation
        | Gc::ClosePunctuation
        | Gc::InitialPunctuation
        | Gc::FinalPunctuation
        | Gc::OtherPunctuation => Property::FreeOnly,
        _ => Property::Disallowed,
    }
}

/// Whether every character of the text may stand in a string of this class, where it stands.
pub(super) fn in_class(text: &str, class: Class) -> bool {
    let (mut dot, mut japanese, mut arabic_indic, mut extended) = (false, false, false, false);
    for (i, c) in text.char_indices() {
        let fine = match property(c) {
            Property::Valid => true,
            Property::FreeOnly => class == Class::Freeform,
            Property::Context => in_context(text, i, c),
            Property::Disallowed => false,
        };
        if !fine {
            return false;
        }
        dot |= c == '\u{30fb}';
        arabic_indic |= ARABIC_INDIC.contains(&c);
        extended |= EXTENDED_ARABIC_INDIC.contains(&c);
        japanese |= !c.is_ascii() && matches!(script(c), Script::Hiragana | Script::Katakana | Script::Han);
    }
    // The rules of appendix A that look at the whole string. The middle dot's own script is Common, so that it cannot
    // vouch for itself.
    (japanese || !dot) && !(arabic_indic && extended)
}

/// The contextual rules of RFC 5892, appendix A, that look at the neighbours of the character `c` at byte `i`.
fn in_context(text: &str, i: usize, c: char) -> bool {
    let before = text.get(..i).unwrap_or_default();
    let after = text.get(i + c.len_utf8()..).unwrap_or_default();
    let (left, right) = (before.chars().next_back(), after.chars().next());
    let after_virama = || {
        left.is_some_and(|l| {
            CodePointMapData::<CanonicalCombiningClass>::new().get(l) == CanonicalCombiningClass::Virama
        })
    };
    match c {
        '\u{200c}' => {
            let joins = |j: Option<JoiningType>, with: JoiningType| {
                j.is_some_and(|j| j == with || j == JoiningType::DualJoining)
            };
            after_virama()
                || (joins(before.chars().rev().map(joining).find(visible), JoiningType::LeftJoining)
                    && joins(after.chars().map(joining).find(visible), JoiningType::RightJoining))
        }
        '\u{200d}' => after_virama(),
        '\u{b7}' => left == Some('l') && right == Some('l'),
        '\u{375}' => right.is_some_and(|r| script(r) == Script::Greek),
        '\u{5f3}' | '\u{5f4}' => left.is_some_and(|l| script(l) == Script::Hebrew),
        _ => true,
    }
}

fn visible(joining: &JoiningType) -> bool {
    *joining != JoiningType::Transparent
}

/// The Bidi Rule (RFC 5893 §2), which text without characters that run from right to left need not meet.
fn bidi(text: &str) -> bool {
    let classes = CodePointMapData::<BidiClass>::new();
    let strong = |b| matches!(b, BidiClass::RightToLeft | BidiClass::ArabicLetter);
    let mut runs_left = false;
    let (mut european, mut arabic) = (false, false);
    let (mut allowed, mut ends_well) = (true, false);
    for c in text.chars() {
        let class = classes.get(c);
        runs_left |= strong(class) || class == BidiClass::ArabicNumber;
        european |= class == BidiClass::EuropeanNumber;
        arabic |= class == BidiClass::ArabicNumber;
        match class {
            BidiClass::NonspacingMark => {}
            BidiClass::RightToLeft | BidiClass::ArabicLetter | BidiClass::EuropeanNumber | BidiClass::ArabicNumber => {
                ends_well = true
            }
            BidiClass::EuropeanSeparator
            | BidiClass::CommonSeparator
            | BidiClass::EuropeanTerminator
            | BidiClass::OtherNeutral
            | BidiClass::BoundaryNeutral => ends_well = false,
            _ => allowed = false,
        }
    }
    // Conditions 1 to 4. Text that starts from left to right and has such a character breaks condition 5.
    !runs_left
        || (allowed
            && ends_well
            && !(european && arabic)
            && text.chars().next().is_some_and(|c| strong(classes.get(c))))
}

/// Applies a profile until nothing changes.
pub(super) fn settle(text: &str, step: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut now = step(text)?;
    for _ in 0..ROUNDS {
        let next = step(&now)?;
        if next == now {
            return Some(now);
        }
        now = next;
    }
    None
}

/// The lowercase mapping of each character by itself. `str::to_lowercase` looks at the neighbours of a Σ, which would
/// give one letter two forms.
pub(super) fn lowercase(text: impl Iterator<Item = char>) -> String {
    text.flat_map(char::to_lowercase).collect()
}

/// The width mapping rule: the fullwidth and halfwidth forms, which are one block and the ideographic space.
fn narrow(text: &str) -> String {
    let nfkc = ComposingNormalizerBorrowed::new_nfkc();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{3000}' | '\u{ff00}'..='\u{ffef}' => out.push_str(&nfkc.normalize(c.encode_utf8(&mut [0; 4]))),
            _ => out.push(c),
        }
    }
    out
}

/// UsernameCaseMapped (RFC 8265 §3.3), without its refusal of the empty string.
pub(super) fn username_case_mapped(text: &str) -> Option<String> {
    settle(text, |text| {
        let narrow = narrow(text);
        if !in_class(&narrow, Class::Identifier) {
            return None;
        }
        let small = lowercase(narrow.chars());
        // Capitals newer than the standard library's tables would slip through and later change their form.
        if small.chars().any(|c| CodePointSetData::new::<ChangesWhenLowercased>().contains(c)) {
            return None;
        }
        let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&small).into_owned();
        bidi(&composed).then_some(composed)
    })
}

/// OpaqueString (RFC 8265 §4.2), without its refusal of the empty string.
pub(super) fn opaque_string(text: &str) -> Option<String> {
    settle(text, |text| {
        if !in_class(text, Class::Freeform) {
            return None;
        }
        let spaced: String = text.chars().map(|c| if is_space(c) { ' ' } else { c }).collect();
        Some(ComposingNormalizerBorrowed::new_nfc().normalize(&spaced).into_owned())
    })
}

/// Whether the category is Zs.
pub(super) fn is_space(c: char) -> bool {
    c == ' ' || (!c.is_ascii() && category(c) == Gc::SpaceSeparator)
}
