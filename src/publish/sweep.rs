//! The look at everything, in small steps: handshakes that wait for a certificate come between them.

use std::collections::VecDeque;

use super::change::Change;
use crate::certificate::CertificateName;
use crate::inventory::{CertificateRecord, InventoryError, Versioned};
use crate::name::NamePattern;
use crate::tls::StoredNames;

/// How far it has come.
pub(super) struct Sweep {
    /// Every name that there is a certificate for, so far.
    names: StoredNames,
    /// Whether there is a certificate that is not in the table.
    pub(super) left_out: bool,
    /// Read and not yet looked at.
    ahead: VecDeque<Versioned<CertificateRecord>>,
    after: Option<CertificateName>,
    is_last_page: bool,
    /// Whether something has changed behind it, so that another follows. Begun anew each time, it would come to no end.
    pub(super) is_once_more: bool,
}

impl Sweep {
    pub(super) fn begin(names: StoredNames) -> Self {
        Self {
            names,
            left_out: false,
            ahead: VecDeque::new(),
            after: None,
            is_last_page: false,
            is_once_more: false,
        }
    }

    /// There is a certificate for these.
    pub(super) fn know(&mut self, names: &[NamePattern]) {
        names.iter().for_each(|name| self.names.insert(name));
    }
}

impl Change<'_> {
    /// One step of `sweep`; gives it back unless it was the last.
    ///
    /// # Errors
    /// The store's; the sweep is to begin anew then.
    pub(super) async fn step(&mut self) -> Result<(), InventoryError> {
        let Some(mut sweep) = self.sweep.take() else {
            return Ok(());
        };
        if sweep.ahead.is_empty() {
            if sweep.is_last_page {
                match sweep.is_once_more {
                    true => *self.sweep = Some(Sweep::begin(self.table.stored_names())),
                    false => self.table = self.table.knowing(sweep.names, !sweep.left_out),
                }
                return Ok(());
            }
            self.turn_page(&mut sweep).await?;
        }
        let mut loads = 0;
        while let Some(record) = sweep.ahead.pop_front() {
            let stands_in = record.value.stand_in.is_some();
            match &record.value.current {
                Some(current) => sweep.know(&current.leaf.names),
                None if !stands_in => continue,
                None => {}
            }
            // It is looked at with the certificate that it is the spare of.
            if record.value.spare_of.is_some() {
                continue;
            }
            let name = &record.value.name;
            if self.cache.is_current(name, record.revision) && !self.has_problem(name) {
                continue;
            }
            if !self.cache.holds(name) && !self.cache.has_room() {
                sweep.left_out = true;
                continue;
            }
            self.refresh(name).await?;
            loads += 1;
            if loads == LOADS {
                break;
            }
        }
        // What was evicted meanwhile is left out, too.
        *self.sweep = Some(sweep);
        Ok(())
    }

    async fn turn_page(&mut self, sweep: &mut Sweep) -> Result<(), InventoryError> {
        let page = self
            .inventory
            .certificates_after("", sweep.after.as_ref(), PAGE)
            .await?;
        let read = page.records.len() + page.unreadable.len();
        sweep.is_last_page = read < PAGE;
        let mut seen: Vec<_> = page
            .records
            .iter()
            .map(|record| record.value.name.clone())
            .collect();
        for (name, _) in page.unreadable {
            self.refresh(&name).await?;
            seen.push(name);
        }
        seen.sort();
        let last = seen.last().filter(|_| !sweep.is_last_page);
        for name in self.cache.between(sweep.after.as_ref(), last) {
            if seen.binary_search(&name).is_err() {
                self.refresh(&name).await?;
            }
        }
        // The names of some may have changed without a hint: what is there is looked at by its own names.
        sweep.after = seen.pop();
        sweep.ahead = page.records.into();
        Ok(())
    }
}

/// Records read at once.
const PAGE: usize = 256;
/// Certificates loaded before a waiting handshake has its turn.
const LOADS: usize = 4;
