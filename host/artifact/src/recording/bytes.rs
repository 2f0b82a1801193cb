//! Bytes as JSON, and back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Bytes as JSON: as a text if they are text.
#[must_use]
pub fn bytes(bytes: &[u8]) -> Value {
    match str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// The bytes back from JSON; `None` if the value does not stand for bytes.
#[must_use]
pub fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    match (object.get("text"), object.get("base64")) {
        (Some(text), _) => Some(text.as_str()?.as_bytes().to_vec()),
        (None, Some(text)) => STANDARD.decode(text.as_str()?).ok(),
        (None, None) => None,
    }
}
