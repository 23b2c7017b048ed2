//! Sessions of several kinds, by weight.

use std::rc::Rc;
use std::str::FromStr;

use clap::ValueEnum as _;
use thiserror::Error;

use super::{Scenario, list, login, small_files, upload};
use crate::client::Control;
use crate::failure::Failure;
use crate::slot::Slot;

/// Kinds of sessions and their weights; at least one weight is above 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mix(Vec<(Scenario, u32)>);

/// The user's fault: this is no mix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum MixError {
    #[error("`{0}` is not of the form SCENARIO=WEIGHT")]
    Form(String),
    #[error("`{0}` cannot be mixed: choose among login, small-files, upload and list")]
    Scenario(String),
    #[error("every weight is 0")]
    Nothing,
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Self, MixError> {
        let part = |part: &str| {
            let form = || MixError::Form(part.to_owned());
            let (name, weight) = part.split_once('=').ok_or_else(form)?;
            let scenario = Scenario::from_str(name, false).ok().filter(|&scenario| can_be_mixed(scenario));
            let scenario = scenario.ok_or_else(|| MixError::Scenario(name.to_owned()))?;
            Ok((scenario, weight.parse().map_err(|_| form())?))
        };
        let parts = text.split(',').map(part).collect::<Result<Vec<_>, _>>()?;
        if parts.iter().all(|&(_, weight)| weight == 0) {
            return Err(MixError::Nothing);
        }
        Ok(Self(parts))
    }
}

fn can_be_mixed(scenario: Scenario) -> bool {
    matches!(scenario, Scenario::Login | Scenario::SmallFiles | Scenario::Upload | Scenario::List)
}

impl Mix {
    /// Whether there are sessions of this kind.
    pub(crate) fn has(&self, kind: Scenario) -> bool {
        self.0.iter().any(|&(scenario, weight)| scenario == kind && weight > 0)
    }

    fn choose(&self, number: u64) -> Scenario {
        let sum = self.0.iter().map(|&(_, weight)| u64::from(weight)).sum::<u64>();
        let mut left = number % sum.max(1);
        for &(scenario, weight) in &self.0 {
            match left.checked_sub(weight.into()) {
                Some(rest) => left = rest,
                None => return scenario,
            }
        }
        Scenario::Login
    }
}

pub(super) async fn session(slot: Rc<Slot>) -> Result<(), Failure> {
    while let Some(unit) = slot.begin().await {
        match slot.plan.mix.choose(slot.random.next()) {
            Scenario::SmallFiles => small_files::once(&slot).await?,
            Scenario::Upload => {
                upload::once(&slot, unit).await?;
                continue;
            }
            Scenario::List => {
                let mut control = Control::ready(&slot).await?;
                list::once(&slot, &mut control).await?;
                control.quit().await?;
            }
            _ => login::once(&slot).await?,
        }
        slot.complete(unit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_chosen_by_weight() {
        let mix: Mix = "login=1,small-files=0,upload=3".parse().unwrap();
        let chosen: Vec<_> = (0..4).map(|number| mix.choose(number)).collect();
        assert_eq!(chosen, [Scenario::Login, Scenario::Upload, Scenario::Upload, Scenario::Upload]);
    }

    #[test]
    fn nonsense_is_refused() {
        let error = |text: &str| text.parse::<Mix>().err();
        assert_eq!(error("login"), Some(MixError::Form(String::from("login"))));
        assert_eq!(error("login=x"), Some(MixError::Form(String::from("login=x"))));
        assert_eq!(error("pasv=1"), Some(MixError::Scenario(String::from("pasv"))));
        assert_eq!(error("login=0"), Some(MixError::Nothing));
    }
}
