//! Which rules look at which text.
//!
//! Whole collections are a set of rules for each kind of text, and names a look-up; only expressions
//! on names, paths of JSON and XML, and what `!` takes away are read one by one, and only for a rule
//! that has found something otherwise.

use std::sync::Arc;

use regex_automata::meta;

use super::bits::Bits;
use super::operators::{OperatorProblem, parse};
use super::targets::{Collection, Part, Selector, Target};
use super::values::{Kind, Value, Values};

/// What the units of a gate look at.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// By kind of text: units that look at all or at some of them.
    broad: Vec<Bits>,
    /// By kind of text: what changes for the member of a name, sorted by [`order`].
    named: Vec<Vec<Named>>,
    /// By kind of text: units of which [`Sight::sees`] must be asked.
    picky: Vec<Bits>,
    /// By unit.
    views: Vec<Arc<View>>,
    /// The kinds of text that nobody looks at, as bits.
    blind: u64,
    size: usize,
}

/// What units do about the member of a name.
#[derive(Clone, Debug)]
struct Named {
    name: Box<[u8]>,
    /// These look at it, and not at others.
    more: Bits,
    /// These look at others, and not at it.
    fewer: Bits,
}

/// Names are looked up by length first: most names of a request are known by it to be nobody's.
fn order(name: &[u8]) -> (usize, &[u8]) {
    (name.len(), name)
}

/// What one unit looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    targets: Vec<CompiledTarget>,
    /// The kinds of text that are looked at, as bits.
    kinds: u64,
}

#[derive(Clone, Debug)]
struct CompiledTarget {
    collection: Collection,
    part: Part,
    selector: CompiledSelector,
    excluded: bool,
}

#[derive(Clone, Debug)]
enum CompiledSelector {
    All,
    Name(Box<[u8]>),
    Pattern(Box<meta::Regex>),
}

impl View {
    /// Compiles the targets of a rule. `query:q` is about values: that the name is `q` is nothing a
    /// rule need look at. `!query:q` takes away both.
    pub(super) fn new<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Result<View, OperatorProblem> {
        let mut view = View::of_members(targets)?;
        for target in view.targets.iter_mut().filter(|target| !target.excluded && target.part == Part::Both) {
            if !matches!(target.selector, CompiledSelector::All) {
                target.part = Part::Values;
            }
        }
        view.kinds = kinds(&view.targets);
        Ok(view)
    }

    /// Compiles the targets of an exclusion, which is about members with their names.
    pub(super) fn of_members<'a>(
        targets: impl IntoIterator<Item = &'a Target>,
    ) -> Result<View, OperatorProblem> {
        let targets = targets.into_iter().map(|target| {
            let selector = match &target.selector {
                Selector::All => CompiledSelector::All,
                Selector::Name(name) => CompiledSelector::Name(name.as_bytes().into()),
                Selector::Pattern(pattern) => CompiledSelector::Pattern(Box::new(selector(pattern)?)),
            };
            let Target { collection, part, excluded, .. } = *target;
            Ok(CompiledTarget { collection, part, selector, excluded })
        });
        let targets = targets.collect::<Result<Vec<_>, OperatorProblem>>()?;
        Ok(View { kinds: kinds(&targets), targets })
    }

    /// Whether a text is among the targets, read one after the other: the reference for the rest.
    #[inline]
    pub(super) fn sees(&self, value: &Value, values: &Values) -> bool {
        self.kinds & 1 << value.kind.index() != 0 && self.selects(value, values)
    }

    /// Whether it may look at any of these texts.
    #[inline]
    pub(super) fn may_see_any(&self, values: &Values) -> bool {
        self.kinds & values.kinds() != 0
    }

    fn selects(&self, value: &Value, values: &Values) -> bool {
        let mut seen = false;
        for target in self.targets.iter().filter(|target| target.meets(value.kind)) {
            if seen && !target.excluded {
                continue;
            }
            let selected = match &target.selector {
                CompiledSelector::All => true,
                CompiledSelector::Name(name) => values.is_named(value, name),
                CompiledSelector::Pattern(pattern) => match values.flat_name(value) {
                    Some(name) => pattern.is_match(name),
                    None => pattern.is_match(&values.name(value)),
                },
            };
            match (selected, target.excluded) {
                (true, true) => return false,
                (true, false) => seen = true,
                (false, _) => {}
            }
        }
        seen
    }

    /// Whether anything of a collection is looked at.
    pub(super) fn touches(&self, collection: Collection) -> bool {
        self.targets.iter().any(|target| !target.excluded && target.collection == collection)
    }

    /// The names looked at in a collection, or `None` where others may be looked at too.
    pub(super) fn names(&self, collection: Collection) -> Option<Vec<&[u8]>> {
        let targets =
            self.targets.iter().filter(|target| target.collection == collection && !target.excluded);
        targets
            .map(|target| match (&target.selector, target.part) {
                (CompiledSelector::Name(name), Part::Values) => Some(&**name),
                _ => None,
            })
            .collect()
    }
}

impl CompiledTarget {
    fn meets(&self, kind: Kind) -> bool {
        kind.collection() == self.collection
            && match self.part {
                Part::Both => true,
                Part::Names => kind.is_name(),
                Part::Values => !kind.is_name(),
            }
    }
}

/// The kinds of text that targets look at, as bits.
fn kinds(targets: &[CompiledTarget]) -> u64 {
    let looked_at = |kind: Kind| targets.iter().any(|target| !target.excluded && target.meets(kind));
    let kinds = Collection::EVERY.into_iter();
    let kinds = kinds.flat_map(|collection| [false, true].map(|is_name| Kind::new(collection, is_name)));
    kinds.filter(|kind| looked_at(*kind)).fold(0, |all, kind| all | 1 << kind.index())
}

/// The fields that nearly every request has.
const COMMON_FIELDS: [&str; 28] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dnt",
    "host",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "priority",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "te",
    "upgrade-insecure-requests",
    "user-agent",
];

/// The expression of a selector.
fn selector(pattern: &str) -> Result<meta::Regex, OperatorProblem> {
    let config =
        meta::Config::new().utf8_empty(false).nfa_size_limit(Some(1 << 20)).hybrid_cache_capacity(64 << 10);
    meta::Builder::new().configure(config).build_from_hir(&parse(pattern)?).map_err(|_| OperatorProblem {
        code: crate::policy::code::Code::Limit,
        message: "the expression of this target is too large once it is compiled".to_owned(),
        help: "",
    })
}

impl Named {
    /// The entry of a name, made where there is none.
    fn of<'a>(all: &'a mut Vec<Named>, name: &[u8], size: usize) -> &'a mut Named {
        let at = all.binary_search_by(|named| order(&named.name).cmp(&order(name))).unwrap_or_else(|at| {
            all.insert(at, Named { name: name.into(), more: Bits::none(size), fewer: Bits::none(size) });
            at
        });
        &mut all[at]
    }
}

impl Sight {
    /// Puts the views of all units together.
    pub(super) fn new(views: Vec<Arc<View>>) -> Sight {
        let size = views.len();
        let empty = || vec![Bits::none(size); Kind::COUNT];
        let mut sight = Sight {
            broad: empty(),
            named: vec![Vec::new(); Kind::COUNT],
            picky: empty(),
            views,
            blind: 0,
            size,
        };
        for (unit, view) in sight.views.iter().enumerate() {
            for collection in Collection::EVERY {
                for kind in [Kind::new(collection, false), Kind::new(collection, true)] {
                    let at = kind.index();
                    let targets: Vec<_> = view.targets.iter().filter(|target| target.meets(kind)).collect();
                    if targets.iter().all(|target| target.excluded) {
                        continue;
                    }
                    // Paths are compared from their end when a rule has found something; they are not hashed.
                    let by_path = matches!(collection, Collection::Json | Collection::Xml);
                    let names: Option<Vec<&Box<[u8]>>> = targets
                        .iter()
                        .map(|target| match &target.selector {
                            CompiledSelector::Name(name) if !target.excluded && !by_path => Some(name),
                            _ => None,
                        })
                        .collect();
                    if let Some(names) = names {
                        for name in names {
                            Named::of(&mut sight.named[at], name, size).more.insert(unit);
                        }
                        continue;
                    }
                    sight.broad[at].insert(unit);
                    let whole = targets
                        .iter()
                        .any(|target| matches!(target.selector, CompiledSelector::All) && !target.excluded);
                    let excluded = targets.iter().filter(|target| target.excluded);
                    let mut picky = !whole;
                    for target in excluded {
                        match &target.selector {
                            CompiledSelector::Name(name) if !by_path => {
                                Named::of(&mut sight.named[at], name, size).fewer.insert(unit);
                            }
                            CompiledSelector::Pattern(pattern) if collection == Collection::Header => {
                                // Decided once for the fields that nearly every request has.
                                let names = COMMON_FIELDS.iter().map(|name| name.as_bytes());
                                for name in names.filter(|name| pattern.is_match(*name)) {
                                    Named::of(&mut sight.named[at], name, size).fewer.insert(unit);
                                }
                                picky = true;
                            }
                            _ => picky = true,
                        }
                    }
                    if picky {
                        sight.picky[at].insert(unit);
                    }
                }
            }
        }
        for at in 0..Kind::COUNT {
            if sight.broad[at].is_empty() && sight.named[at].is_empty() {
                sight.blind |= 1 << at;
            }
        }
        sight
    }

    /// Whether nobody looks at texts of this kind.
    #[inline]
    pub(super) fn blind(&self, kind: Kind) -> bool {
        self.blind & 1 << kind.index() != 0
    }

    /// Sets `units` to those of `left` that may look at a text.
    #[inline]
    pub(super) fn units(&self, value: &Value, values: &Values, left: &Bits, units: &mut Bits) {
        let at = value.kind.index();
        let Some(broad) = self.broad.get(at) else { return units.reset(self.size) };
        units.set_common(broad, left);
        let named = self.named.get(at).map_or(&[][..], Vec::as_slice);
        if named.is_empty() {
            return;
        }
        let Some(name) = values.flat_name(value) else { return };
        if let Ok(found) = named.binary_search_by(|named| order(&named.name).cmp(&order(name))) {
            units.add(&named[found].more);
            units.remove(&named[found].fewer);
            units.keep(left);
        }
    }

    /// Whether a unit that may look at a text does.
    #[inline]
    pub(super) fn sees(&self, unit: usize, value: &Value, values: &Values) -> bool {
        let picky = self.picky.get(value.kind.index()).is_some_and(|picky| picky.contains(unit));
        !picky || self.views.get(unit).is_some_and(|view| view.sees(value, values))
    }

    /// The view of a unit.
    pub(super) fn views(&self) -> &[Arc<View>] {
        &self.views
    }
}
