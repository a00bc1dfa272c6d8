//! Names and types of a condition, checked when the policy is loaded.
//!
//! Claims have whatever type the token gives them, so they are checked against the other side when
//! a request is judged; everything else has one type, and a comparison that could never be made is
//! refused here.

use http::HeaderName;

use super::Problem;
use super::expression::{Expression, Operand, Order, Side};
use super::fact::{Fact, Value};
use super::number::Number;
use super::parse::{self, OperandKind, Relation, Tree};
use crate::facts::Authority;
use crate::policy::compile::Compile;
use crate::policy::decode::Name;
use crate::policy::diagnostic::{At, Diagnostics, Place, suggest};
use crate::policy::network::{NetItem, parse_net};
use crate::policy::scope::PathPattern;

/// What an operand is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Bool,
    Time,
    /// A claim: whatever the token gives.
    Claim,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Type::Text => "a text",
            Type::Number => "a number",
            Type::Bool => "true or false",
            Type::Time => "a time",
            Type::Claim => "a claim",
        }
    }
}

/// An operand whose name is resolved.
struct Typed {
    operand: Operand,
    ty: Type,
}

impl Typed {
    fn constant(&self) -> bool {
        matches!(self.operand, Operand::Constant(_))
    }

    fn is(&self, fact: &Fact) -> bool {
        matches!(&self.operand, Operand::Fact(found) if found == fact)
    }
}

/// Checks a condition and collects every problem in it.
pub(super) struct Checker<'c, 'cx> {
    pub(super) cx: &'c mut Compile<'cx>,
    /// The path patterns of the rule.
    pub(super) paths: &'c [PathPattern],
    /// Where a stretch of the condition stands in the file.
    pub(super) place: &'c dyn Fn(&std::ops::Range<usize>) -> Place,
    /// The names of path segments that the condition uses, numbered.
    pub(super) names: Vec<Box<str>>,
    pub(super) problems: Vec<Problem>,
}

impl Checker<'_, '_> {
    fn problem(&mut self, at: &parse::Operand, message: impl Into<String>, help: &str) {
        let problem = Problem::new(at.span.clone(), message.into());
        self.problems.push(if help.is_empty() { problem } else { problem.help(help) });
    }

    /// The condition ready to be evaluated; none if it has problems.
    pub(super) fn check(&mut self, tree: &Tree) -> Option<Expression> {
        match tree {
            Tree::All(parts) => self.all(parts).map(Expression::All),
            Tree::Any(parts) => self.all(parts).map(Expression::Any),
            Tree::Not(inner) => self.check(inner).map(|inner| Expression::Not(Box::new(inner))),
            Tree::Has(operand) => self.has(operand),
            Tree::Relation(left, Relation::In, right) => self.contained(left, right),
            Tree::Relation(left, relation, right) => self.relation(left, *relation, right),
        }
    }

    fn all(&mut self, parts: &[Tree]) -> Option<Box<[Expression]>> {
        let checked: Vec<Option<Expression>> = parts.iter().map(|part| self.check(part)).collect();
        checked.into_iter().collect()
    }

    fn has(&mut self, operand: &parse::Operand) -> Option<Expression> {
        let typed = self.single(operand)?;
        match typed.operand {
            Operand::Fact(fact @ (Fact::Claim(_) | Fact::Header(_) | Fact::Query(_))) => {
                Some(Expression::Has(fact))
            }
            _ => {
                self.problem(
                    operand,
                    "`has` asks for a claim, a header or a query parameter",
                    "everything else is always there",
                );
                None
            }
        }
    }

    /// Text, numbers, times and truth values; `startsWith` and `endsWith`.
    fn relation(
        &mut self,
        left: &parse::Operand,
        relation: Relation,
        right: &parse::Operand,
    ) -> Option<Expression> {
        if [left, right]
            .into_iter()
            .any(|side| matches!(&side.kind, OperandKind::Word(word) if word == CLIENT_IP))
        {
            self.problem(
                left,
                "`client.ip` is compared with `in` only",
                "write `client.ip in office`, or `client.ip in [\"192.0.2.0/24\"]`",
            );
            return None;
        }
        let (first, second) = (self.single(left), self.single(right));
        let (mut first, mut second) = (first?, second?);
        let order = match relation {
            Relation::Equal => Order::Equal,
            Relation::NotEqual => Order::NotEqual,
            Relation::Less => Order::Less,
            Relation::LessOrEqual => Order::LessOrEqual,
            Relation::Greater => Order::Greater,
            Relation::GreaterOrEqual => Order::GreaterOrEqual,
            Relation::In | Relation::StartsWith | Relation::EndsWith => {
                for (typed, side) in [(&first, left), (&second, right)] {
                    if !matches!(typed.ty, Type::Text | Type::Claim) {
                        let message =
                            format!("`{}` compares texts, and this is {}", relation.word(), typed.ty.name());
                        self.problem(side, message, "");
                        return None;
                    }
                }
                if first.constant() && second.constant() {
                    self.constants(left);
                    return None;
                }
                let side = if relation == Relation::StartsWith { Side::Start } else { Side::End };
                return Some(Expression::Affix { text: first.operand, affix: second.operand, side });
            }
        };
        self.as_time(&mut first, &second, left)?;
        self.as_time(&mut second, &first, right)?;
        if first.constant() && second.constant() {
            self.constants(left);
            return None;
        }
        if first.ty != second.ty && first.ty != Type::Claim && second.ty != Type::Claim {
            let message = format!("{} is never equal to {}", first.ty.name(), second.ty.name());
            let message = if order.is_equality() {
                message
            } else {
                format!("{} cannot be compared with {}", first.ty.name(), second.ty.name())
            };
            self.problem(right, message, "");
            return None;
        }
        if !order.is_equality() {
            let comparable = |ty| matches!(ty, Type::Number | Type::Time | Type::Claim);
            if let Some((typed, side)) =
                [(&first, left), (&second, right)].into_iter().find(|(typed, _)| !comparable(typed.ty))
            {
                let message = format!(
                    "`{}` compares numbers and times, and this is {}",
                    relation.word(),
                    typed.ty.name()
                );
                self.problem(side, message, "");
                return None;
            }
        }
        self.spelling(&first, &second, right)?;
        self.spelling(&second, &first, left)?;
        Some(Expression::Compare { left: first.operand, order, right: second.operand })
    }

    fn constants(&mut self, at: &parse::Operand) {
        self.problem(
            at,
            "both sides are constants, so the request does not matter",
            "to quote nothing, write `claims.sub`, `path.id`, `header.x-tenant`",
        );
    }

    /// A text beside a time is a time.
    fn as_time(&mut self, typed: &mut Typed, other: &Typed, at: &parse::Operand) -> Option<()> {
        let Operand::Constant(Value::Text(text)) = &typed.operand else { return Some(()) };
        if other.ty != Type::Time {
            return Some(());
        }
        match text.parse() {
            Ok(time) => {
                *typed = Typed { operand: Operand::Constant(Value::Time(time)), ty: Type::Time };
                Some(())
            }
            Err(_) => {
                let message = format!("`{}` is not a point in time", text.escape_debug());
                self.problem(at, message, "write date, time and offset: \"2026-12-31T00:00:00Z\"");
                None
            }
        }
    }

    /// Hosts and methods have one spelling; a constant in another would never be met.
    fn spelling(&mut self, fact: &Typed, constant: &Typed, at: &parse::Operand) -> Option<()> {
        let Operand::Constant(Value::Text(text)) = &constant.operand else { return Some(()) };
        if fact.is(&Fact::Host) {
            let canonical =
                Authority::parse_str(text).ok().filter(|host| host.port().is_none() && host.host() == text);
            if canonical.is_none() {
                self.problem(
                    at,
                    format!("`host` is never `{}`", text.escape_debug()),
                    "write the host in lower case, without port",
                );
                return None;
            }
        }
        if fact.is(&Fact::Method) {
            let known = http::Method::from_bytes(text.as_bytes()).is_ok()
                && !text.bytes().any(|b| b.is_ascii_lowercase());
            if !known {
                self.problem(
                    at,
                    format!("`method` is never `{}`", text.escape_debug()),
                    "methods stand in upper case: \"GET\"",
                );
                return None;
            }
        }
        Some(())
    }

    /// `in`: a network, a list, or a claim that is an array.
    fn contained(&mut self, left: &parse::Operand, right: &parse::Operand) -> Option<Expression> {
        if matches!(&left.kind, OperandKind::Word(word) if word == CLIENT_IP) {
            return self.within(right);
        }
        let single = self.single(left);
        let OperandKind::List(items) = &right.kind else {
            let (single, list) = (single?, self.single(right)?);
            return match list.operand {
                Operand::Fact(fact @ Fact::Claim(_)) if single.ty != Type::Time => {
                    Some(Expression::Member { item: single.operand, array: fact })
                }
                _ => {
                    self.problem(
                        right,
                        "`in` looks into a list or a claim",
                        "write `method in [\"GET\", \"HEAD\"]`, or `\"x\" in claims.groups`",
                    );
                    None
                }
            };
        };
        let typed: Vec<Option<Typed>> = items.iter().map(|item| self.single(item)).collect();
        let single = single?;
        if items.is_empty() {
            self.problem(right, "nothing is in an empty list", "");
        }
        if single.constant() {
            self.constants(left);
        } else if single.ty == Type::Time {
            self.problem(left, "a time is compared with `<` and `>`", "");
        }
        let mut list: Vec<Value<'static>> = Vec::new();
        for (typed, item) in typed.into_iter().zip(items) {
            let Some(typed) = typed else { continue };
            let Operand::Constant(value) = &typed.operand else {
                self.problem(
                    item,
                    "a list holds constants",
                    "compare one by one: `x == claims.a or x == claims.b`",
                );
                continue;
            };
            let same = list
                .first()
                .is_none_or(|first| std::mem::discriminant(first) == std::mem::discriminant(value));
            if !same || (single.ty != Type::Claim && single.ty != typed.ty) {
                self.problem(item, format!("{} among values of another type", typed.ty.name()), "");
                continue;
            }
            self.spelling(&single, &typed, item);
            list.push(value.clone());
        }
        Some(Expression::OneOf { item: single.operand, list: list.into() })
            .filter(|_| self.problems.is_empty())
    }

    /// The networks behind `client.ip in`.
    fn within(&mut self, right: &parse::Operand) -> Option<Expression> {
        let one;
        let items = match &right.kind {
            OperandKind::List(items) => &items[..],
            _ => {
                one = [right.clone()];
                &one[..]
            }
        };
        let mut nets = Vec::new();
        for item in items {
            let place = (self.place)(&item.span);
            let (OperandKind::Word(text) | OperandKind::Text(text) | OperandKind::Number(text)) = &item.kind
            else {
                self.problem(item, "this is not a network", NETWORK_HELP);
                continue;
            };
            let value = match (parse_net(text), Name::new(text)) {
                (Ok(net), _) => NetItem::Net(net),
                (Err(why), _) if text.contains(['/', ':']) => {
                    self.problem(item, format!("`{}` {why}", text.escape_debug()), "");
                    continue;
                }
                (Err(_), Some(name)) => NetItem::Named(name),
                (Err(_), None) => {
                    self.problem(
                        item,
                        format!("`{}` is not an address, network or name", text.escape_debug()),
                        NETWORK_HELP,
                    );
                    continue;
                }
            };
            nets.push(At { value, place });
        }
        if items.is_empty() {
            self.problem(right, "no address is in an empty list", "");
        }
        // Unknown names are reported where they stand, like those of every other list.
        let networks = self.cx.networks.list(&nets, self.cx.diagnostics);
        Some(Expression::Within(networks))
    }

    /// An operand that is one value.
    fn single(&mut self, operand: &parse::Operand) -> Option<Typed> {
        let constant = |value, ty| Some(Typed { operand: Operand::Constant(value), ty });
        match &operand.kind {
            OperandKind::Text(text) => constant(Value::Text(text.clone().into()), Type::Text),
            OperandKind::Bool(value) => constant(Value::Bool(*value), Type::Bool),
            OperandKind::Number(text) => match Number::parse(text) {
                Some(number) => constant(Value::Number(number), Type::Number),
                None => {
                    self.problem(operand, format!("`{text}` is not a number"), "");
                    None
                }
            },
            OperandKind::List(_) => {
                self.problem(operand, "a list stands only behind `in`", "");
                None
            }
            OperandKind::Word(word) => self.fact(operand, word),
        }
    }

    /// The fact that a word names.
    fn fact(&mut self, at: &parse::Operand, word: &str) -> Option<Typed> {
        let typed = |fact, ty| Some(Typed { operand: Operand::Fact(fact), ty });
        match word.split_once('.') {
            None if word == "now" => return typed(Fact::Now, Type::Time),
            None if word == "method" => return typed(Fact::Method, Type::Text),
            None if word == "host" => return typed(Fact::Host, Type::Text),
            Some(("claims", path)) if path.split('.').all(|name| !name.is_empty()) => {
                return typed(Fact::Claim(path.split('.').map(Into::into).collect()), Type::Claim);
            }
            Some(("header", name)) => match HeaderName::from_bytes(name.as_bytes()) {
                Ok(name) => return typed(Fact::Header(name), Type::Text),
                Err(_) => {
                    self.problem(at, format!("`{name}` is not a header name"), "");
                    return None;
                }
            },
            Some(("query", name)) if !name.is_empty() => return typed(Fact::Query(name.into()), Type::Text),
            Some(("path", name)) => return self.path(at, name),
            _ => {}
        }
        if word == CLIENT_IP {
            self.problem(at, "`client.ip` stands only left of `in`", "write `client.ip in office`");
            return None;
        }
        const KNOWN: [&str; 8] = ["claims", "path", "header", "query", CLIENT_IP, "now", "method", "host"];
        let help = match suggest(word.split('.').next().unwrap_or(word), KNOWN) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "a condition looks at claims.NAME, path.NAME, header.NAME, query.NAME, client.ip, now, method, host; texts stand in quotes".into(),
        };
        self.problem(at, format!("`{word}` is not a fact"), &help);
        None
    }

    /// A segment, by the name that every pattern of the rule must give it.
    fn path(&mut self, at: &parse::Operand, name: &str) -> Option<Typed> {
        if self.paths.is_empty() {
            self.problem(
                at,
                format!("`path.{name}` needs a path with `{{{name}}}` in it, and this rule has none"),
                "",
            );
            return None;
        }
        if let Some(pattern) = self.paths.iter().find(|pattern| pattern.position(name).is_none()) {
            let (message, help) = if pattern.rest() == Some(name) {
                (
                    format!("`{{*{name}}}` stands for any number of segments"),
                    "only a `{name}`, which is one segment, can be compared",
                )
            } else {
                (format!("the path `{pattern}` has no `{{{name}}}`"), "every path of the rule must have it")
            };
            self.problem(at, message, help);
            return None;
        }
        let number = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        Some(Typed { operand: Operand::Path(number), ty: Type::Text })
    }
}

/// Reports the problems of a condition.
pub(super) fn report(
    problems: Vec<Problem>,
    place: &dyn Fn(&std::ops::Range<usize>) -> Place,
    diagnostics: &mut Diagnostics,
) {
    for problem in problems {
        let diagnostic =
            diagnostics.push(crate::policy::code::Code::BadValue, place(&problem.span), problem.message);
        if let Some(help) = problem.help {
            diagnostic.help(help);
        }
    }
}

const CLIENT_IP: &str = "client.ip";

const NETWORK_HELP: &str =
    "write the name of a network, or addresses: `client.ip in [\"192.0.2.0/24\", \"office\"]`";
