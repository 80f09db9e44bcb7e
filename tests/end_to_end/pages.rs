//! Long lists, a part at a time.

use serde_json::Value;

use crate::gateway::{Home, free_address};
use crate::peer::backend;
use crate::reload::{client_of, config};
use crate::runtime::request;

#[tokio::test]
async fn what_is_there_and_what_is_only_wanted_are_listed_together_by_name_a_part_at_a_time() {
    let home = Home::new();
    // The CA cannot be reached, so what is wanted of it has at most a record of that.
    let names = ["a", "c", "m", "x", "z"];
    let wanted = names
        .map(|name| format!("[certificates.{name}]\ndomains = [\"{name}.example.com\"]\nissuer = \"far\"\n"));
    let far = "[issuers.far]\nkind = \"acme\"\ndirectory = \"https://127.0.0.1:1/\"\nagree_to_terms = true\n";
    let text = config(
        free_address(),
        backend("hello").await,
        &format!("{far}{}", wanted.concat()),
    );
    let gateway = home.start(&text).await;
    client_of(&gateway).await;
    let expected = ["a", "c", "localhost", "m", "x", "z"];
    for limit in 1..=7 {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let line = format!("GET /v1/certificates?limit={limit}&after={after}");
            let (status, _, page) = request(gateway.socket(), &line, &[], b"").await;
            assert_eq!(status, 200, "{page}");
            let page: Vec<_> = page.as_array().into_iter().flatten().collect();
            let named = |one: &&Value| one["name"].as_str().map(ToOwned::to_owned);
            found.extend(page.iter().filter_map(named));
            if page.len() < limit {
                break;
            }
            after.clone_from(found.last().expect("at least one"));
        }
        assert_eq!(found, expected, "{limit} at a time");
    }
    for query in ["limit=0", "limit=1001", "limit=-1", "after=..", "before=a"] {
        let line = format!("GET /v1/certificates?{query}");
        assert_eq!(request(gateway.socket(), &line, &[], b"").await.0, 400, "{query}");
    }
}
