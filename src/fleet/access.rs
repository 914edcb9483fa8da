//! Who may ask: API keys with roles, compared in constant time. Without keys everybody is let in, which is what the
//! published deployment does; who listens for more than this machine is warned about it.

use std::net::IpAddr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tracing::warn;

use super::error::FleetError;
use super::settings;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Make sessions, and see its own.
    User,
    /// Attach instances, nothing else.
    Instance,
    /// Everything.
    Admin,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Whose sessions it makes; `None`: it may say so itself.
    pub owner: Option<String>,
    /// What it may do.
    pub role: Role,
}

impl Identity {
    /// Everybody, where no keys are set.
    #[must_use]
    pub const fn anyone() -> Self {
        Self { owner: None, role: Role::Admin }
    }

    /// Whether sessions of this owner are there for the caller.
    #[must_use]
    pub fn sees(&self, owner: &str) -> bool {
        match self.role {
            Role::Admin => true,
            Role::User => self.owner.as_deref() == Some(owner),
            Role::Instance => false,
        }
    }

    /// The owner that a request is carried out for, given what it says itself.
    #[must_use]
    pub fn acts_for(&self, said: &str) -> String {
        match (&self.owner, self.role) {
            // An administrator may act for others; its own name is only the default.
            (Some(own), Role::Admin) if said.is_empty() => own.clone(),
            (Some(own), Role::User | Role::Instance) => own.clone(),
            _ => said.to_owned(),
        }
    }

    /// # Errors
    /// `Denied` for instances' keys: they only attach.
    pub fn may_use_sessions(&self) -> Result<(), FleetError> {
        match self.role {
            Role::User | Role::Admin => Ok(()),
            Role::Instance => Err(FleetError::Denied(
                "this key is for instances: it may attach, and nothing else".to_owned(),
            )),
        }
    }

    /// # Errors
    /// `Denied` for users' keys.
    pub fn may_attach(&self) -> Result<(), FleetError> {
        match self.role {
            Role::Instance | Role::Admin => Ok(()),
            Role::User => Err(FleetError::Denied(
                "this key is for sessions: instances attach with one of role `instance`".to_owned(),
            )),
        }
    }

    /// # Errors
    /// `Denied` for all but administrators.
    pub fn may_administer(&self) -> Result<(), FleetError> {
        match self.role {
            Role::Admin => Ok(()),
            Role::User | Role::Instance => {
                Err(FleetError::Denied("this needs a key of role `admin`".to_owned()))
            }
        }
    }
}

/// The keys. Cheap to clone.
#[derive(Clone, Default)]
pub struct Access {
    keys: Arc<Vec<Key>>,
}

#[derive(Clone)]
struct Key {
    digest: [u8; 32],
    identity: Identity,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Access({} keys)", self.keys.len())
    }
}

impl Access {
    /// The keys of the settings, which were checked when they were read.
    #[must_use]
    pub fn from_settings(settings: &settings::Access) -> Self {
        let keys = settings.key.iter().map(|key| {
            let role = match key.role.as_str() {
                "admin" => Role::Admin,
                "instance" => Role::Instance,
                _ => Role::User,
            };
            let owner = (!key.owner.is_empty()).then(|| key.owner.clone());
            Key::new(&key.key, Identity { owner, role })
        });
        Self { keys: Arc::new(keys.collect()) }
    }

    /// With one more key, for the instances that the orchestrator starts itself.
    #[must_use]
    pub fn and_instances(self, key: &str) -> Self {
        let mut keys = self.keys.as_ref().clone();
        keys.push(Key::new(key, Identity { owner: None, role: Role::Instance }));
        Self { keys: Arc::new(keys) }
    }

    /// Whether everybody is let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who shows this credential: the key itself, without a scheme.
    ///
    /// # Errors
    /// `Unauthenticated` without a key, or with one that nobody has.
    pub fn check(&self, credential: Option<&str>, peer: IpAddr) -> Result<Identity, FleetError> {
        if self.is_open() {
            return Ok(Identity::anyone());
        }
        let Some(shown) = credential.filter(|shown| !shown.is_empty()) else {
            return Err(FleetError::Unauthenticated(
                "a key is required: `authorization: Bearer KEY` or `x-api-key: KEY`".to_owned(),
            ));
        };
        let shown: [u8; 32] = Sha256::digest(shown.as_bytes()).into();
        // All keys are compared, so the time tells nothing of which one nearly matched.
        let mut found = 0_u64;
        for (number, key) in (1_u64..).zip(self.keys.iter()) {
            let equal: Choice = key.digest.ct_eq(&shown);
            found.conditional_assign(&number, equal);
        }
        let index = usize::try_from(found).ok().and_then(|number| number.checked_sub(1));
        index.and_then(|index| self.keys.get(index)).map(|key| key.identity.clone()).ok_or_else(|| {
            warn!(%peer, "a key that is not known was shown");
            FleetError::Unauthenticated("this key is not known here".to_owned())
        })
    }
}

impl Key {
    fn new(key: &str, identity: Identity) -> Self {
        Self { digest: Sha256::digest(key.as_bytes()).into(), identity }
    }
}

/// The key of a request, from the values of its headers `authorization` and `x-api-key`.
#[must_use]
pub fn credential<'a>(authorization: Option<&'a str>, x_api_key: Option<&'a str>) -> Option<&'a str> {
    let from_scheme = |value: &'a str| {
        let (scheme, rest) = value.split_once(' ')?;
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("api-key");
        known.then(|| rest.trim())
    };
    authorization.and_then(from_scheme).or_else(|| x_api_key.map(str::trim))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn three() -> Access {
        let key = |owner: &str, key: &str, role: &str| settings::ApiKey {
            owner: owner.into(),
            key: key.into(),
            role: role.into(),
        };
        let keys = vec![
            key("ada", "key-of-ada", "user"),
            key("", "key-of-robots", "instance"),
            key("root", "key-of-root", "admin"),
        ];
        Access::from_settings(&settings::Access { key: keys, ..settings::Access::default() })
    }

    #[test]
    fn without_keys_everybody_is_let_in_and_may_do_everything() {
        let open = Access::from_settings(&settings::Access::default());
        let who = open.check(None, PEER).unwrap();
        assert_eq!(who, Identity::anyone());
        assert!(who.sees("anybody") && who.may_administer().is_ok() && who.may_attach().is_ok());
        assert_eq!(who.acts_for("ada"), "ada");
    }

    #[test]
    fn a_key_opens_what_its_role_may() {
        let access = three().and_instances("key-of-our-own");
        let ada = access.check(Some("key-of-ada"), PEER).unwrap();
        assert!(ada.sees("ada") && !ada.sees("bob"));
        assert!(ada.may_use_sessions().is_ok() && ada.may_attach().is_err() && ada.may_administer().is_err());
        assert_eq!(ada.acts_for("bob"), "ada");
        for key in ["key-of-robots", "key-of-our-own"] {
            let robot = access.check(Some(key), PEER).unwrap();
            assert!(!robot.sees("ada") && robot.may_use_sessions().is_err() && robot.may_attach().is_ok());
        }
        let root = access.check(Some("key-of-root"), PEER).unwrap();
        assert!(root.sees("ada") && root.may_attach().is_ok() && root.may_administer().is_ok());
        assert_eq!((root.acts_for(""), root.acts_for("bob")), ("root".to_owned(), "bob".to_owned()));
    }

    #[test]
    fn no_key_and_unknown_keys_are_turned_away() {
        for shown in [None, Some(""), Some("key-of-ad"), Some("key-of-adaa"), Some("KEY-OF-ADA")] {
            let refused = three().check(shown, PEER).unwrap_err();
            assert!(matches!(refused, FleetError::Unauthenticated(_)), "{shown:?}: {refused}");
        }
    }

    #[test]
    fn keys_come_with_either_header() {
        assert_eq!(credential(Some("Bearer abc"), None), Some("abc"));
        assert_eq!(credential(Some("api-key  abc "), None), Some("abc"));
        assert_eq!(credential(None, Some(" abc")), Some("abc"));
        assert_eq!(credential(Some("Basic abc"), Some("def")), Some("def"));
        assert_eq!(credential(Some("abc"), None), None);
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", three()), "Access(3 keys)");
    }
}
