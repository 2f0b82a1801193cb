//! The results of operations, as JSON and back.

use crate::broker::operation::key::KeyPair;
use serde_json::{Value, json};
use ssh_key::PublicKey;
use warded_artifact::recording::{bytes, bytes_of};
use warded_lib::{
    ca::{self, Certificate},
    change_set::RequestId,
    machine::keys,
};

/// A result of an operation that a recording can hold.
pub trait Answer: Sized {
    /// The result as a recording stores it.
    fn written(&self) -> Value;

    /// Reads it back; `None` if the value is of another type.
    fn read(value: &Value) -> Option<Self>;

    /// The certificate, if the result is one.
    fn certificate(&self) -> Option<&Certificate> {
        None
    }
}

impl Answer for () {
    fn written(&self) -> Value {
        Value::Null
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_null()
    }
}

impl Answer for bool {
    fn written(&self) -> Value {
        Value::from(*self)
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Answer for String {
    fn written(&self) -> Value {
        Value::from(self.clone())
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Answer for Vec<u8> {
    fn written(&self) -> Value {
        bytes(self)
    }

    fn read(value: &Value) -> Option<Self> {
        bytes_of(value)
    }
}

impl Answer for RequestId {
    fn written(&self) -> Value {
        json!(self)
    }

    fn read(value: &Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok()
    }
}

impl Answer for PublicKey {
    fn written(&self) -> Value {
        Value::from(self.to_openssh().unwrap_or_default())
    }

    fn read(value: &Value) -> Option<Self> {
        Self::from_openssh(value.as_str()?).ok()
    }
}

/// The public half, and where the private half is.
impl Answer for KeyPair {
    fn written(&self) -> Value {
        json!({ "path": self.path.as_str(), "public": self.public.written() })
    }

    fn read(value: &Value) -> Option<Self> {
        let path = value["path"].as_str()?.parse().ok()?;
        Some(Self { path, agent: None, public: PublicKey::read(&value["public"])?, replaces: None })
    }
}

impl Answer for Certificate {
    fn written(&self) -> Value {
        json!({ "certificate": self.to_file() })
    }

    fn read(value: &Value) -> Option<Self> {
        ca::certificate::parse(value["certificate"].as_str()?.as_bytes()).ok()
    }

    fn certificate(&self) -> Option<&Certificate> {
        Some(self)
    }
}

impl<T: Answer> Answer for Option<T> {
    fn written(&self) -> Value {
        self.as_ref().map_or(Value::Null, Answer::written)
    }

    fn read(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }

    fn certificate(&self) -> Option<&Certificate> {
        self.as_ref()?.certificate()
    }
}

impl<T: Answer> Answer for Vec<T> {
    fn written(&self) -> Value {
        self.iter().map(Answer::written).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::read).collect()
    }
}

/// Whether any part of the value is a private key.
pub(super) fn holds_private_key(value: &Value) -> bool {
    if let Some(bytes) = bytes_of(value) {
        return keys::holds_private_key(&bytes);
    }
    match value {
        Value::String(text) => keys::holds_private_key(text.as_bytes()),
        Value::Array(values) => values.iter().any(holds_private_key),
        Value::Object(values) => values.values().any(holds_private_key),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
