//! Control tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256, as the platform in front of the orchestrator issues
//! them and as the orchestrator issues them itself. Nothing of a token is believed, or even parsed beyond its header,
//! before its signature is checked, and the header may name no other algorithm: a token never chooses how it is verified.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::fleet::error::FleetError;
use crate::fleet::ids::SessionId;

/// Longest token, in bytes.
const LONGEST_TOKEN: usize = 8 << 10;
/// Clocks of two machines may differ by so much, in seconds.
const LEEWAY_S: f64 = 5.0;
/// What control tokens say that they are.
const CONTROL: &str = "Control";

/// What signs and verifies.
#[derive(Clone)]
pub struct TokenKey {
    secret: Vec<u8>,
    issuer: String,
    audience: String,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TokenKey").field("issuer", &self.issuer).field("audience", &self.audience).finish()
    }
}

/// Whom a token lets in, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// The person.
    pub user: String,
    /// The session.
    pub session: SessionId,
    /// When it ends, Unix seconds.
    pub expires_s: f64,
    /// `Viewer`, `Editor`, `Admin`; none is a platform that does not say.
    pub permissions: Vec<String>,
    /// The organisation, where the token names one.
    pub organisation: Option<String>,
}

impl Claims {
    /// Whether its holder may drive: unless it is a viewer's and no more.
    #[must_use]
    pub fn may_drive(&self) -> bool {
        self.permissions.is_empty() || self.permissions.iter().any(|permission| permission != "Viewer")
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    iss: Option<String>,
    aud: Option<Audience>,
    sub: Option<String>,
    exp: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iat: Option<f64>,
    session_id: Option<String>,
    #[serde(default)]
    permission: Vec<String>,
    token_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn holds(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Several(several) => several.iter().any(|one| one == name),
        }
    }
}

fn refused(why: impl std::fmt::Display) -> FleetError {
    FleetError::Unauthenticated(format!("control token: {why}"))
}

impl TokenKey {
    /// A key for tokens of this issuer for this audience.
    #[must_use]
    pub fn new(secret: &[u8], issuer: &str, audience: &str) -> Self {
        Self { secret: secret.to_vec(), issuer: issuer.to_owned(), audience: audience.to_owned() }
    }

    /// What a token says, when it is genuine, of now, and for `session`.
    ///
    /// # Errors
    /// `Unauthenticated` with the reason; `Denied` for a genuine token of another session.
    pub fn verify(&self, token: &str, session: &SessionId, now_s: f64) -> Result<Claims, FleetError> {
        let body = self.opened(token)?;
        if body.iss.as_deref() != Some(self.issuer.as_str()) {
            return Err(refused(format!(
                "iss is {:?}, expected {:?}",
                shown(body.iss.as_deref()),
                self.issuer
            )));
        }
        if !body.aud.as_ref().is_some_and(|audience| audience.holds(&self.audience)) {
            return Err(refused(format!("aud does not name {:?}", self.audience)));
        }
        if body.token_type.as_deref() != Some(CONTROL) {
            let found = shown(body.token_type.as_deref());
            return Err(refused(format!("token_type is {found:?}, expected {CONTROL:?}")));
        }
        let expires_s = body.exp.ok_or_else(|| refused("exp is missing"))?;
        if expires_s + LEEWAY_S <= now_s {
            return Err(refused(format!("expired {:.0} s ago", now_s - expires_s)));
        }
        if let Some(from) = body.nbf
            && from - LEEWAY_S > now_s
        {
            return Err(refused(format!("not valid for another {:.0} s", from - now_s)));
        }
        let user = body.sub.filter(|user| !user.is_empty()).ok_or_else(|| refused("sub is missing"))?;
        let named = body.session_id.ok_or_else(|| refused("session_id is missing"))?;
        if named != session.as_str() {
            let named = shown(Some(&named));
            return Err(FleetError::Denied(format!("control token: it is for session {named:?}")));
        }
        Ok(Claims {
            user,
            session: session.clone(),
            expires_s,
            permissions: body.permission,
            organisation: body.org_id,
        })
    }

    /// A token of our own, in the same form.
    ///
    /// # Errors
    /// Only if the claims cannot be written.
    pub fn issue(
        &self,
        session: &SessionId,
        user: &str,
        permissions: &[&str],
        now_s: f64,
        life_s: f64,
    ) -> Result<String, FleetError> {
        let body = Body {
            iss: Some(self.issuer.clone()),
            aud: Some(Audience::Several(vec![self.audience.clone()])),
            sub: Some(user.to_owned()),
            exp: Some((now_s + life_s).floor()),
            nbf: None,
            iat: Some(now_s.floor()),
            session_id: Some(session.as_str().to_owned()),
            permission: permissions.iter().map(ToString::to_string).collect(),
            token_type: Some(CONTROL.to_owned()),
            org_id: None,
            project_ids: None,
            jti: Some(uuid::Uuid::new_v4().to_string()),
        };
        let body = serde_json::to_vec(&body).map_err(FleetError::internal)?;
        let header = URL_SAFE_NO_PAD.encode(br#"{"typ":"JWT","alg":"HS256"}"#);
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(body));
        let signature = URL_SAFE_NO_PAD.encode(self.mac(signed.as_bytes())?.finalize().into_bytes());
        Ok(format!("{signed}.{signature}"))
    }

    fn mac(&self, signed: &[u8]) -> Result<Hmac<Sha256>, FleetError> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).map_err(FleetError::internal)?;
        mac.update(signed);
        Ok(mac)
    }

    /// The claims of a token with our signature.
    fn opened(&self, token: &str) -> Result<Body, FleetError> {
        if token.is_empty() {
            return Err(refused("it is missing"));
        }
        if token.len() > LONGEST_TOKEN {
            return Err(refused(format!("it is {} bytes long, at most {LONGEST_TOKEN}", token.len())));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(|| refused("it is no JWT"))?;
        let (header, body) = signed.split_once('.').ok_or_else(|| refused("it is no JWT"))?;
        let header = decoded("header", header)?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|error| refused(format!("its header: {error}")))?;
        if header.alg != "HS256" {
            return Err(refused(format!("alg is {:?}, expected \"HS256\"", shown(Some(&header.alg)))));
        }
        if header.crit.is_some() {
            return Err(refused("its header has crit, which nothing here understands"));
        }
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("jwt")) {
            return Err(refused("typ is not JWT"));
        }
        let signature = decoded("signature", signature)?;
        self.mac(signed.as_bytes())?
            .verify_slice(&signature)
            .map_err(|_| refused("its signature is not ours"))?;
        let body = decoded("claims", body)?;
        serde_json::from_slice(&body).map_err(|error| refused(format!("its claims: {error}")))
    }
}

fn decoded(part: &str, text: &str) -> Result<Vec<u8>, FleetError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|error| refused(format!("its {part}: {error}")))
}

/// As much of it as belongs into a message.
fn shown(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().take(64).collect()
}

#[cfg(test)]
#[path = "tests/token.rs"]
mod tests;
