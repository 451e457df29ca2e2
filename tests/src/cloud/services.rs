//! Which emulators stand for AWS's services, and what the functions have to know of them.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::emulator::{self, Emulator};
use crate::{localstack, moto};

/// Who serves SNS, SQS, S3, DynamoDB and Secrets Manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// moto.
    Moto,
    /// LocalStack without a licence, and moto for DynamoDB, which LocalStack would have to download.
    LocalStack,
}

/// The running emulators. They end when dropped.
#[derive(Debug)]
pub struct Emulators {
    most: Emulator,
    tables: Option<Emulator>,
}

impl Services {
    /// Starts them in `folder`; `None`, and a printed line, when one is not installed.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(self, folder: &Path) -> Result<Option<Emulators>> {
        let most = match self {
            Self::Moto => moto::start(folder)?,
            Self::LocalStack => localstack::start(folder)?,
        };
        let Some(most) = most else { return Ok(None) };
        if self == Self::Moto {
            return Ok(Some(Emulators { most, tables: None }));
        }
        let Some(tables) = moto::start(folder)? else { return Ok(None) };
        println!("SNS, SQS, S3 and Secrets Manager are LocalStack's, DynamoDB is moto's");
        Ok(Some(Emulators { most, tables: Some(tables) }))
    }
}

impl Emulators {
    /// What serves all but DynamoDB.
    pub fn most(&self) -> &Emulator {
        &self.most
    }

    /// What serves DynamoDB.
    pub fn tables(&self) -> &Emulator {
        self.tables.as_ref().unwrap_or(&self.most)
    }

    /// What an AWS client needs so that it talks to these and to nobody else. `before` gives, for the
    /// address of each, the one that is to be called instead.
    ///
    /// # Errors
    /// Those of `before`.
    pub fn variables(
        &self,
        mut before: impl FnMut(SocketAddr) -> Result<SocketAddr>,
    ) -> Result<Vec<(String, String)>> {
        let mut variables = emulator::variables(before(self.most.address())?);
        if let Some(tables) = &self.tables {
            let endpoint = format!("http://{}", before(tables.address())?);
            variables.push(("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), endpoint));
        }
        Ok(variables)
    }

    /// Their names, and where they listen.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        match &self.tables {
            None => vec![("S3, DynamoDB, SNS, SQS (moto)", self.most.address())],
            Some(tables) => vec![
                ("S3, SNS, SQS (LocalStack)", self.most.address()),
                ("DynamoDB (moto)", tables.address()),
            ],
        }
    }
}
