use super::*;

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, body: Zeroizing::new(body.as_bytes().to_vec()), retry_after: None }
}

#[test]
fn a_no_need_not_be_json() {
    for (status, body, text) in [
        (401, r#"{"status":401,"message":"The request lacked necessary authorization."}"#, "The request lacked"),
        (404, "404 page not found\n", "404 page not found"),
        (405, "", ""),
        (502, "<html>\n<h1>Bad gateway</h1>", "<html>"),
        (400, "{\"message\":\"a\\u001b[2Jb\"}", "a\\u{1b}[2Jb"),
    ] {
        let failure = understand::<SignReply>("/ssh/sign", &answer(status, body)).err().unwrap();
        let Failure::Status { status: seen, text: said, .. } = failure else { panic!("{body}: {failure}") };
        assert_eq!(seen, status);
        assert!(said.starts_with(text), "{body}: {said}");
    }
}

#[test]
fn what_is_no_step_ca_is_said() {
    for (body, why) in [
        ("<html>", "it is no JSON object"),
        ("", "it is no JSON object"),
        ("null", "it is no JSON object"),
        ("[]", "it is no JSON object"),
        ("{}", "missing field `crt`"),
        ("{\"crt\":1}", "expected a string"),
        ("{\"crt\":\"abc", "cut off"),
        ("{\"crt\"}", "no JSON"),
    ] {
        let failure = understand::<SignReply>("/ssh/sign", &answer(200, body)).err().unwrap();
        let Failure::NotStepCa { why: said, .. } = failure else { panic!("{body}: {failure}") };
        assert!(said.contains(why) && !said.contains("struct"), "{body}: {said}");
    }
    // An empty list must not be taken for a CA without keys.
    assert!(understand::<Keys>("/ssh/roots", &answer(200, "[]")).is_err());
}

#[test]
fn a_key_id_stays_one_part_of_a_path() {
    for (kid, expected) in
        [("Ab-_9", "Ab-_9"), ("my key", "my%20key"), ("a+b/c?d#e%", "a%2Bb%2Fc%3Fd%23e%25"), ("é", "%C3%A9")]
    {
        assert_eq!(path_segment(kid), expected);
    }
}

#[test]
fn a_text_without_end_is_cut() {
    let long = "x".repeat(100_000);
    let failure = understand::<SignReply>("/", &answer(500, &long)).err().unwrap();
    assert!(failure.to_string().len() < 500);
}
