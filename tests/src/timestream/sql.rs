//! The SQL that the adapter sends, and no more: parsed properly, anything else is refused.

use super::refusal::Refusal;

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Statement {
    Describe { database: String, table: String },
    Select(Select),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Select {
    pub(super) items: Vec<Expression>,
    pub(super) database: String,
    pub(super) table: String,
    pub(super) condition: Option<Expression>,
    pub(super) group: Vec<String>,
    pub(super) order: Vec<String>,
    pub(super) limit: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Column(String),
    Text(String),
    Number(i64),
    Call(String, Vec<Expression>),
    /// `CASE WHEN condition THEN value END`
    Case(Box<Expression>, Box<Expression>),
    Compare(Box<Expression>, String, Box<Expression>),
    Like {
        value: Box<Expression>,
        pattern: String,
        escape: char,
    },
    In(Box<Expression>, Vec<Expression>),
    IsNull {
        value: Box<Expression>,
        negated: bool,
    },
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// Upper case, as SQL does not tell the cases of words apart.
    Word(String),
    Quoted(String),
    Text(String),
    Number(i64),
    Sign(String),
}

/// Parses one statement.
pub(super) fn parse(statement: &str) -> Result<Statement, Refusal> {
    let mut parser = Parser { tokens: tokens(statement)?, at: 0 };
    let parsed = parser.statement()?;
    match parser.tokens.get(parser.at) {
        None => Ok(parsed),
        Some(token) => Err(wrong(&format!("{token:?} where the statement should end"))),
    }
}

fn wrong(what: &str) -> Refusal {
    Refusal::validation(format!("The query syntax is invalid or is not understood here: {what}"))
}

fn tokens(statement: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut chars = statement.chars().peekable();
    while let Some(char) = chars.next() {
        let token = match char {
            ' ' | '\n' => continue,
            '"' | '\'' => {
                let mut text = String::new();
                loop {
                    match chars.next() {
                        Some(next) if next == char && chars.peek() == Some(&char) => {
                            chars.next();
                            text.push(char);
                        }
                        Some(next) if next == char => break,
                        Some(next) => text.push(next),
                        None => return Err(wrong("a quote is not closed")),
                    }
                }
                if char == '"' { Token::Quoted(text) } else { Token::Text(text) }
            }
            '<' | '>' if chars.next_if_eq(&'=').is_some() => Token::Sign(format!("{char}=")),
            '(' | ')' | ',' | '.' | '=' | '<' | '>' => Token::Sign(char.to_string()),
            '-' | '0'..='9' => {
                let mut number = String::from(char);
                while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                    number.push(digit);
                }
                Token::Number(number.parse().map_err(|_not_so| wrong(&format!("the number {number}")))?)
            }
            'a'..='z' | 'A'..='Z' => {
                let mut word = String::from(char);
                while let Some(next) = chars.next_if(|next| next.is_ascii_alphanumeric() || *next == '_') {
                    word.push(next);
                }
                Token::Word(word.to_ascii_uppercase())
            }
            other => return Err(wrong(&format!("the character {other:?}"))),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Result<Token, Refusal> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(|| wrong("it ends too early"))?;
        self.at += 1;
        Ok(token)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at) == Some(token);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.takes(&Token::Sign(sign.to_owned()))
    }

    fn expect_word(&mut self, word: &str) -> Result<(), Refusal> {
        if self.word(word) { Ok(()) } else { Err(wrong(&format!("{word} is missing"))) }
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), Refusal> {
        if self.sign(sign) { Ok(()) } else { Err(wrong(&format!("{sign} is missing"))) }
    }

    fn statement(&mut self) -> Result<Statement, Refusal> {
        if self.word("DESCRIBE") {
            let (database, table) = self.table()?;
            return Ok(Statement::Describe { database, table });
        }
        self.expect_word("SELECT")?;
        let items = self.list(Self::operand)?;
        self.expect_word("FROM")?;
        let (database, table) = self.table()?;
        let condition = if self.word("WHERE") { Some(self.any()?) } else { None };
        let group = self.by("GROUP")?;
        let order = self.by("ORDER")?;
        let limit = match self.word("LIMIT") {
            true => match self.next()? {
                Token::Number(limit) => Some(usize::try_from(limit).map_err(|_not_so| wrong("the limit"))?),
                other => return Err(wrong(&format!("the limit {other:?}"))),
            },
            false => None,
        };
        Ok(Statement::Select(Select { items, database, table, condition, group, order, limit }))
    }

    fn by(&mut self, word: &str) -> Result<Vec<String>, Refusal> {
        if !self.word(word) {
            return Ok(Vec::new());
        }
        self.expect_word("BY")?;
        self.list(Self::column)
    }

    fn list<T>(&mut self, one: impl Fn(&mut Self) -> Result<T, Refusal>) -> Result<Vec<T>, Refusal> {
        let mut all = vec![one(self)?];
        while self.sign(",") {
            all.push(one(self)?);
        }
        Ok(all)
    }

    fn table(&mut self) -> Result<(String, String), Refusal> {
        let (Token::Quoted(database), true, Token::Quoted(table)) =
            (self.next()?, self.sign("."), self.next()?)
        else {
            return Err(wrong("the name of a table is missing"));
        };
        Ok((database, table))
    }

    /// A column; of those without quotes only `time` is one.
    fn column(&mut self) -> Result<String, Refusal> {
        match self.next()? {
            Token::Quoted(name) => Ok(name),
            Token::Word(word) if word == "TIME" => Ok("time".to_owned()),
            other => Err(wrong(&format!("{other:?} is no column"))),
        }
    }

    fn any(&mut self) -> Result<Expression, Refusal> {
        let mut all = vec![self.all()?];
        while self.word("OR") {
            all.push(self.all()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::Or(all) })
    }

    fn all(&mut self) -> Result<Expression, Refusal> {
        let mut all = vec![self.test()?];
        while self.word("AND") {
            all.push(self.test()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expression::And(all) })
    }

    fn test(&mut self) -> Result<Expression, Refusal> {
        if self.sign("(") {
            let inner = self.any()?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        let value = Box::new(self.operand()?);
        if self.word("IS") {
            let negated = self.word("NOT");
            self.expect_word("NULL")?;
            return Ok(Expression::IsNull { value, negated });
        }
        if self.word("IN") {
            self.expect_sign("(")?;
            let values = self.list(Self::operand)?;
            self.expect_sign(")")?;
            return Ok(Expression::In(value, values));
        }
        if self.word("LIKE") {
            let Token::Text(pattern) = self.next()? else { return Err(wrong("the pattern is no text")) };
            self.expect_word("ESCAPE")?;
            let Token::Text(escape) = self.next()? else { return Err(wrong("the escape is no text")) };
            let [escape] = escape.chars().collect::<Vec<_>>()[..] else { return Err(wrong("the escape")) };
            return Ok(Expression::Like { value, pattern, escape });
        }
        match self.next()? {
            Token::Sign(sign) if ["=", "<", "<=", ">", ">="].contains(&sign.as_str()) => {
                Ok(Expression::Compare(value, sign, Box::new(self.operand()?)))
            }
            other => Err(wrong(&format!("{other:?} is no comparison"))),
        }
    }

    fn operand(&mut self) -> Result<Expression, Refusal> {
        if self.word("CASE") {
            self.expect_word("WHEN")?;
            let condition = Box::new(self.any()?);
            self.expect_word("THEN")?;
            let value = Box::new(self.operand()?);
            self.expect_word("END")?;
            return Ok(Expression::Case(condition, value));
        }
        match self.next()? {
            Token::Text(text) => Ok(Expression::Text(text)),
            Token::Number(number) => Ok(Expression::Number(number)),
            Token::Word(function) if self.sign("(") => {
                let arguments = self.list(Self::operand)?;
                self.expect_sign(")")?;
                Ok(Expression::Call(function, arguments))
            }
            _ => {
                self.at -= 1;
                self.column().map(Expression::Column)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_the_adapter_are_understood() {
        for good in [
            "DESCRIBE \"d\".\"t\"",
            "SELECT \"device\", count(\"a\") FROM \"d\".\"t\" WHERE \"device\" LIKE 'a\\_%' ESCAPE '\\' AND time >= from_nanoseconds(-5) GROUP BY \"device\" ORDER BY \"device\" LIMIT 100",
            "SELECT to_nanoseconds(max(CASE WHEN \"a\" IS NOT NULL THEN time END)) FROM \"d\".\"t\" WHERE \"device\" = 'it''s'",
            "SELECT to_nanoseconds(time), \"a\" FROM \"d\".\"t\" WHERE time IN (from_nanoseconds(1), from_nanoseconds(2)) AND (\"a\" IS NOT NULL OR \"metric\" = 'x') ORDER BY time",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "DROP TABLE \"d\".\"t\"",
            "SELECT * FROM \"d\".\"t\"",
            "SELECT \"a\" FROM \"d\".\"t\"; SELECT 1",
            "SELECT \"a\" FROM \"d\".\"t\" -- more",
            "SELECT \"a\" FROM \"d\".\"t\" WHERE \"a\" = 'open",
            "SELECT \"a\" FROM \"d\".\"t\" WHERE 1",
            "SELECT \"a\" FROM t",
            "SELECT device FROM \"d\".\"t\"",
            "SELECT \"a\" FROM \"d\".\"t\" UNION SELECT \"b\" FROM \"d\".\"t\"",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
