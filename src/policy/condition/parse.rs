//! The grammar of conditions.
//!
//! ```text
//! any     = all ("or" all)*
//! all     = one ("and" one)*
//! one     = "not" one | "(" any ")" | "has" operand | operand relation operand
//! operand = fact | text | number | "true" | "false" | "[" operand ("," operand)* "]" | name
//! ```
//!
//! Nesting is limited, so that neither reading nor evaluating can run out of stack.

use std::ops::Range;

use super::Problem;
use super::lexer::{Token, TokenKind, tokens};
use crate::policy::diagnostic::suggest;

/// A condition as written: names and types are not checked yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    All(Vec<Tree>),
    Any(Vec<Tree>),
    Not(Box<Tree>),
    Has(Operand),
    Relation(Operand, Relation, Operand),
}

/// One side of a relation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) span: Range<usize>,
    pub(super) kind: OperandKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum OperandKind {
    /// A fact (`claims.sub`) or the name of a network.
    Word(String),
    Text(String),
    Number(String),
    Bool(bool),
    List(Vec<Operand>),
}

/// What stands between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    StartsWith,
    EndsWith,
}

impl Relation {
    const ALL: [Relation; 9] = [
        Relation::Equal,
        Relation::NotEqual,
        Relation::Less,
        Relation::LessOrEqual,
        Relation::Greater,
        Relation::GreaterOrEqual,
        Relation::In,
        Relation::StartsWith,
        Relation::EndsWith,
    ];

    /// How it is written.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::Less => "<",
            Relation::LessOrEqual => "<=",
            Relation::Greater => ">",
            Relation::GreaterOrEqual => ">=",
            Relation::In => "in",
            Relation::StartsWith => "startsWith",
            Relation::EndsWith => "endsWith",
        }
    }
}

/// Parentheses and `not`s inside each other.
pub(super) const MAX_DEPTH: usize = 16;

/// Bytes of a condition.
pub(super) const MAX_LENGTH: usize = 4096;

/// Reads a condition.
pub(super) fn parse(text: &str) -> Result<Tree, Problem> {
    if text.len() > MAX_LENGTH {
        return Err(Problem::new(0..text.len(), format!("a condition has at most {MAX_LENGTH} bytes")));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, end: text.len() };
    let tree = parser.any(0)?;
    match parser.peek() {
        None => Ok(tree),
        Some(_) => Err(parser.unexpected("`and`, `or` or the end of the condition")),
    }
}

struct Parser<'t> {
    tokens: &'t [Token<'t>],
    end: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<&'t TokenKind<'t>> {
        self.tokens.first().map(|token| &token.kind)
    }

    fn span(&self) -> Range<usize> {
        self.tokens.first().map_or(self.end..self.end, |token| token.span.clone())
    }

    fn advance(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    /// Takes the next token if it is this word or sign.
    fn take(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(TokenKind::Sign(sign)) if *sign == wanted)
            || matches!(self.peek(), Some(TokenKind::Word(word)) if *word == wanted);
        if found {
            self.advance();
        }
        found
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        let found = match self.peek() {
            None => "the condition ends".to_owned(),
            Some(TokenKind::Sign(sign)) => format!("`{sign}` stands"),
            Some(TokenKind::Word(word) | TokenKind::Number(word)) => format!("`{word}` stands"),
            Some(TokenKind::Text(_)) => "a text stands".to_owned(),
        };
        let problem = Problem::new(self.span(), format!("{found} where {wanted} is expected"));
        let words = Relation::ALL.iter().map(|relation| relation.word()).chain(["and", "or", "not", "has"]);
        match self.peek() {
            Some(TokenKind::Word(word)) => match suggest(&word.to_ascii_lowercase(), words.clone()) {
                Some(near) if near != *word => problem.help(format!("did you mean `{near}`?")),
                _ => problem,
            },
            _ => problem,
        }
    }

    fn any(&mut self, depth: usize) -> Result<Tree, Problem> {
        let mut parts = vec![self.all(depth)?];
        while self.take("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Tree::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Tree, Problem> {
        let mut parts = vec![self.one(depth)?];
        while self.take("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Tree::All(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Tree, Problem> {
        if depth >= MAX_DEPTH {
            return Err(Problem::new(self.span(), format!("a condition is nested at most {MAX_DEPTH} deep")));
        }
        if self.take("not") {
            return Ok(Tree::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.take("(") {
            let inner = self.any(depth + 1)?;
            return if self.take(")") { Ok(inner) } else { Err(self.unexpected("`)`")) };
        }
        if self.take("has") {
            return Ok(Tree::Has(self.operand()?));
        }
        let left = self.operand()?;
        let Some(relation) = Relation::ALL.into_iter().find(|relation| self.take(relation.word())) else {
            let problem = self.unexpected("a comparison");
            return Err(match (&problem.help, &left.kind) {
                (None, OperandKind::Word(word)) => {
                    problem.help(format!("write `{word} == …`, or `has {word}` to ask whether it is there"))
                }
                _ => problem,
            });
        };
        Ok(Tree::Relation(left, relation, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, Problem> {
        let span = self.span();
        let kind = match self.peek() {
            Some(TokenKind::Text(text)) => OperandKind::Text(text.clone()),
            Some(TokenKind::Number(number)) => OperandKind::Number((*number).to_owned()),
            Some(TokenKind::Word("true")) => OperandKind::Bool(true),
            Some(TokenKind::Word("false")) => OperandKind::Bool(false),
            Some(TokenKind::Word(word)) if !is_keyword(word) => OperandKind::Word((*word).to_owned()),
            Some(TokenKind::Sign("[")) => return self.list(span.start),
            _ => return Err(self.unexpected("a value")),
        };
        self.advance();
        Ok(Operand { span, kind })
    }

    /// A list of single values; lists in lists have no use here.
    fn list(&mut self, start: usize) -> Result<Operand, Problem> {
        self.advance();
        let mut items = Vec::new();
        loop {
            let span = self.span();
            if self.take("]") {
                return Ok(Operand { span: start..span.end, kind: OperandKind::List(items) });
            }
            if matches!(self.peek(), Some(TokenKind::Sign("["))) {
                return Err(self.unexpected("a single value"));
            }
            items.push(self.operand()?);
            if !self.take(",") && !matches!(self.peek(), Some(TokenKind::Sign("]"))) {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }
}

fn is_keyword(word: &str) -> bool {
    matches!(word, "and" | "or" | "not" | "has")
        || Relation::ALL.iter().any(|relation| relation.word() == word)
}
