//! What the operator probably meant.

/// `did you mean …?` where one of `allowed` is close to `word`, else the whole list.
pub(super) fn for_word<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> String {
    let allowed: Vec<_> = allowed.into_iter().collect();
    match closest(word, &allowed) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("allowed: {}", list(allowed)),
    }
}

/// For a name that nothing has: `did you mean …?`, else which names there are, else how to define it.
pub(super) fn for_name<'a>(name: &str, defined: impl IntoIterator<Item = &'a str>, table: &str) -> String {
    let defined: Vec<_> = defined.into_iter().collect();
    let quoted = if name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    let add = format!("add [{table}.{quoted}]");
    match closest(name, &defined) {
        Some(meant) => format!("did you mean `{meant}`? Otherwise {add}"),
        None if defined.is_empty() => add,
        None => format!("there are: {}; or {add}", list(defined)),
    }
}

/// `a`, `b`, `c`, shortened when it is long.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 24;
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    let mut text = words[..words.len().min(SHOWN)].join(", ");
    if words.len() > SHOWN {
        text.push_str(&format!(" and {} more", words.len() - SHOWN));
    }
    text
}

fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // An edit more than each three characters and it is another word.
    let tolerance = (word.chars().count() / 3).max(1);
    let lower = word.to_lowercase();
    candidates
        .iter()
        .map(|candidate| {
            (
                strsim::osa_distance(&lower, &candidate.to_lowercase()),
                *candidate,
            )
        })
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["certificates", "certificate_directories", "listeners"];
        assert_eq!(for_word("certficates", keys), "did you mean `certificates`?");
        assert_eq!(for_word("Listeners", keys), "did you mean `listeners`?");
        assert!(for_word("backends", keys).starts_with("allowed: `certificates`, "));
    }

    #[test]
    fn an_undefined_name_gets_the_table_that_would_define_it() {
        assert_eq!(for_name("app", [], "server_groups"), "add [server_groups.app]");
        assert_eq!(
            for_name("a b", ["web"], "server_groups"),
            "there are: `web`; or add [server_groups.\"a b\"]"
        );
    }
}
