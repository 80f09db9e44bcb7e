//! Long lists, a part at a time.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin::Problem;

/// Which part of a list is asked for.
#[derive(Clone, Debug)]
pub struct Page {
    /// What comes after this one, in the order of the list; absent: from the beginning.
    pub after: Option<String>,
    /// At most so many. A part with fewer is the last.
    pub limit: usize,
}

impl Page {
    /// As many as one answer holds.
    pub const MOST: u16 = 1000;

    /// The beginning of a list.
    pub fn first() -> Self {
        Self {
            after: None,
            limit: usize::from(Self::MOST),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    /// Only what comes after this one: the last of the part before.
    after: Option<String>,
    /// At most so many; a part with fewer is the last.
    #[serde(default = "PageQuery::usual")]
    #[schemars(range(min = 1, max = 1000))]
    limit: u16,
}

impl PageQuery {
    fn usual() -> u16 {
        Page::MOST
    }
}

impl TryFrom<PageQuery> for Page {
    type Error = Problem;
    fn try_from(query: PageQuery) -> Result<Self, Problem> {
        let PageQuery { after, limit } = query;
        if !(1..=Self::MOST).contains(&limit) {
            let most = Self::MOST;
            return Err(Problem::bad_request(format!(
                "`limit` is {limit}; 1 to {most} are allowed"
            )));
        }
        Ok(Self {
            after: after.filter(|after| !after.is_empty()),
            limit: usize::from(limit),
        })
    }
}
