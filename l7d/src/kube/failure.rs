//! Why a request did not give what it was made for.

use std::time::Duration;

use super::wire::Status;

/// Why a request has failed; the text is what operators read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// The server cannot be reached, or the connection broke.
    #[error("{0}")]
    Connection(String),
    /// It said nothing for longer than it may.
    #[error("no answer for {} s", .0.as_secs())]
    Silent(Duration),
    /// The version is no longer known: everything is to be asked for again.
    #[error("{0}")]
    Gone(String),
    /// The server has not reached the version: it went back to a backup.
    #[error("the server has gone back to an earlier version of the cluster")]
    WentBack,
    /// There is no such resource.
    #[error("the server knows no such resource")]
    Missing,
    /// It has too much to do.
    #[error("the server is busy: {message}")]
    Busy {
        /// Not before this time, where it says so.
        retry: Option<Duration>,
        /// In its words.
        message: String,
    },
    /// It refuses.
    #[error("{message} ({code})")]
    Refused {
        /// The status of HTTP.
        code: u16,
        /// In its words.
        message: String,
    },
    /// What it sends is no API.
    #[error("an answer that cannot be read: {0}")]
    Unreadable(String),
}

/// The longest that a server may ask us to wait.
const WAIT_MAX: Duration = Duration::from_mins(2);

impl Failure {
    /// What a refusal means: of a request, with the seconds of `Retry-After`, or within a watch.
    pub(crate) fn of_status(status: Status, retry_after: Option<u64>) -> Self {
        let Status {
            code,
            reason,
            message,
            details,
        } = status;
        let details = details.unwrap_or_default();
        let retry = retry_after.or(details.retry_after_seconds);
        let retry = retry.map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX));
        let is_too_large = || {
            let mut causes = details.causes.iter();
            causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
                || message.starts_with("Too large resource version")
        };
        match code {
            410 => Self::Gone(message),
            404 => Self::Missing,
            504 if is_too_large() => Self::WentBack,
            429 => Self::Busy { retry, message },
            503 if retry.is_some() => Self::Busy { retry, message },
            _ if reason == "Expired" || reason == "Gone" => Self::Gone(message),
            _ => Self::Refused { code, message },
        }
    }

    /// A failure with all that caused it.
    pub(crate) fn of_error(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            next = cause.source();
        }
        Self::Connection(text)
    }

    /// Before when it makes no sense to ask again.
    pub(crate) const fn retry(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry, .. } => *retry,
            _ => None,
        }
    }

    /// Whether what was known so far can be gone on from, as far as the failure tells.
    pub(crate) const fn keeps_version(&self) -> bool {
        matches!(
            self,
            Self::Connection(_) | Self::Silent(_) | Self::Busy { .. } | Self::Refused { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(json: &str, retry_after: Option<u64>) -> Failure {
        Failure::of_status(serde_json::from_str(json).expect("a status"), retry_after)
    }

    #[test]
    fn refusals_say_what_is_to_be_done() {
        let gone = failure(
            r#"{"code":410,"reason":"Expired","message":"too old"}"#,
            None,
        );
        assert!(!gone.keeps_version());
        let busy = failure(r#"{"code":429,"message":"later"}"#, Some(7));
        assert_eq!(busy.retry(), Some(Duration::from_secs(7)));
        let within = r#"{"code":429,"details":{"retryAfterSeconds":100000}}"#;
        assert_eq!(failure(within, None).retry(), Some(WAIT_MAX));
        let back = r#"{"code":504,"reason":"Timeout","message":"Too large resource version: 9, current: 3","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}]}}"#;
        assert_eq!(failure(back, Some(1)), Failure::WentBack);
        let slow = failure(r#"{"code":504,"message":"slow"}"#, None);
        assert_eq!(slow.to_string(), "slow (504)");
    }
}
