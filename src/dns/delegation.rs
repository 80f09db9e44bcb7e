//! Zones as the zone above hands them on: for names that no resolver is to be asked about, or that none has an answer for.

use futures_util::future::{join_all, select_ok};
use hickory_resolver::proto::rr::{Name, Record, RecordType};

use super::evidence::LookupFailure;
use super::question::{Manner, ask};
use super::view::{Questions, is_silence};
use super::zone::Zone;

impl Questions {
    /// The zone of a name that is about to be made: no resolver is asked about it. The CA may ask the same one, and what
    /// that is told not to be there it remembers for longer than an order takes (RFC 2308 §5).
    pub(super) async fn zone_by_delegation(&self, name: &Name) -> Option<Zone> {
        if self.configured_apex(name).is_some() || name.num_labels() < 2 {
            return self.zone(name).await;
        }
        let zone = self.zone(&name.base_name()).await?;
        Some(self.handed_on(zone, name).await)
    }

    /// The zone of a name that no resolver has an answer for, beginning with the nearest zone above that one does know of;
    /// `None` where there is none, as where no resolver answers at all.
    pub(super) async fn zone_out_of_reach(&self, name: &Name) -> Option<Zone> {
        let mut above = Vec::new();
        let mut current = name.base_name();
        while !current.is_root() {
            above.push(current.clone());
            current = current.base_name();
        }
        let found = join_all(above.iter().map(|name| self.apex(name))).await;
        let apex = found.into_iter().find_map(|found| found.ok().flatten())?;
        let known = self.zone_at(&apex, None).await?;
        let nobody = apex.prepend_label(PROBE).ok()?;
        let (zone, probed) = tokio::join!(
            self.handed_on(known.clone(), name),
            self.any_resolver(&nobody, RecordType::SOA)
        );
        // Its servers answer a resolver, and hand the name on to nobody: not to this machine at least, which may be behind a
        // firewall, or see another world than the resolver does. Nothing can be said of the zone of the name then.
        if zone == known && probed.is_ok() {
            return None;
        }
        self.note_unreached(&zone);
        Some(zone)
    }

    /// The zone that `name` is in, by the word of the servers of `zone` and of those that they hand it on to.
    pub(super) async fn handed_on(&self, mut zone: Zone, name: &Name) -> Zone {
        while let Some(below) = self.zone_below(&zone, name).await {
            zone = below;
        }
        zone
    }

    async fn zone_below(&self, zone: &Zone, name: &Name) -> Option<Zone> {
        let is_below = |record: &Record| {
            let owner = &record.name;
            *owner != zone.apex && zone.apex.zone_of(owner) && owner.zone_of(name)
        };
        let hands_on = |record: &&Record| record.record_type() == RecordType::NS && is_below(record);
        let waited_for = zone.servers.iter().filter(|server| !self.is_silent(server));
        let asked: Vec<_> = waited_for
            .map(|server| {
                Box::pin(async move {
                    let _turn = self.turn().await;
                    let record = RecordType::SOA;
                    let said = ask(server.address, name, record, Manner::Delegation, self.deadline).await;
                    if let Err(failure) = &said
                        && is_silence(failure)
                    {
                        self.note_silence(server, failure);
                    }
                    let reply = said?;
                    match reply.authoritative || reply.authorities.iter().any(|record| hands_on(&record)) {
                        true => Ok(reply),
                        false => Err(LookupFailure::Referral),
                    }
                })
            })
            .collect();
        if asked.is_empty() {
            return None;
        }
        let (reply, _) = select_ok(asked).await.ok()?;
        // A server may speak for the zone below as well, and then it hands nobody on.
        let mut own = reply.records.iter().chain(&reply.authorities);
        if let Some(own) = own.find(|record| record.record_type() == RecordType::SOA && is_below(record)) {
            return self.zone_at(&own.name.to_lowercase(), None).await;
        }
        let told: Vec<_> = reply.authorities.iter().filter(hands_on).cloned().collect();
        let apex = told.first()?.name.to_lowercase();
        let glue = reply
            .additionals
            .iter()
            .filter(|record| apex.zone_of(&record.name));
        let glue: Vec<_> = glue.cloned().collect();
        let (servers, left_out) = self.servers_in(&told, &glue).await;
        (!servers.is_empty()).then_some(Zone {
            apex,
            servers,
            left_out,
        })
    }
}

/// A name that nobody has, and that nobody else asks a resolver about.
const PROBE: &str = "_certgate-reach";

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, NS, SOA};
    use hickory_resolver::proto::rr::{RData, Record};
    use tokio::net::UdpSocket;
    use tokio::time::{Duration, Instant};

    use super::*;
    use crate::clock::Timestamp;
    use crate::config::GatewayConfig;
    use crate::dns::checker::Conditions;
    use crate::dns::examination::Examination;
    use crate::dns::presentation::fully_qualified;
    use crate::dns::report::DomainVerdict;
    use crate::name::NamePattern;

    const PARENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 31);
    const CHILD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 32);

    fn name(text: &str) -> Name {
        fully_qualified(text).unwrap()
    }

    fn record(owner: &str, data: RData) -> Record {
        Record::from_rdata(name(owner), 300, data)
    }

    fn ns(owner: &str, server: &str) -> Record {
        record(owner, RData::NS(NS(name(server))))
    }

    fn soa() -> Record {
        let soa = SOA::new(
            name("a.above.example"),
            name("host.above.example"),
            1,
            60,
            60,
            60,
            60,
        );
        record("example", RData::SOA(soa))
    }

    /// Answers as `say` fills it in, and nothing where that gives nothing.
    async fn serve(
        at: SocketAddr,
        say: impl Fn(&str, RecordType, Message) -> Option<Message> + Send + 'static,
    ) -> SocketAddr {
        let socket = UdpSocket::bind(at).await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                let question = asked.queries[0].clone();
                let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
                answer.add_query(question.clone());
                let owner = question.name().to_ascii();
                if let Some(answer) = say(owner.trim_end_matches('.'), question.query_type(), answer) {
                    let _ = socket.send_to(&answer.to_vec().unwrap(), client).await;
                }
            }
        });
        address
    }

    /// What the server of the zone `example` says of `silent.example`.
    #[derive(Clone, Copy)]
    enum Parent {
        /// To this machine nothing at all.
        Mute,
        /// That there is no such name.
        Denies,
        /// That a server has it which says nothing.
        HandsOn,
    }

    /// A resolver that gets no answer for `silent.example` and below; the verdict on a name there.
    async fn seen(parent: Parent) -> (SocketAddr, SocketAddr, DomainVerdict) {
        let parent = serve((PARENT, 0).into(), move |_, _, mut answer| {
            match parent {
                Parent::Mute => return None,
                Parent::Denies => {
                    answer.metadata.authoritative = true;
                    answer.metadata.response_code = ResponseCode::NXDomain;
                    answer.add_authority(soa());
                }
                Parent::HandsOn => {
                    answer.add_authority(ns("silent.example", "ns1.silent.example"));
                    answer.add_additional(record("ns1.silent.example", RData::A(A(CHILD))));
                }
            }
            Some(answer)
        });
        let parent = parent.await;
        let child = serve((CHILD, parent.port()).into(), |_, _, _| None).await;
        let resolver = serve((PARENT, 0).into(), |owner, kind, mut answer| {
            match (owner, kind) {
                (owner, _) if owner.ends_with("silent.example") => return None,
                ("example", RecordType::NS) => answer.add_answer(ns("example", "a.above.example")),
                ("a.above.example", RecordType::A) => {
                    answer.add_answer(record("a.above.example", RData::A(A(PARENT))))
                }
                (owner, _) => {
                    if owner != "example" {
                        answer.metadata.response_code = ResponseCode::NXDomain;
                    }
                    answer.add_authority(soa())
                }
            };
            Some(answer)
        });
        let resolver = resolver.await;
        let gateway = GatewayConfig {
            addresses: vec![PARENT.into()],
            resolvers: vec![resolver],
            ..GatewayConfig::default()
        };
        let mut questions = Questions::new(&gateway, Instant::now() + Duration::from_secs(10)).unwrap();
        questions.port = parent.port();
        let examination = Examination {
            gateway: &gateway,
            questions: &questions,
            conditions: &Conditions::default(),
            now: Timestamp::from_unix_seconds(1_800_000_000),
        };
        let pattern = NamePattern::parse("www.silent.example").unwrap();
        (resolver, child, examination.of(&pattern).await)
    }

    #[tokio::test]
    async fn servers_that_leave_a_resolver_without_an_answer_are_found_from_above_and_named() {
        let (_, child, found) = seen(Parent::HandsOn).await;
        assert_eq!(found.verdict.to_string(), "wait", "{found}");
        assert_eq!(
            found.reason_text,
            format!(
                "none of the servers of the zone silent.example answers: ns1.silent.example ({child}) did not answer in time"
            ),
            "{found}"
        );
    }

    #[tokio::test]
    async fn servers_that_answer_a_resolver_and_not_this_machine_are_not_blamed() {
        resolver_is_blamed(seen(Parent::Mute).await);
    }

    /// A resolver may know zones that the world does not see.
    #[tokio::test]
    async fn a_zone_above_that_hands_a_name_on_to_nobody_is_not_asked_about_it() {
        resolver_is_blamed(seen(Parent::Denies).await);
    }

    fn resolver_is_blamed((resolver, _, found): (SocketAddr, SocketAddr, DomainVerdict)) {
        assert_eq!(found.verdict.to_string(), "wait", "{found}");
        let said = format!("www.silent.example CNAME: {resolver} did not answer in time");
        assert!(found.reason_text.contains(&said), "{found}");
        assert!(!found.to_string().contains("a.above.example"), "{found}");
    }
}
