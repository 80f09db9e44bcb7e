//! Certificates with spares from another CA, for two years.

use std::collections::HashMap;

use certgate::certificate::{CertificateName, DesiredCertificate};
use certgate::clock::Timestamp;
use certgate::renewal::{Jitter, Rehearsal};

use crate::fleet::{DAY, Fleet, LIFETIME, leaf, start};

const COUNT: usize = 200;

/// Each of `certificates`, and its spare.
fn with_spares(certificates: Vec<DesiredCertificate>) -> Vec<DesiredCertificate> {
    let pairs = certificates.into_iter().flat_map(|certificate| {
        let spare = DesiredCertificate {
            name: CertificateName::parse(&format!("{}.spare", certificate.name)).unwrap(),
            issuers: vec!["other".to_owned()],
            spare_of: Some(certificate.name.clone()),
            ..certificate.clone()
        };
        [certificate, spare]
    });
    pairs.collect()
}

#[test]
fn a_spare_is_renewed_half_a_lifetime_apart_and_never_has_less_than_a_third_left() {
    let desired = with_spares(Fleet::new(COUNT).desired);
    let mut rehearsal = Rehearsal::new(&desired, [], Jitter::new(5), start());
    let mut obtained: HashMap<CertificateName, Vec<Timestamp>> = HashMap::new();
    while let Some(actions) = rehearsal.proceed(start() + DAY * 730) {
        let now = rehearsal.now();
        for action in actions {
            rehearsal.obtained(&action.certificate, &action.next.issuer, leaf(now), None);
            obtained.entry(action.certificate).or_default().push(now);
        }
    }
    let of_lifetime = |from: Timestamp, to: Timestamp| to.since(from).as_secs_f64() / LIFETIME.as_secs_f64();
    let (mut apart, mut least_left) = (Vec::new(), 1.0_f64);
    for spare in desired.iter().filter(|desired| desired.spare_of.is_some()) {
        let (spares, primaries) = (
            &obtained[&spare.name],
            &obtained[spare.spare_of.as_ref().unwrap()],
        );
        assert!(spares.len() > 25 && primaries.len() > 25, "{}", spare.name);
        for pair in spares.windows(2) {
            least_left = least_left.min(1.0 - of_lifetime(pair[0], pair[1]));
        }
        // The first round is together with that of the certificate, and past the last one nothing is known.
        for at in spares[2..].iter().filter(|at| **at < *primaries.last().unwrap()) {
            let distances = primaries
                .iter()
                .map(|renewed| of_lifetime(*renewed, *at) + of_lifetime(*at, *renewed));
            apart.push(distances.fold(1.0, f64::min));
        }
    }
    apart.sort_by(f64::total_cmp);
    let (least, median) = (apart[0], apart[apart.len() / 2]);
    println!(
        "{COUNT} certificates of 45 days with spares, for two years: a spare is renewed {median:.2} of a lifetime from the nearest \
         renewal of its certificate, {least:.2} at least (0.29 is halfway), with {:.1} % of its own left at least",
        least_left * 100.0
    );
    assert!(least > 0.24 && median > 0.27, "{least} {median}");
    assert!(least_left > 1.0 / 3.0 + 0.02, "{least_left}");
}
