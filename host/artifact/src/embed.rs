//! A component as it is published: without the names, versions and paths that its tools left in it, and with its
//! request.

use crate::imports;
use warded_lib::error::{Error, Result};
use wasmparser::Parser;

/// The length of the header of a module or a component.
const HEADER: usize = 8;
/// The IDs of sections that hold a module or a component.
const WITHIN: [u8; 2] = [1, 4];
const CUSTOM: u8 = 0;

/// Removes every custom section from a component, at every depth, and adds one with the request.
///
/// # Errors
/// It is not a component, or imports what no procedure gets.
pub fn embedded(component: &[u8], request: &str) -> Result<Vec<u8>> {
    imports::only_ours(component)?;
    let mut bytes = stripped(component)
        .ok_or_else(|| Error::refused("this component cannot be read").cause("a section of it is cut off"))?;
    let name = "warded:policy";
    let title = [leb(name.len()), name.as_bytes().to_vec()].concat();
    section(&mut bytes, CUSTOM, &[&title, request.as_bytes()].concat());
    Ok(bytes)
}

/// The module or component without custom sections; `None` if a section is truncated.
fn stripped(bytes: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = bytes.split_at_checked(HEADER)?;
    let mut kept = header.to_vec();
    while let Some((id, after)) = rest.split_first() {
        let (size, after) = number(after)?;
        let (body, after) = after.split_at_checked(size)?;
        rest = after;
        if WITHIN.contains(id) && Parser::is_component(header) {
            section(&mut kept, *id, &stripped(body)?);
        } else if *id != CUSTOM {
            section(&mut kept, *id, body);
        }
    }
    Some(kept)
}

fn section(bytes: &mut Vec<u8>, id: u8, body: &[u8]) {
    bytes.push(id);
    bytes.extend(leb(body.len()));
    bytes.extend(body);
}

/// Reads a number in LEB128; returns it with the remaining bytes.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let length = bytes.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (digits, rest) = bytes.split_at_checked(length)?;
    let number = digits
        .iter()
        .rev()
        .try_fold(0_usize, |number, digit| number.checked_shl(7).map(|number| number | usize::from(digit & 0x7f)))?;
    Some((number, rest))
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let digit = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(digit);
            return bytes;
        }
        bytes.push(digit | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::Payload;

    fn custom_sections(component: &[u8]) -> Vec<(String, Vec<u8>)> {
        let section = |payload| {
            let Payload::CustomSection(section) = payload else { return None };
            Some((section.name().to_owned(), section.data().to_owned()))
        };
        Parser::new(0).parse_all(component).filter_map(|payload| section(payload.unwrap())).collect()
    }

    #[test]
    fn only_the_request_is_left_of_what_is_custom_at_any_depth() {
        let module = format!("(core module $named (func $named) (data \"{}\"))", "x".repeat(300));
        let text =
            format!("(component $named (@custom \"warded:policy\" \"old\") (component $inner {module}) {module})");
        let before = wat::parse_str(text).unwrap();
        assert!(custom_sections(&before).len() > 3);
        let request = "n".repeat(200);
        let after = embedded(&before, &request).unwrap();
        assert_eq!(custom_sections(&after), [("warded:policy".to_owned(), request.clone().into_bytes())]);
        assert!(before.len() > after.len() - request.len());
        assert_eq!(imports::request(&after).unwrap().as_deref(), Some(request.as_str()));
        assert_eq!(embedded(&after, &request).unwrap(), after);
    }

    #[test]
    fn what_no_procedure_gets_is_refused_with_its_whole_list() {
        let text = r#"(component (import "wasi:cli/exit@0.2.0" (instance)) (import "run" (func)))"#;
        let error = embedded(&wat::parse_str(text).unwrap(), "").unwrap_err().to_string();
        assert!(error.contains("wasi:cli/exit@0.2.0\n") && error.contains("run\n"), "{error}");
        assert!(error.contains("--stub-wasi"), "{error}");
        embedded(b"\0asm\x01\0\0\0", "").unwrap_err();
    }
}
