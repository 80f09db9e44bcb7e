//! Before a certificate that was obtained on demand is renewed, the same is asked as before it was obtained: whoever may send
//! handshakes for a name could keep its certificate for ever otherwise.

use crate::certificate::DesiredCertificate;
use crate::config::Config;
use crate::gateway::on_demand::{Answer, Asker};
use crate::name::NamePattern;
use crate::on_demand::{admitted, is_allowed};

/// Whether a listener would still have `desired` obtained.
///
/// # Errors
/// In words, why none would.
pub(in crate::gateway) async fn may_be_renewed(
    config: &Config,
    asker: &Asker,
    desired: &DesiredCertificate,
) -> Result<(), String> {
    let Some(NamePattern::Exact(name)) = desired.domains.first() else {
        return Ok(());
    };
    let mut reason = "no listener obtains certificates on demand any more".to_owned();
    for (listener, on_demand) in config
        .listeners
        .iter()
        .filter_map(|(listener, config)| Some((listener, config.on_demand.as_ref()?)))
    {
        if let Err(denial) = admitted(on_demand, name.as_str()) {
            reason = format!("listener `{listener}`: {denial}");
            continue;
        }
        let answer = match &on_demand.ask {
            Some(url) if !is_allowed(on_demand, name) => asker.ask(url, name).await,
            _ => Answer::Allowed,
        };
        match answer {
            Answer::Allowed => return Ok(()),
            Answer::Denied => {
                reason = format!("listener `{listener}`: the ask URL does not allow {name} any more");
            }
            Answer::None(problem) => reason = format!("listener `{listener}`: {problem}"),
        }
    }
    Err(reason)
}
