//! What every backend promises, told once and run against each of them.

#[path = "contract/concurrency.rs"]
mod concurrency;
#[path = "contract/hints.rs"]
mod hints;
#[path = "contract/leases.rs"]
mod leases;
#[path = "contract/model.rs"]
mod model;
#[path = "contract/reading.rs"]
mod reading;
#[path = "contract/writing.rs"]
mod writing;

use std::sync::Arc;
use std::time::Duration;

use certgate_store::embedded::Options;
use certgate_store::{EmbeddedStore, MemoryStore, Store};

/// Makes empty stores of one backend.
trait Factory {
    /// An empty store, and what must stay alive for as long as it is used.
    fn store() -> (Arc<dyn Store>, Box<dyn Send>);
}

struct Memory;

impl Factory for Memory {
    fn store() -> (Arc<dyn Store>, Box<dyn Send>) {
        (Arc::new(MemoryStore::new()), Box::new(()))
    }
}

struct Embedded;

impl Factory for Embedded {
    fn store() -> (Arc<dyn Store>, Box<dyn Send>) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = Options {
            snapshot_delay: Duration::from_millis(20),
            ..Options::default()
        };
        let (store, _) = EmbeddedStore::open(dir.path(), options).expect("a new store");
        (Arc::new(store), Box::new(dir))
    }
}

/// How long to wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! contract {
    ($backend:ident: $factory:ty => $($room:ident { $($promise:ident)+ })+) => {
        mod $backend {
            use super::Factory;
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let (store, _keep) = <$factory>::store();
                    tokio::time::timeout(super::PATIENCE, super::$room::$promise(store))
                        .await
                        .expect("the promise is kept in time");
                }
            )+)+
        }
    };
}

macro_rules! every_backend {
    ($($promises:tt)+) => {
        contract!(memory: super::Memory => $($promises)+);
        contract!(embedded: super::Embedded => $($promises)+);
    };
}

every_backend! {
    reading {
        an_empty_store_has_revision_zero_and_nothing_in_it
        what_was_written_is_read_with_the_revision_of_its_commit
        a_listing_is_sorted_and_holds_the_prefix_only
        a_listing_shows_one_moment_while_batches_are_committed
        pages_hold_what_a_listing_holds_whatever_their_size
    }
    writing {
        revisions_grow_with_every_commit
        a_put_that_expects_nothing_fails_where_something_is
        a_put_that_expects_a_revision_fails_where_another_is
        a_conditional_delete_removes_only_what_it_expects
        deleting_what_is_absent_is_fine_without_a_condition
        a_batch_with_one_conflict_changes_nothing
        an_invalid_batch_is_refused_whole
        values_of_every_size_up_to_the_limit_come_back_unchanged
        a_long_value_replaced_by_a_short_one_leaves_nothing_behind
    }
    hints {
        a_commit_is_hinted_to_every_reader
        a_failed_commit_is_not_hinted
        a_reader_that_sleeps_through_many_commits_is_told_to_look_at_everything
    }
    leases {
        one_lease_has_one_holder
        a_released_lease_is_free_and_releasing_it_again_harms_nobody
        an_expired_lease_goes_to_the_next_holder_with_a_larger_token
        an_expired_holder_can_neither_write_nor_keep
        a_kept_lease_outlives_its_first_ttl
        a_batch_under_a_held_lease_commits
        a_holder_that_asks_again_loses_its_earlier_lease
    }
    concurrency {
        eight_tasks_counting_by_compare_and_swap_lose_nothing
        only_one_of_many_racers_creates_a_key
        only_one_of_many_racers_gets_a_lease
    }
    model {
        random_operations_do_what_a_map_does
    }
}
