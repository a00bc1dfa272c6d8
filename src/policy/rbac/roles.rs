//! The roles that a policy declares, as numbers, with all they inherit.

use std::collections::HashMap;

use crate::facts::{Holder, RoleId, RoleSet, Who};
use crate::policy::code::Code;
use crate::policy::compile::unknown_name;
use crate::policy::decode::{Name, table};
use crate::policy::diagnostic::{At, Diagnostics, Place};

table! {
    /// `[rbac.role.NAME]`: declares a role.
    pub struct RawRole as "[rbac.role]" {
        /// Roles whose grants and denies this one shares.
        list inherits: At<Name>,
    }
}

/// The declared roles.
#[derive(Clone, Debug)]
pub struct Roles {
    /// By number; 0 and 1 are `anyone` and `authenticated`.
    roles: Vec<Role>,
    by_name: HashMap<Box<str>, RoleId>,
}

#[derive(Clone, Debug)]
struct Role {
    name: Box<str>,
    place: Option<Place>,
    /// The role itself and all it inherits.
    closure: RoleSet,
    used: bool,
}

impl Default for Roles {
    fn default() -> Roles {
        let mut roles = Roles { roles: Vec::new(), by_name: HashMap::new() };
        roles.add("anyone".into(), None);
        roles.add("authenticated".into(), None);
        roles
    }
}

impl Roles {
    /// Numbers the roles and follows their inheritance.
    pub fn compile(raw: &[(At<String>, RawRole)], diagnostics: &mut Diagnostics) -> Roles {
        let mut roles = Roles::default();
        let mut declared = Vec::new();
        for (key, role) in raw {
            let Some(name) = Name::new(&key.value) else {
                diagnostics
                    .push(Code::BadValue, key.place, format!("`{}` is not a name", key.value))
                    .help("a name has 1 to 64 characters of a-z, 0-9, `.`, `_`, `-` and begins with a letter or digit");
                diagnostics.lose(&key.value);
                continue;
            };
            match roles.by_name.get(name.as_str()).copied() {
                None if roles.roles.len() >= MAX_ROLES => {
                    diagnostics.push(Code::Limit, key.place, format!("more than {MAX_ROLES} roles"));
                    return roles;
                }
                None => declared.push((roles.add(name.as_str().into(), Some(key.place)), role)),
                Some(id) => match roles.roles[usize::from(id.0)].place {
                    Some(first) => {
                        diagnostics
                            .push(
                                Code::DuplicateId,
                                key.place,
                                format!("the role `{name}` is declared twice"),
                            )
                            .also(first, "the first declaration");
                    }
                    None => {
                        diagnostics
                            .push(Code::ReservedId, key.place, format!("`{name}` is a reserved role"))
                            .help("`anyone` and `authenticated` exist without being declared; choose another name");
                    }
                },
            }
        }
        let parents: HashMap<RoleId, Vec<(RoleId, Place)>> = declared
            .iter()
            .map(|(id, role)| {
                let named = role.inherits.iter();
                let found = named.filter_map(|name| Some((roles.resolve(name, diagnostics)?, name.place)));
                (*id, found.collect())
            })
            .collect();
        let mut told = RoleSet::default();
        for (id, _) in &declared {
            let closure = close(*id, &parents, &roles.roles, &mut told, diagnostics);
            roles.roles[usize::from(id.0)].closure = closure;
        }
        roles
    }

    fn add(&mut self, name: Box<str>, place: Option<Place>) -> RoleId {
        let id = RoleId(self.roles.len() as u16);
        self.by_name.insert(name.clone(), id);
        self.roles.push(Role { name, place, closure: [id].into_iter().collect(), used: false });
        id
    }

    /// The role that a rule names.
    pub fn resolve(&mut self, name: &At<Name>, diagnostics: &mut Diagnostics) -> Option<RoleId> {
        let id = self.by_name.get(name.value.as_str()).copied();
        match id {
            Some(id) => self.roles[usize::from(id.0)].used = true,
            None => unknown_name(
                "role",
                name.as_str(),
                name.place,
                self.by_name.keys().map(|name| &**name),
                diagnostics,
            ),
        }
        id
    }

    /// The role of this name, if declared.
    pub fn get(&self, name: &str) -> Option<RoleId> {
        self.by_name.get(name).copied()
    }

    /// The name of a role.
    pub fn name(&self, id: RoleId) -> &str {
        self.roles.get(usize::from(id.0)).map_or("?", |role| &role.name)
    }

    /// A role and all that it inherits.
    pub fn closure(&self, id: RoleId) -> &RoleSet {
        static NONE: std::sync::LazyLock<RoleSet> = std::sync::LazyLock::new(RoleSet::default);
        self.roles.get(usize::from(id.0)).map_or(&NONE, |role| &role.closure)
    }

    /// Where a role is declared.
    pub fn place(&self, id: RoleId) -> Option<Place> {
        self.roles.get(usize::from(id.0)).and_then(|role| role.place)
    }

    /// All declared roles, reserved ones included.
    pub fn iter(&self) -> impl Iterator<Item = (RoleId, &str)> {
        self.roles.iter().zip(0u16..).map(|(role, id)| (RoleId(id), &*role.name))
    }

    /// What the holder of a credential is in this policy: the declared roles with all they inherit.
    /// Undeclared and reserved names count for nothing and are recorded.
    pub fn who(&self, holder: std::sync::Arc<Holder>) -> Who {
        let mut roles = RoleSet::anyone();
        roles.insert(RoleId::AUTHENTICATED);
        let mut undeclared = Vec::new();
        for name in &holder.roles {
            match self.by_name.get(name).filter(|id| id.0 > RoleId::AUTHENTICATED.0) {
                Some(id) => roles.union_with(&self.roles[usize::from(id.0)].closure),
                None => undeclared.push(name.clone()),
            }
        }
        Who { holder, roles, undeclared }
    }

    /// Reports roles that no rule and no source refers to.
    pub fn report_unused(&self, diagnostics: &mut Diagnostics) {
        if !diagnostics.read_everything() {
            return;
        }
        for role in self.roles.iter().filter(|role| !role.used) {
            if let Some(place) = role.place {
                diagnostics
                    .push(Code::UnusedName, place, format!("no rule refers to the role `{}`", role.name))
                    .about(format!("role/{}", role.name));
            }
        }
    }
}

/// A role and all it inherits. Not recursive: a chain of roles may be as long as the table. `told`:
/// the roles of circles that were reported; none of them is shown as the beginning of another.
fn close(
    id: RoleId,
    parents: &HashMap<RoleId, Vec<(RoleId, Place)>>,
    roles: &[Role],
    told: &mut RoleSet,
    diagnostics: &mut Diagnostics,
) -> RoleSet {
    let mut closure: RoleSet = [id].into_iter().collect();
    // The roles found so far, each with the place of the one that led to it.
    let mut found = vec![(id, 0)];
    let mut at = 0;
    while let Some(&(role, _)) = found.get(at) {
        for &(parent, place) in parents.get(&role).into_iter().flatten() {
            if parent == id && told.contains(id) {
                continue;
            }
            if parent == id {
                let mut circle = vec![parent];
                let mut step = at;
                while step != 0 {
                    circle.push(found[step].0);
                    step = found[step].1;
                }
                circle.push(id);
                circle.iter().for_each(|role| told.insert(*role));
                let names: Vec<&str> =
                    circle.iter().rev().map(|id| &*roles[usize::from(id.0)].name).collect();
                let message = format!("roles inherit in a circle: {}", names.join(" → "));
                diagnostics.push(Code::Cycle, place, message);
            } else if !closure.contains(parent) {
                closure.insert(parent);
                found.push((parent, at));
            }
        }
        at += 1;
    }
    closure
}

/// Role numbers are 16 bits wide; far fewer are ever wanted.
const MAX_ROLES: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn role(inherits: &[&str]) -> RawRole {
        let at = |name: &&str| At {
            value: Name::new(name).unwrap_or_else(|| unreachable!()),
            place: Place::default(),
        };
        RawRole { place: Place::default(), inherits: inherits.iter().map(at).collect() }
    }

    fn compile(roles: &[(&str, &[&str])]) -> (Roles, Vec<Code>) {
        let raw: Vec<_> = roles
            .iter()
            .map(|(name, inherits)| {
                (At { value: (*name).to_owned(), place: Place::default() }, role(inherits))
            })
            .collect();
        let mut diagnostics = Diagnostics::default();
        let roles = Roles::compile(&raw, &mut diagnostics);
        (roles, diagnostics.iter().map(|diagnostic| diagnostic.code).collect())
    }

    #[test]
    fn a_holder_has_its_roles_and_all_they_inherit() {
        let (roles, problems) = compile(&[("a", &["b"]), ("b", &["c"]), ("c", &[]), ("d", &[])]);
        assert_eq!(problems, []);
        let holder = Holder { roles: vec!["a".into(), "anyone".into(), "zz".into()], ..Holder::default() };
        let who = roles.who(Arc::new(holder));
        let names: Vec<&str> = who.roles.iter().map(|id| roles.name(id)).collect();
        assert_eq!(names, ["anyone", "authenticated", "a", "b", "c"]);
        assert_eq!(who.undeclared, ["anyone".into(), "zz".into()]);
    }

    #[test]
    fn a_circle_is_shown_once() {
        let raw: Vec<_> = [("a", "b"), ("b", "c"), ("c", "b")]
            .map(|(name, parent)| (At { value: name.to_owned(), place: Place::default() }, role(&[parent])))
            .into();
        let mut diagnostics = Diagnostics::default();
        Roles::compile(&raw, &mut diagnostics);
        let messages: Vec<&str> = diagnostics.iter().map(|problem| &*problem.message).collect();
        assert_eq!(messages, ["roles inherit in a circle: b → c → b"]);
    }

    #[test]
    fn a_long_chain_of_roles_is_followed() {
        let names: Vec<String> = (0..2000).map(|number| format!("r{number}")).collect();
        let chain: Vec<(&str, Vec<&str>)> = names
            .iter()
            .enumerate()
            .map(|(at, name)| (name.as_str(), names.get(at + 1).map(String::as_str).into_iter().collect()))
            .collect();
        let raw: Vec<(&str, &[&str])> = chain.iter().map(|(name, parents)| (*name, &parents[..])).collect();
        let (roles, problems) = compile(&raw);
        assert_eq!(problems, []);
        let holder = Holder { roles: vec!["r0".into()], ..Holder::default() };
        assert_eq!(roles.who(Arc::new(holder)).roles.iter().count(), 2002);
    }

    #[test]
    fn circles_unknown_and_reserved_names_are_reported() {
        assert_eq!(compile(&[("a", &["b"]), ("b", &["a"])]).1, [Code::Cycle]);
        assert_eq!(compile(&[("a", &["a"])]).1, [Code::Cycle]);
        assert_eq!(compile(&[("a", &["zz"])]).1, [Code::UnknownName]);
        assert_eq!(compile(&[("anyone", &[])]).1, [Code::ReservedId]);
    }
}
