//! Why a request was refused, as clients read it: code, reason and message of a `Status`.

use serde_json::{Map, Value, json};

/// A refusal; each variant is a `reason` of the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name is taken.
    #[error("{resource} \"{name}\" already exists")]
    AlreadyExists {
        /// Plural, with its group.
        resource: String,
        /// Of the object.
        name: String,
    },
    /// The request makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// The object has another version or another manager.
    #[error("{message}")]
    Conflict {
        /// In words.
        message: String,
        /// One for each field that another manager has: its path, and who.
        causes: Vec<(String, String)>,
    },
    /// The version is no longer known.
    #[error("{message}")]
    Expired {
        /// In words.
        message: String,
        /// With which a list can be gone on with, of what is there now.
        resume: Option<String>,
    },
    /// The user may not do that.
    #[error("{0}")]
    Forbidden(String),
    /// The server has failed.
    #[error("{0}")]
    InternalError(String),
    /// The object cannot be so.
    #[error("{kind} \"{name}\" is invalid: {field}: {message}")]
    Invalid {
        /// Of the object, with its group.
        kind: String,
        /// Of the object.
        name: String,
        /// Its path.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The resource has no such verb.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// No form that is asked for can be given.
    #[error("only the following media types are accepted: application/json")]
    NotAcceptable,
    /// There is no such object.
    #[error("{resource} \"{name}\" not found")]
    NotFound {
        /// Plural, with its group.
        resource: String,
        /// Of the object.
        name: String,
    },
    /// There is no such resource; real servers say it as plain text.
    #[error("404 page not found")]
    PageNotFound,
    /// The version is one that the server has not reached.
    #[error("Too large resource version: {asked}, current: {current}")]
    TooLarge {
        /// What was asked for.
        asked: u64,
        /// What there is.
        current: u64,
    },
    /// The server has too much to do.
    #[error("the server has received too many requests and has asked us to try again later")]
    TooManyRequests {
        /// Seconds.
        retry_after: u64,
    },
    /// Nobody knows the caller.
    #[error("Unauthorized")]
    Unauthorized,
    /// The body is in a form that is not read.
    #[error("the body of the request was in an unknown format - accepted media types include: {0}")]
    UnsupportedMediaType(String),
}

impl Refusal {
    /// The status code of HTTP.
    pub const fn code(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Unauthorized => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound { .. } | Self::PageNotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists { .. } | Self::Conflict { .. } => 409,
            Self::Expired { .. } => 410,
            Self::UnsupportedMediaType(_) => 415,
            Self::Invalid { .. } => 422,
            Self::TooManyRequests { .. } => 429,
            Self::InternalError(_) => 500,
            Self::TooLarge { .. } => 504,
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::BadRequest(_) => "BadRequest",
            Self::Conflict { .. } => "Conflict",
            Self::Expired { .. } => "Expired",
            Self::Forbidden(_) => "Forbidden",
            Self::InternalError(_) => "InternalError",
            Self::Invalid { .. } => "Invalid",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::NotFound { .. } | Self::PageNotFound => "NotFound",
            Self::TooLarge { .. } => "Timeout",
            Self::TooManyRequests { .. } => "TooManyRequests",
            Self::Unauthorized => "Unauthorized",
            Self::UnsupportedMediaType(_) => "UnsupportedMediaType",
        }
    }

    /// Seconds after which the client may ask again.
    pub(crate) const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { retry_after } => Some(*retry_after),
            Self::TooLarge { .. } => Some(1),
            _ => None,
        }
    }

    /// The object that clients get.
    pub(crate) fn status(&self) -> Value {
        let mut metadata = Map::new();
        if let Self::Expired {
            resume: Some(token),
            ..
        } = self
        {
            metadata.insert("continue".to_owned(), json!(token));
        }
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": metadata,
            "status": "Failure",
            "message": self.to_string(),
            "reason": self.reason(),
            "code": self.code(),
        });
        if let (Some(details), Some(status)) = (self.details(), status.as_object_mut()) {
            status.insert("details".to_owned(), details);
        }
        status
    }

    fn details(&self) -> Option<Value> {
        let object = |resource: &str, name: &str| {
            let (kind, group) = resource.split_once('.').unwrap_or((resource, ""));
            json!({ "name": name, "group": group, "kind": kind })
        };
        match self {
            Self::AlreadyExists { resource, name } | Self::NotFound { resource, name } => {
                Some(object(resource, name))
            }
            Self::Conflict { causes, .. } if !causes.is_empty() => {
                let causes = causes.iter().map(|(field, message)| {
                    json!({ "reason": "FieldManagerConflict", "message": message, "field": field })
                });
                Some(json!({ "causes": causes.collect::<Vec<_>>() }))
            }
            Self::Invalid {
                kind,
                name,
                field,
                message,
            } => {
                let mut details = object(kind, name);
                if let Some(details) = details.as_object_mut() {
                    let cause = json!({ "reason": "FieldValueInvalid", "message": message, "field": field });
                    details.insert("causes".to_owned(), json!([cause]));
                }
                Some(details)
            }
            Self::TooLarge { .. } => Some(json!({
                "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
                "retryAfterSeconds": 1,
            })),
            Self::TooManyRequests { retry_after } => {
                Some(json!({ "retryAfterSeconds": retry_after }))
            }
            _ => None,
        }
    }
}
