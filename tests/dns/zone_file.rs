//! The records to add and to remove are read by a name server as what they are, whatever octets are in them.

use std::fs;
use std::process::Command;

use certgate::dns::DomainVerdict;
use hickory_resolver::proto::rr::rdata::{CAA, CNAME};
use hickory_resolver::proto::rr::{Name, RData, Record};
use hickory_resolver::proto::serialize::binary::BinEncodable;

use crate::world::World;
use crate::{OURS, remedy};

#[tokio::test]
async fn bind_reads_every_octet_back_as_it_is() {
    let mut world = World::new().await;
    let octets: Vec<u8> = (0..=255).collect();
    let (mut lines, mut wires) = (Vec::new(), Vec::new());

    for (number, labels) in octets.chunks(60).enumerate() {
        let owner = name(&format!("alias{number}.example.com"));
        let target = Name::from_labels([labels, b"example", b"com"]).unwrap();
        everywhere(
            &world,
            Record::from_rdata(owner.clone(), 300, RData::CNAME(CNAME(target.clone()))),
        );
        let found = world.check_name(&format!("alias{number}.example.com")).await;
        lines.push(removed(&found));
        wires.push([wire(&owner), wire(&target.to_lowercase())]);
    }

    for (number, value) in octets.chunks(200).enumerate() {
        let host = format!("caa{number}.example.com");
        world.add(&format!("{host} A {OURS}"));
        let mut caa = CAA::new_issue(true, None, Vec::new());
        caa.tag = "Tbs".to_owned();
        caa.value = value.to_vec();
        let data = [&[128, 3][..], b"Tbs", value].concat();
        everywhere(&world, Record::from_rdata(name(&host), 300, RData::CAA(caa)));
        lines.push(removed(&world.check_name(&host).await));
        wires.push([wire(&name(&host)), data]);
    }

    let printable: String = (b' '..=b'~').map(char::from).collect();
    world.ownership = Some(Box::leak(printable.clone().into_boxed_str()));
    world.add(&format!("host.example.com A {OURS}"));
    let found = world.check_name("host.example.com").await;
    lines.push(remedy(&found).remove(0));
    let text = [&[95][..], printable.as_bytes()].concat();
    wires.push([wire(&name("_certgate.host.example.com")), text]);

    let compiled = compiled(&lines);
    let holds = |octets: &[u8]| compiled.windows(octets.len()).any(|window| window == octets);
    for (line, [owner, data]) in lines.iter().zip(&wires) {
        assert!(holds(owner) && holds(data), "{line}");
    }
}

/// The zone as `named-compilezone` writes it: names and data as they are in messages.
fn compiled(lines: &[String]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (zone, raw) = (folder.path().join("zone"), folder.path().join("raw"));
    let head = "$ORIGIN example.com.\n$TTL 60\n@ IN SOA ns1 hostmaster 1 3600 600 86400 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n";
    fs::write(&zone, format!("{head}{}\n", lines.join("\n"))).unwrap();
    let output = Command::new("named-compilezone")
        .args(["-i", "none", "-f", "text", "-F", "raw", "-o"])
        .args([
            &raw.display().to_string(),
            "example.com",
            &zone.display().to_string(),
        ])
        .output()
        .expect("BIND's tools are installed");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}\n{}", lines.join("\n"));
    fs::read(raw).unwrap()
}

fn everywhere(world: &World, record: Record) {
    for server in [&world.ns1, &world.ns2, &world.resolver] {
        server.put(record.clone());
    }
}

/// The record to remove, as the zone file has it.
fn removed(found: &DomainVerdict) -> String {
    let first = remedy(found).remove(0);
    let record = first.strip_prefix("remove: ");
    record.unwrap_or_else(|| panic!("{found}")).to_owned()
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn wire(name: &Name) -> Vec<u8> {
    name.to_bytes().unwrap()
}
