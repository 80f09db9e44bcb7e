//! The chain that the operator prefers, where the CA has several (RFC 8555 §7.4.2).

use instant_acme::Order;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::issuer::IssueError;
use crate::issuer::acme::http::{absolute, links};
use crate::issuer::acme::pursuit::Pursuit;
use crate::issuer::acme::signed::Signer;

impl Pursuit<'_> {
    /// `text`, or an alternate to it that leads to the preferred CA. Any chain is better than none: where there is no
    /// such alternate, or it cannot be had, it is `text`.
    pub(super) async fn preferred(&self, order: &mut Order, text: String) -> String {
        let Some(preferred) = &self.issuer.config.preferred_chain else {
            return text;
        };
        if leads_to(&text, preferred) {
            return text;
        }
        let (name, issuer) = (self.name(), &self.issuer.name);
        let mut offered = vec![leads_up_to(&text)];
        match self.alternate(order, preferred, &mut offered).await {
            Ok(Some(alternate)) => return alternate,
            Ok(None) => {
                let offered = offered.into_iter().flatten().collect::<Vec<_>>().join("`, `");
                tracing::warn!(
                    certificate = %name, issuer,
                    "the CA has no chain to `{preferred}`, the `preferred_chain` of the issuer; its own choice is taken. \
                     Its chains lead to: `{offered}`"
                );
            }
            Err(error) => {
                tracing::warn!(certificate = %name, issuer, preferred, %error, "the preferred chain cannot be had; the CA's choice is taken");
            }
        }
        text
    }

    /// The first of the other chains that leads there. Where none does, `offered` has got where they lead.
    async fn alternate(
        &self,
        order: &mut Order,
        preferred: &str,
        offered: &mut Vec<Option<String>>,
    ) -> Result<Option<String>, IssueError> {
        let Some(url) = order.state().certificate.clone() else {
            return Ok(None);
        };
        let signer = Signer::new(self.session)?;
        let usual = signer.post_as_get(DOWNLOAD, &url).await?;
        let alternates: Vec<_> = links(usual.headers(), "alternate")
            .filter_map(|target| absolute(target, &url))
            .take(MOST)
            .collect();
        for alternate in alternates {
            let answer = signer.post_as_get(DOWNLOAD, &alternate).await?;
            let text = String::from_utf8_lossy(answer.body()).into_owned();
            if leads_to(&text, preferred) {
                return Ok(Some(text));
            }
            offered.push(leads_up_to(&text));
        }
        Ok(None)
    }
}

/// Whether a CA of this common name is in the chain, or has signed its end.
fn leads_to(text: &str, common_name: &str) -> bool {
    let chain = CertificateDer::pem_slice_iter(text.as_bytes());
    let chain: Vec<_> = chain.filter_map(Result::ok).collect();
    let mut parsed = chain.iter().filter_map(|der| X509Certificate::from_der(der).ok());
    let is_it = |name: &X509Name<'_>| {
        name.iter_common_name()
            .any(|found| found.as_str().is_ok_and(|found| found == common_name))
    };
    parsed.any(|(_, certificate)| is_it(certificate.issuer()))
}

/// The common name of the CA that has signed the chain's end.
fn leads_up_to(text: &str) -> Option<String> {
    let last = CertificateDer::pem_slice_iter(text.as_bytes())
        .filter_map(Result::ok)
        .last()?;
    let (_, certificate) = X509Certificate::from_der(&last).ok()?;
    let name = certificate.issuer().iter_common_name().next()?;
    Some(name.as_str().ok()?.to_owned())
}

const DOWNLOAD: &str = "download the preferred chain";
/// CAs have two or three.
const MOST: usize = 8;
