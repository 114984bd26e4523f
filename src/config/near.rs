//! Suggestions for a word that is not known.

/// The most words that are suggested.
const SUGGESTED: usize = 3;

/// `; did you mean "a" or "b"?` with the words that resemble or contain `text`; empty if there are none.
pub fn suggestion(text: &str, words: &[&str]) -> String {
    let is_part = |word: &str| text.len().min(word.len()) >= 3 && (word.contains(text) || text.contains(word));
    let near = words.iter().map(|word| (distance(text, word), *word));
    let mut near: Vec<_> = near.filter(|(distance, word)| *distance <= limit(text) || is_part(word)).collect();
    near.sort_unstable();
    let words: Vec<String> = near.iter().take(SUGGESTED).map(|(_, word)| format!("\"{word}\"")).collect();
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => format!("; did you mean {only}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

/// The word that `text` may be a misspelling of: at most a third of its letters differ.
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let distances = words.iter().map(|word| (distance(text, word), *word));
    distances
        .filter(|(distance, _)| *distance <= limit(text))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// How many letters to insert, remove, change, or swap with the next one (optimal string alignment). A long text is far from
/// every word.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 32 {
        return usize::MAX;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let change = at(&row, j) + usize::from(x != y);
            let mut least = change.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let (last_x, last_y) = (i.checked_sub(1).and_then(|i| a.get(i)), j.checked_sub(1).and_then(|j| b.get(j)));
            if last_x == Some(y) && last_y == Some(x) {
                least = least.min(at(&before, j - 1) + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

/// How many letters of a misspelling may differ.
fn limit(text: &str) -> usize {
    (text.len() / 3).min(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_words_that_are_near_are_suggested_the_nearest_first() {
        let words = ["github", "gitlab", "gitea", "standard-webhooks", "meta"];
        let suggested = |text| suggestion(text, &words);
        assert_eq!(suggested("githb"), "; did you mean \"github\"?");
        assert_eq!(suggested("gitlb"), "; did you mean \"gitlab\"?");
        assert_eq!(suggested("git"), "; did you mean \"gitea\", \"github\" or \"gitlab\"?");
        assert_eq!(suggested("webhooks"), "; did you mean \"standard-webhooks\"?");
        assert_eq!(suggested("github-app"), "; did you mean \"github\"?");
        assert_eq!(suggested("unheard-of"), "");
    }

    #[test]
    fn distance_counts_slips() {
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("cvio", "civo"), 1, "two letters swapped");
        assert_eq!(distance("gtiuhb", "github"), 2);
        assert_eq!(nearest("cvio", &["civo", "icr"]), Some("civo"));
        assert_eq!(nearest("evn", &["env"]), Some("env"));
        assert_eq!(nearest("nve", &["env"]), None, "two slips in three letters could be anything");
        assert_eq!(nearest("max-body", &["max_body", "methods"]), Some("max_body"));
    }
}
