//! Folding tokens: what says nothing about an attack is taken away until five are left.

use super::Reading;
use super::token::{Kind, Token};
use super::tokens::Tokens;

/// So many tokens make a fingerprint.
const MOST: usize = 5;

/// A text's tokens, folded.
pub(super) struct Folded {
    kept: [Token; MOST + 3],
    count: usize,
    letters: [u8; MOST + 3],
    /// How many tokens were read.
    pub(super) read: usize,
    /// Whether the other dialect may read the text differently.
    pub(super) dialects_differ: bool,
}

impl Folded {
    pub(super) fn tokens(&self) -> &[Token] {
        self.kept.get(..self.count).unwrap_or_default()
    }

    /// A letter for each token.
    pub(super) fn fingerprint(&self) -> &[u8] {
        self.letters.get(..self.count).unwrap_or_default()
    }
}

/// Reads a text and folds its tokens.
pub(super) fn fold(text: &[u8], reading: Reading) -> Folded {
    Folder {
        tokens: Tokens::new(text, reading),
        kept: [Token::default(); MOST + 3],
        count: 0,
        left: 0,
        more: true,
        read: 0,
        comment: None,
    }
    .run()
}

struct Folder<'a> {
    tokens: Tokens<'a>,
    /// Tokens: those before `left` are done.
    kept: [Token; MOST + 3],
    count: usize,
    left: usize,
    more: bool,
    read: usize,
    /// The comment that came last, if nothing came behind it.
    comment: Option<Token>,
}

/// What a rule did.
enum Step {
    /// Something changed: begin again.
    Again,
    /// Nothing: go on.
    On,
}

impl Folder<'_> {
    fn run(mut self) -> Folded {
        // Comments, opening parentheses, types and signs at the beginning say nothing.
        loop {
            let Some(token) = self.next() else { return self.done(0) };
            let skipped = matches!(token.kind, Kind::Comment | Kind::LeftParenthesis | Kind::SqlType);
            if !skipped && !is_unary(&token) {
                self.kept[0] = token;
                self.count = 1;
                break;
            }
        }
        loop {
            if self.count >= MOST {
                self.shorten();
            }
            if !self.more || self.left >= MOST {
                break;
            }
            self.fill(2);
            if self.count - self.left < 2 {
                self.left = self.count;
                continue;
            }
            if self.kept[self.left].kind == Kind::LeftBrace
                && self.kept[self.left + 1].kind == Kind::Bareword
                && self.kept[self.left + 1].text().is_empty()
            {
                // `{ ``.``.id }`: MySQL understands it, and nobody writes it.
                self.kept[self.left + 1].kind = Kind::Evil;
                let count = self.left + 2;
                return self.done(count);
            }
            if matches!(self.pair(), Step::Again) {
                continue;
            }
            self.fill(3);
            if self.count - self.left < 3 {
                self.left = self.count;
                continue;
            }
            if matches!(self.triple(), Step::Again) {
                continue;
            }
            self.left += 1;
        }
        let count = self.count.min(MOST);
        if count > 2 {
            // An unfinished empty name in back-ticks ends a query of PHP like a comment.
            let last = &mut self.kept[count - 1];
            if last.kind == Kind::Bareword && last.open == b'`' && last.close == 0 && last.text().is_empty() {
                last.kind = Kind::Comment;
            }
        }
        self.done(count)
    }

    fn done(mut self, count: usize) -> Folded {
        let mut count = count;
        if let Some(comment) = self.comment.filter(|_| count < MOST && count > 0) {
            self.kept[count] = comment;
            count += 1;
        }
        let mut letters: [u8; MOST + 3] = std::array::from_fn(|at| self.kept[at].kind.letter());
        if letters[..count].contains(&Kind::Evil.letter()) {
            self.kept[0].kind = Kind::Evil;
            letters[0] = Kind::Evil.letter();
            count = 1;
        }
        Folded {
            kept: self.kept,
            count,
            letters,
            read: self.read,
            dialects_differ: self.tokens.dialects_differ,
        }
    }

    fn next(&mut self) -> Option<Token> {
        let next = self.tokens.read();
        match next {
            Some(_) => self.read += 1,
            None => self.more = false,
        }
        next
    }

    /// Reads until so many tokens are not done. Comments are left out, but for the last one.
    fn fill(&mut self, wanted: usize) {
        while self.more && self.count <= MOST && self.count - self.left < wanted {
            let Some(token) = self.next() else { break };
            if token.kind == Kind::Comment {
                self.comment = Some(token);
            } else {
                self.comment = None;
                self.kept[self.count] = token;
                self.count += 1;
            }
        }
    }

    /// Five tokens that are an expression by themselves are one.
    fn shorten(&mut self) {
        use Kind::{Bareword, Comma, LeftParenthesis as Open, Number, Operator, RightParenthesis as Close};
        let kinds: [Kind; MOST] = std::array::from_fn(|at| self.kept[at].kind);
        let foldable = matches!(
            kinds,
            [Number, Operator | Comma, Open, Number, Close]
                | [Bareword, Operator, Open, Bareword | Number, Close]
                | [Number, Close, Comma, Open, Number]
                | [Bareword, Close, Operator, Open, Bareword]
        );
        if foldable {
            if self.count > MOST {
                self.kept[1] = self.kept[MOST];
                self.count = 2;
            } else {
                self.count = 1;
            }
            self.left = 0;
        }
    }

    /// Takes away tokens behind the first so many that are not done, and begins at the first token.
    fn drop(&mut self, count: usize) -> Step {
        self.count -= count;
        self.left = 0;
        Step::Again
    }

    /// Puts the second token behind the left one at its place.
    fn skip_second(&mut self, count: usize) -> Step {
        self.kept[self.left + 1] = self.kept[self.left + 2];
        self.drop(count)
    }

    /// The rules about two tokens.
    fn pair(&mut self) -> Step {
        use Kind::*;
        let left = self.left;
        let [first, second] = [self.kept[left], self.kept[left + 1]];
        match (first.kind, second.kind) {
            (String, String) | (Semicolon, Semicolon) => {
                self.count -= 1;
                return Step::Again;
            }
            (Operator | LogicOperator, kind) if kind == SqlType || is_unary(&second) => return self.drop(1),
            (LeftParenthesis, _) if is_unary(&second) => {
                self.count -= 1;
                self.left = left.saturating_sub(1);
                return Step::Again;
            }
            _ => {}
        }
        if may_merge(first.kind)
            && (may_merge(second.kind) || second.kind == LogicOperator)
            && self.kept[left].merge(&second)
        {
            self.count -= 1;
            self.left = left.saturating_sub(1);
            return Step::Again;
        }
        match (first.kind, second.kind) {
            (Semicolon, Function)
                if second.text().get(..2).is_some_and(|text| text.eq_ignore_ascii_case(b"if")) =>
            {
                self.kept[left + 1].kind = Tsql;
                return Step::Again;
            }
            (Bareword | Variable, LeftParenthesis)
                if NAMES_OF_FUNCTIONS.iter().any(|name| first.is(name)) =>
            {
                self.kept[left].kind = Function;
                return Step::Again;
            }
            (Keyword, next) if first.is("IN") || first.is("NOT IN") => {
                self.kept[left].kind = if next == LeftParenthesis { Operator } else { Bareword };
                return Step::Again;
            }
            (Operator, next) if first.is("LIKE") || first.is("NOT LIKE") => {
                self.kept[left].kind = if next == LeftParenthesis { Function } else { Operator };
            }
            (SqlType, Bareword | Number | SqlType | LeftParenthesis | Function | Variable | String) => {
                self.kept[left] = second;
                return self.drop(1);
            }
            // Collations are too many for the table.
            (Collate, Bareword) if second.text().contains(&b'_') => {
                self.kept[left + 1].kind = SqlType;
                self.left = 0;
            }
            (Backslash, _) => {
                if is_arithmetic(&second) {
                    self.kept[left].kind = Number;
                    return self.drop(0);
                }
                self.kept[left] = second;
                return self.drop(1);
            }
            (LeftParenthesis, LeftParenthesis) | (RightParenthesis, RightParenthesis) => return self.drop(1),
            (LeftBrace, Bareword) => return self.drop(2),
            (_, RightBrace) => return self.drop(1),
            _ => {}
        }
        Step::On
    }

    /// The rules about three tokens.
    fn triple(&mut self) -> Step {
        use Kind::*;
        let left = self.left;
        let [first, second, third] = [self.kept[left], self.kept[left + 1], self.kept[left + 2]];
        match (first.kind, second.kind, third.kind) {
            (Number, Operator, Number) => self.drop(2),
            (Operator, middle, Operator) if middle != LeftParenthesis => self.drop(2),
            (LogicOperator, _, LogicOperator) => self.drop(2),
            (Variable, Operator, Variable | Number | Bareword) => self.drop(2),
            (Bareword | Number, Operator, Number | Bareword) => self.drop(2),
            (Bareword | Number | Variable | String, Operator, SqlType) if second.text() == b"::" => {
                self.drop(2)
            }
            (Bareword | Number | String | Variable, Comma, Number | Bareword | String | Variable) => {
                self.drop(2)
            }
            (Expression | Group | Comma, _, LeftParenthesis) if is_unary(&second) => self.skip_second(1),
            (Keyword | Expression | Group, _, Number | Bareword | Variable | String | Function)
                if is_unary(&second) =>
            {
                self.skip_second(1)
            }
            (Comma, _, Number | Bareword | Variable | String) if is_unary(&second) => {
                // `1, -1` is `1`: one more goes, so that what stands before the comma is seen with it.
                self.skip_second(if self.count >= 3 { 3 } else { 0 })
            }
            (Comma, _, Function) if is_unary(&second) => self.skip_second(1),
            (Bareword, Dot, Bareword) => self.drop(2),
            (Expression, Dot, Bareword) => self.skip_second(1),
            (Function, LeftParenthesis, last) => {
                if last != RightParenthesis && first.is("USER") {
                    self.kept[left].kind = Bareword;
                }
                Step::On
            }
            _ => Step::On,
        }
    }
}

/// Words that are functions only before a parenthesis.
const NAMES_OF_FUNCTIONS: [&str; 11] = [
    "USER_ID",
    "USER_NAME",
    "DATABASE",
    "PASSWORD",
    "USER",
    "CURRENT_USER",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "LOCALTIME",
    "LOCALTIMESTAMP",
];

/// Whether words of this kind may be part of a longer one.
fn may_merge(kind: Kind) -> bool {
    use Kind::*;
    matches!(kind, Keyword | Bareword | Operator | Union | Function | Expression | Tsql | SqlType)
}

fn is_unary(token: &Token) -> bool {
    token.kind == Kind::Operator
        && (matches!(token.text(), b"+" | b"-" | b"!" | b"~" | b"!!") || token.is("NOT"))
}

fn is_arithmetic(token: &Token) -> bool {
    token.kind == Kind::Operator && matches!(token.text(), [b'*' | b'/' | b'-' | b'+' | b'%'])
}
