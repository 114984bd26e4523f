//! What to look out for in text of others before a person sees it.

/// Whether a terminal, or a reader, could be misled by a character: control characters, those that change the direction of
/// text or are invisible, and separators of lines and paragraphs.
pub fn misleads(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
