//! Failures of the hub in a user's words: one line with what was asked for and what to do.

use super::spec::DatasetSpec;
use crate::{Error, Failure, HubSettings, Status};

/// The error of a request for `what`, a revision or a file of the data set.
pub(super) fn explain(
    spec: &DatasetSpec,
    hub: &HubSettings,
    what: &str,
    failure: Failure,
) -> Error {
    let at = hub.shown_endpoint();
    Error(match failure {
        Failure::Status(status) => format!("{spec}: {}", of_status(spec, hub, what, &status)),
        Failure::Transport(why) => format!(
            "{spec}: {what} cannot be fetched from {at}: {why}; what is in the cache can be read \
             with HF_HUB_OFFLINE=1"
        ),
        Failure::File(why) => format!("{spec}: {what}: {why}"),
    })
}

fn of_status(spec: &DatasetSpec, hub: &HubSettings, what: &str, status: &Status) -> String {
    let (at, code) = (hub.shown_endpoint(), status.code);
    let page = format!("{at}/datasets/{}", spec.id);
    let is = |name: &str| status.error_code.as_deref() == Some(name);
    match code {
        401 | 403 if is("GatedRepo") || code == 403 => match hub.token {
            None => format!(
                "{at} answers {code}: the data set is gated; accept its conditions at {page} and \
                 set HF_TOKEN to a token of that account"
            ),
            Some(_) => format!(
                "{at} answers {code}: HF_TOKEN may not read it; accept the data set's conditions \
                 at {page}, or give a token that may"
            ),
        },
        401 => format!(
            "{at} answers 401: the data set does not exist, or it is private or gated; look at \
             {page} and set HF_TOKEN to a token that may read it"
        ),
        404 if is("RevisionNotFound") => format!("{at} answers 404: no {what} at {page}"),
        404 if is("EntryNotFound") => format!("{at} answers 404: the data set has no {what}"),
        404 => format!("{at} answers 404: no such data set {} ({what})", spec.id),
        429 => format!(
            "{at} answers 429: too many requests{} (fetching {what}); try again later{}",
            asked(status),
            match hub.token {
                None => ", or set HF_TOKEN, which allows more",
                Some(_) => "",
            }
        ),
        500..=599 => {
            let asked = asked(status);
            format!("{at} answers {code}{asked} (fetching {what}); try again later")
        }
        _ => format!("{at} answers {code} (fetching {what})"),
    }
}

fn asked(status: &Status) -> String {
    match status.retry_after {
        Some(wait) => format!(", and asks to wait {} s", wait.as_secs()),
        None => String::new(),
    }
}
