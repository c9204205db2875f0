//! Media types that browsers may show, and all others.

/// What browsers may show in their window: pictures, sounds and films, none of which holds a script.
const SHOWN: &[&str] = &[
    "audio/aac",
    "audio/flac",
    "audio/mp4",
    "audio/mpeg",
    "audio/ogg",
    "audio/opus",
    "audio/wav",
    "audio/webm",
    "audio/x-m4a",
    "audio/x-wav",
    "image/avif",
    "image/gif",
    "image/heic",
    "image/jpeg",
    "image/jxl",
    "image/png",
    "image/webp",
    "video/mp4",
    "video/mpeg",
    "video/ogg",
    "video/quicktime",
    "video/webm",
];

/// What any other file is said to be.
pub(super) const ANY: &str = "application/octet-stream";

/// The type without its parameters, in lower case.
pub(super) fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The type that a file is served with, and whether browsers may show it. The others they save.
pub(super) fn served(content_type: Option<&str>) -> (&'static str, bool) {
    let said = content_type.map(essence).unwrap_or_default();
    match SHOWN.iter().find(|shown| **shown == said) {
        Some(shown) => (shown, true),
        None if said == "text/plain" => ("text/plain; charset=utf-8", false),
        None => (ANY, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abuse_a089_what_can_hold_a_script_is_saved_and_not_shown() {
        for active in [
            "text/html",
            "TEXT/HTML; charset=utf-8",
            "image/svg+xml",
            "application/xhtml+xml",
            "text/xml",
            "application/pdf",
            "application/javascript",
            "image/png\r\nX: y",
            "",
        ] {
            assert_eq!(served(Some(active)), (ANY, false), "{active:?}");
        }
        assert_eq!(served(Some("Image/PNG; foo=bar")), ("image/png", true));
        assert_eq!(served(None), (ANY, false));
    }
}
