use super::*;

const NOW: f64 = 1_763_733_600.0;

fn key() -> TokenKey {
    TokenKey::new(b"a secret of thirty-two bytes, ok", "https://nexus.mosia.app", "neuro")
}

fn session() -> SessionId {
    "5f0c8d6e-3f2b-4b53-9a6e-0d8f1f6f4a11".parse().unwrap()
}

fn signed(header: &str, body: &serde_json::Value) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(body.to_string()));
    let mac = key().mac(signed.as_bytes()).unwrap().finalize().into_bytes();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

fn body() -> serde_json::Value {
    serde_json::json!({
        "iss": "https://nexus.mosia.app", "aud": ["neuro"], "sub": "anna", "exp": NOW + 3600.0, "iat": NOW,
        "session_id": session().as_str(), "permission": [], "token_type": "Control",
    })
}

fn refusal(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut body = body();
    change(&mut body);
    let token = signed(r#"{"typ":"JWT","alg":"HS256"}"#, &body);
    key().verify(&token, &session(), NOW).unwrap_err().to_string()
}

/// Made by another implementation (PyJWT 2.15), with the fields in the platform's order.
#[test]
fn tokens_of_another_implementation_are_read() {
    let tokens: serde_json::Value = serde_json::from_str(include_str!("tokens.json")).unwrap();
    let verify = |name: &str| key().verify(tokens[name].as_str().unwrap(), &session(), NOW);
    let claims = verify("plain").unwrap();
    assert_eq!((claims.user.as_str(), claims.organisation.as_deref()), ("7a1c3c52-user", None));
    assert!(claims.may_drive() && claims.permissions.is_empty());
    let claims = verify("with_everything").unwrap();
    assert_eq!(claims.organisation.as_deref(), Some("org-1"));
    assert_eq!(claims.permissions, ["Viewer", "Editor"]);
    assert!(!verify("viewer").unwrap().may_drive());
    for (name, reason) in [
        ("other_secret", "signature is not ours"),
        ("expired", "expired 60 s ago"),
        ("access", "token_type is \"Access\""),
        ("hs512", "alg is \"HS512\""),
        ("none", "alg is \"none\""),
        ("other_audience", "aud does not name \"neuro\""),
        ("not_yet", "not valid for another 60 s"),
        ("other_session", "it is for session"),
    ] {
        let refused = verify(name).unwrap_err().to_string();
        assert!(refused.contains(reason), "{name}: {refused}");
    }
}

#[test]
fn what_we_issue_we_accept_for_that_session_and_that_time() {
    let token = key().issue(&session(), "anna", &["Editor"], NOW, 60.0).unwrap();
    let claims = key().verify(&token, &session(), NOW).unwrap();
    assert_eq!((claims.user.as_str(), claims.expires_s), ("anna", NOW + 60.0));
    assert!(key().verify(&token, &session(), NOW + 64.0).is_ok(), "clocks differ a little");
    assert!(key().verify(&token, &session(), NOW + 66.0).is_err());
    let other: SessionId = "other".parse().unwrap();
    assert!(matches!(key().verify(&token, &other, NOW), Err(FleetError::Denied(_))));
    assert_ne!(token, key().issue(&session(), "anna", &["Editor"], NOW, 60.0).unwrap());
}

#[test]
fn a_claim_that_is_missing_or_wrong_is_named() {
    assert!(refusal(|body| body["iss"] = "https://evil".into()).contains("iss is \"https://evil\""));
    assert!(refusal(|body| body["sub"] = "".into()).contains("sub is missing"));
    assert!(refusal(|body| body["exp"] = serde_json::Value::Null).contains("exp is missing"));
    assert!(refusal(|body| body["session_id"] = serde_json::Value::Null).contains("session_id is missing"));
    assert!(refusal(|body| body["token_type"] = serde_json::Value::Null).contains("token_type is \"\""));
    assert!(refusal(|body| body["permission"] = "Admin".into()).contains("its claims"));
    assert!(refusal(|body| body["exp"] = "tomorrow".into()).contains("its claims"));
}

#[test]
fn the_header_chooses_nothing() {
    for (header, reason) in [
        (r#"{"alg":"none"}"#, "alg is \"none\""),
        (r#"{"alg":"RS256","typ":"JWT"}"#, "alg is \"RS256\""),
        (r#"{"alg":"hs256"}"#, "alg is \"hs256\""),
        (r#"{"alg":"HS256","crit":["exp"]}"#, "crit"),
        (r#"{"alg":"HS256","typ":"JWE"}"#, "typ is not JWT"),
        (r#"{"alg":"HS256","alg":"none"}"#, "duplicate field"),
        (r#"{"typ":"JWT"}"#, "missing field"),
    ] {
        let refused = key().verify(&signed(header, &body()), &session(), NOW).unwrap_err().to_string();
        assert!(refused.contains(reason), "{header}: {refused}");
    }
}

#[test]
fn one_changed_character_anywhere_is_refused() {
    let token = key().issue(&session(), "anna", &[], NOW, 60.0).unwrap();
    assert!(key().verify(&token, &session(), NOW).is_ok());
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(bytes).unwrap();
        assert!(key().verify(&forged, &session(), NOW).is_err(), "character {at}");
    }
    for at in 0..token.len() {
        assert!(key().verify(&token[..at], &session(), NOW).is_err(), "cut at {at}");
    }
    assert!(
        key().verify(&"a.".repeat(9000), &session(), NOW).unwrap_err().to_string().contains("bytes long")
    );
}
