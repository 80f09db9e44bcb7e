use super::*;
use crate::certificate::KeyType;
use crate::metrics::Metrics;
use crate::name::NamePattern;

const WAIT: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(600);

/// A desk, and the demands that come from it.
struct Stand {
    desk: Arc<Desk>,
    demands: mpsc::Receiver<Demand>,
}

fn stand(change: impl FnOnce(&mut OnDemandConfig), max_connections: Option<usize>) -> Stand {
    let mut config = OnDemandConfig {
        ask: Some("http://127.0.0.1:9/allowed".to_owned()),
        names: vec![NamePattern::parse("*.shops.example").unwrap()],
        except: Vec::new(),
        issuers: vec!["internal".to_owned()],
        key_type: KeyType::default(),
        wait: WAIT,
        denied_ttl: TTL,
        unused_after: Duration::from_secs(86_400),
        max_asks_per_minute: 10_000,
        max_orders_per_hour: 2,
    };
    change(&mut config);
    let (listener, demands): (Arc<str>, _) = ("web".into(), Arc::new(Demands::new()));
    let metrics = Metrics::new().on_demand(&listener);
    let desk = Desk::new(listener, config.into(), max_connections, demands.clone(), metrics);
    Stand {
        desk: Arc::new(desk),
        demands: demands.take().unwrap(),
    }
}

impl Stand {
    fn handshake(&self, name: &str) -> tokio::task::JoinHandle<Outcome> {
        let (desk, name) = (self.desk.clone(), name.to_owned());
        tokio::spawn(async move { desk.obtain(&name).await })
    }

    /// Waits until so many handshakes wait.
    async fn waiting(&self, count: usize) {
        while self.desk.standing().waiting != count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_hundred_handshakes_for_one_name_are_one_demand_and_all_are_told() {
    let mut stand = stand(|_| {}, None);
    let handshakes: Vec<_> = (0..100).map(|_| stand.handshake("a.example")).collect();
    stand.waiting(100).await;
    let demand = stand.demands.recv().await.unwrap();
    assert_eq!(demand.name().as_str(), "a.example");
    assert!(stand.demands.try_recv().is_err(), "there is another demand");
    demand.grant();
    for handshake in handshakes {
        assert_eq!(handshake.await.unwrap(), Ok(()));
    }
    let standing = stand.desk.standing();
    assert_eq!(
        (standing.pending, standing.waiting, standing.obtained),
        (0, 0, 100)
    );
}

#[tokio::test]
async fn a_denial_is_remembered_until_its_time_is_over_and_then_it_is_a_new_demand() {
    let mut stand = stand(|_| {}, None);
    let remembered = Duration::from_millis(50);
    let first = stand.handshake("a.example");
    stand
        .demands
        .recv()
        .await
        .unwrap()
        .deny(Denial::NotAllowed, remembered, "");
    assert_eq!(first.await.unwrap(), Err(Denial::NotAllowed));
    assert_eq!(stand.desk.obtain("a.example").await, Err(Denial::NotAllowed));
    assert_eq!(stand.desk.foresee("a.example"), Denial::NotAllowed);
    assert!(stand.demands.try_recv().is_err(), "it was remembered");
    let again = tokio::spawn({
        let desk = stand.desk.clone();
        async move {
            loop {
                match desk.obtain("a.example").await {
                    Err(Denial::NotAllowed) => tokio::task::yield_now().await,
                    other => return other,
                }
            }
        }
    });
    stand.demands.recv().await.unwrap().grant();
    assert_eq!(again.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn a_handshake_that_does_not_wait_is_refused_and_its_demand_goes_on() {
    let mut stand = stand(|config| config.wait = Duration::ZERO, None);
    assert_eq!(stand.desk.obtain("a.example").await, Err(Denial::Awaited));
    assert_eq!(stand.desk.obtain("a.example").await, Err(Denial::Awaited));
    let demand = stand.demands.recv().await.unwrap();
    assert!(stand.demands.try_recv().is_err());
    assert_eq!(stand.desk.standing().refused[&Denial::Awaited], 2);
    demand.grant();
    assert_eq!(stand.desk.standing().pending, 0);
}

#[tokio::test]
async fn a_handshake_waits_as_long_as_the_listener_says() {
    const SHORT: Duration = Duration::from_millis(100);
    let mut stand = stand(|config| config.wait = SHORT, None);
    let begun = Instant::now();
    assert_eq!(stand.desk.obtain("a.example").await, Err(Denial::Awaited));
    assert!(begun.elapsed() >= SHORT && begun.elapsed() < WAIT);
    let demand = stand.demands.recv().await.unwrap();
    assert!(stand.demands.try_recv().is_err(), "it goes on");
    demand.grant();
}

#[tokio::test]
async fn names_and_handshakes_that_wait_have_bounds_and_places_are_free_again() {
    let mut stand = stand(|_| {}, Some(40));
    let waiting: Vec<_> = (0..10)
        .map(|number| stand.handshake(&format!("{number}.example")))
        .collect();
    stand.waiting(10).await;
    assert_eq!(stand.desk.obtain("one.more.example").await, Err(Denial::Busy));
    // Clients that have gone leave their places; their demands go on.
    for handshake in waiting {
        handshake.abort();
        assert!(handshake.await.unwrap_err().is_cancelled());
    }
    assert_eq!(stand.desk.standing().waiting, 0);
    assert_eq!(stand.desk.standing().pending, 10);
    let other = stand.handshake("one.more.example");
    stand.waiting(1).await;
    for _ in 0..10 {
        drop(stand.demands.recv().await.unwrap());
    }
    stand.demands.recv().await.unwrap().grant();
    assert_eq!(other.await.unwrap(), Ok(()));

    let stand = self::stand(|config| config.wait = Duration::ZERO, None);
    for number in 0..MOST_PENDING {
        let outcome = stand.desk.obtain(&format!("{number}.example")).await;
        assert_eq!(outcome, Err(Denial::Awaited));
    }
    assert_eq!(stand.desk.obtain("one.more.example").await, Err(Denial::Busy));
}

#[tokio::test]
async fn ten_thousand_names_are_looked_into_only_as_often_as_may_be_in_a_minute() {
    let mut stand = stand(|config| config.max_asks_per_minute = 100, None);
    let denying = tokio::spawn(async move {
        let mut demands = 0;
        while let Some(demand) = stand.demands.recv().await {
            demand.deny(Denial::NotAllowed, TTL, "");
            demands += 1;
        }
        demands
    });
    for number in 0..10_000 {
        assert!(stand.desk.obtain(&format!("{number}.example")).await.is_err());
    }
    let standing = stand.desk.standing();
    assert_eq!(standing.refused[&Denial::NotAllowed], 100);
    assert_eq!(standing.refused[&Denial::AsksLimited], 9_900);
    assert_eq!(standing.remembered, 100);
    drop(stand.desk);
    assert_eq!(denying.await.unwrap(), 100);
}

#[tokio::test]
async fn a_demand_that_is_dropped_tells_those_who_wait_and_is_not_remembered() {
    let mut stand = stand(|_| {}, None);
    let handshake = stand.handshake("a.example");
    drop(stand.demands.recv().await.unwrap());
    assert_eq!(handshake.await.unwrap(), Err(Denial::Failed));
    let standing = stand.desk.standing();
    assert_eq!((standing.pending, standing.remembered), (0, 0));
}

#[test]
fn orders_in_an_hour_have_a_bound() {
    let (stand, now) = (stand(|_| {}, None), Instant::now());
    let take = |minutes: u64| stand.desk.take_order(now + Duration::from_secs(60 * minutes));
    assert_eq!(
        [take(0), take(1), take(59), take(60), take(60)],
        [true, true, false, true, false]
    );
}

#[tokio::test]
async fn of_any_number_of_refused_names_the_last_is_remembered_for_each_reason_with_what_was_found() {
    let except = |config: &mut OnDemandConfig| config.except = vec![DnsName::parse("evil.example").unwrap()];
    let mut stand = stand(except, None);
    let handshake = stand.handshake("a.shops.example");
    let demand = stand.demands.recv().await.unwrap();
    demand.deny(Denial::Dns, TTL, "it has the A record\n192.0.2.7");
    assert_eq!(handshake.await.unwrap(), Err(Denial::Dns));
    for number in 0..10_000 {
        let name = format!("{number}.evil.example");
        assert_eq!(stand.desk.obtain(&name).await, Err(Denial::Excluded));
    }
    for no_name in ["", "a b", "\u{1b}[2J", "*.a.example"] {
        assert_eq!(stand.desk.obtain(no_name).await, Err(Denial::InvalidName));
    }
    // It is remembered, and nothing is found anew.
    assert_eq!(stand.desk.obtain("a.shops.example").await, Err(Denial::Dns));
    let latest = stand.desk.standing().latest;
    let shown: Vec<_> = latest
        .iter()
        .map(|(denial, refused)| (*denial, refused.name.as_str(), refused.detail.as_str()))
        .collect();
    let expected = [
        (Denial::Dns, "a.shops.example", "it has the A record 192.0.2.7"),
        (Denial::Excluded, "9999.evil.example", ""),
    ];
    assert_eq!(shown, expected);
}
