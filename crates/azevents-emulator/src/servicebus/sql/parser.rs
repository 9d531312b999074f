//! From tokens to expressions, by recursive descent.

use super::{
    Expression, Property, Statement, Value, Written,
    evaluate::escape_character,
    lexer::{Token, tokens},
    written::Parameters,
};

/// How deep expressions may be nested: parentheses cost stack, when they are read and with each message.
const MAX_DEPTH: usize = 32;

/// The service's limit for one condition or action, in characters.
const MAX_LENGTH: usize = 1024;

/// The service's limit for one action.
const MAX_STATEMENTS: usize = 32;

pub(super) struct Parser<'a> {
    tokens: Vec<Token>,
    parameters: &'a Parameters,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    pub(super) fn new(written: &'a Written) -> Parsed<Self> {
        let text = written.text();
        if text.chars().count() > MAX_LENGTH {
            return Err(format!("it has more than {MAX_LENGTH} characters"));
        }
        Ok(Self {
            tokens: tokens(text)?,
            parameters: written.parameters(),
            at: 0,
            depth: 0,
        })
    }

    pub(super) fn condition(mut self) -> Parsed<Expression> {
        let condition = self.or()?;
        self.end()?;
        Ok(condition)
    }

    pub(super) fn action(mut self) -> Parsed<Vec<Statement>> {
        let mut statements = Vec::new();
        while self.at < self.tokens.len() {
            if self.sign(";") {
                continue;
            }
            if self.keyword("SET") {
                let property = self.property()?.settable()?;
                self.expect("=")?;
                statements.push(Statement::Set(property, self.or()?));
            } else if self.keyword("REMOVE") {
                statements.push(Statement::Remove(self.property()?.removable()?));
            } else {
                return Err(format!("SET or REMOVE expected before {}", self.here()));
            }
            if self.at < self.tokens.len() {
                self.expect(";")?;
            }
        }
        if statements.len() > MAX_STATEMENTS {
            return Err(format!("it has more than {MAX_STATEMENTS} statements"));
        }
        Ok(statements)
    }

    fn or(&mut self) -> Parsed<Expression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("it is nested too deep".to_owned());
        }
        let mut any = vec![self.and()?];
        while self.keyword("OR") {
            any.push(self.and()?);
        }
        self.depth -= 1;
        Ok(one_or(any, Expression::Any))
    }

    fn and(&mut self) -> Parsed<Expression> {
        let mut all = vec![self.not()?];
        while self.keyword("AND") {
            all.push(self.not()?);
        }
        Ok(one_or(all, Expression::All))
    }

    fn not(&mut self) -> Parsed<Expression> {
        let mut negations = 0;
        while self.keyword("NOT") {
            negations += 1;
        }
        let of = self.comparison()?;
        Ok((0..negations % 2).fold(of, |of, _| negate(of)))
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let left = self.sum()?;
        for operator in ["=", "<>", "!=", "<=", ">=", "<", ">"] {
            if self.sign(operator) {
                let right = self.sum()?;
                return Ok(Expression::Comparison(operator, Box::new(left), Box::new(right)));
            }
        }
        if self.keyword("IS") {
            let negated = self.keyword("NOT");
            if !self.keyword("NULL") {
                return Err(format!("NULL expected before {}", self.here()));
            }
            return Ok(negate_if(negated, Expression::IsNull(Box::new(left))));
        }
        let negated = self.keyword("NOT");
        if self.keyword("IN") {
            self.expect("(")?;
            let mut list = vec![self.sum()?];
            while self.sign(",") {
                list.push(self.sum()?);
            }
            self.expect(")")?;
            return Ok(negate_if(negated, Expression::In(Box::new(left), list)));
        }
        if self.keyword("LIKE") {
            let pattern = self.sum()?;
            let escape = if self.keyword("ESCAPE") {
                Some(Box::new(self.escape()?))
            } else {
                None
            };
            let like = Expression::Like(Box::new(left), Box::new(pattern), escape);
            return Ok(negate_if(negated, like));
        }
        if negated {
            return Err(format!("IN or LIKE expected before {}", self.here()));
        }
        Ok(left)
    }

    fn escape(&mut self) -> Parsed<Expression> {
        let escape = self.sum()?;
        // What is known now is refused now.
        if let Expression::Constant(value) = &escape {
            escape_character(value)?;
        }
        Ok(escape)
    }

    fn sum(&mut self) -> Parsed<Expression> {
        let first = self.product()?;
        let mut rest = Vec::new();
        while let Some(operator) = self.any_sign(["+", "-"]) {
            rest.push((operator, self.product()?));
        }
        Ok(calculation(first, rest))
    }

    fn product(&mut self) -> Parsed<Expression> {
        let first = self.unary()?;
        let mut rest = Vec::new();
        while let Some(operator) = self.any_sign(["*", "/", "%"]) {
            rest.push((operator, self.unary()?));
        }
        Ok(calculation(first, rest))
    }

    fn unary(&mut self) -> Parsed<Expression> {
        let mut negative = false;
        while let Some(sign) = self.any_sign(["+", "-"]) {
            negative ^= sign == '-';
        }
        let of = self.primary()?;
        Ok(if negative {
            Expression::Negative(Box::new(of))
        } else {
            of
        })
    }

    fn primary(&mut self) -> Parsed<Expression> {
        if self.sign("(") {
            let inner = self.or()?;
            self.expect(")")?;
            return Ok(inner);
        }
        if self.keyword("EXISTS") {
            self.expect("(")?;
            let property = self.property()?;
            self.expect(")")?;
            return Ok(Expression::Exists(property));
        }
        for (word, value) in [
            ("TRUE", Value::Boolean(true)),
            ("FALSE", Value::Boolean(false)),
            ("NULL", Value::Null),
        ] {
            if self.keyword(word) {
                return Ok(Expression::Constant(value));
            }
        }
        match self.tokens.get(self.at).cloned() {
            Some(Token::Literal(value)) => {
                self.at += 1;
                Ok(Expression::Constant(value))
            }
            Some(Token::Parameter(name)) => {
                self.at += 1;
                self.parameter(&name).map(Expression::Constant)
            }
            Some(Token::Word { text, delimited: false }) if self.tokens.get(self.at + 1) == Some(&Token::Sign("(")) => {
                self.at += 2;
                self.function(&text)
            }
            Some(Token::Word { .. }) => self.property().map(Expression::Property),
            _ => Err(format!("a value expected before {}", self.here())),
        }
    }

    fn function(&mut self, name: &str) -> Parsed<Expression> {
        let function = match name.to_lowercase().as_str() {
            "newid" => Expression::NewId,
            // Counts as nesting, as parentheses do.
            "property" | "p" => match self.or()? {
                Expression::Constant(Value::Text(property)) => Expression::Property(Property::new(None, &property)?),
                Expression::Constant(_) => return Err(format!("{name}() takes the name of a property, a text")),
                worked_out => Expression::Named(Box::new(worked_out)),
            },
            _ => return Err(format!("there is no function {name}")),
        };
        self.expect(")")?;
        Ok(function)
    }

    fn parameter(&self, name: &str) -> Parsed<Value> {
        let value = self.parameters.get(&format!("@{name}")).cloned();
        value.ok_or_else(|| format!("the rule gives no value to the parameter @{name}"))
    }

    fn property(&mut self) -> Parsed<Property> {
        let first = self.word()?;
        if self.sign(".") {
            let name = self.word()?;
            Property::new(Some(&first), &name)
        } else {
            Property::new(None, &first)
        }
    }

    fn word(&mut self) -> Parsed<String> {
        if let Some(Token::Word { text, .. }) = self.tokens.get(self.at) {
            let text = text.clone();
            self.at += 1;
            return Ok(text);
        }
        Err(format!("a name expected before {}", self.here()))
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(
            self.tokens.get(self.at),
            Some(Token::Word { text, delimited: false }) if text.eq_ignore_ascii_case(keyword)
        );
        self.at += usize::from(found);
        found
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(other)) if *other == sign);
        self.at += usize::from(found);
        found
    }

    fn any_sign<const N: usize>(&mut self, signs: [&str; N]) -> Option<char> {
        signs
            .into_iter()
            .find(|sign| self.sign(sign))
            .and_then(|sign| sign.chars().next())
    }

    fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.sign(sign) {
            Ok(())
        } else {
            Err(format!("'{sign}' expected before {}", self.here()))
        }
    }

    fn end(&self) -> Parsed<()> {
        if self.at < self.tokens.len() {
            return Err(format!("nothing more expected at {}", self.here()));
        }
        Ok(())
    }

    /// Where it is, in words.
    fn here(&self) -> String {
        match self.tokens.get(self.at) {
            None => "the end".to_owned(),
            Some(Token::Word { text, .. }) => format!("'{text}'"),
            Some(Token::Sign(sign)) => format!("'{sign}'"),
            Some(Token::Parameter(name)) => format!("'@{name}'"),
            Some(Token::Literal(value)) => format!("{value:?}"),
        }
    }
}

/// The one there is, or a chain.
fn one_or(mut chain: Vec<Expression>, make: impl FnOnce(Vec<Expression>) -> Expression) -> Expression {
    match chain.pop() {
        Some(only) if chain.is_empty() => only,
        last => {
            chain.extend(last);
            make(chain)
        }
    }
}

fn calculation(first: Expression, rest: Vec<(char, Expression)>) -> Expression {
    if rest.is_empty() {
        first
    } else {
        Expression::Arithmetic(Box::new(first), rest)
    }
}

fn negate(of: Expression) -> Expression {
    Expression::Not(Box::new(of))
}

fn negate_if(negated: bool, of: Expression) -> Expression {
    if negated { negate(of) } else { of }
}
