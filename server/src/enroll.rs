//! `fieldline aws enroll`: makes a gateway known to AWS IoT Core, and writes its agent's files.
//!
//! The key is made here and never leaves the machine. Every step may be made again, so a run that broke
//! off is repeated, and one that went through changes nothing when it is.

mod files;
mod settings;
mod step;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fieldline_aws::enroll::{Error, Key, Registry, with_arn};
use fieldline_aws::{Aws, Choice};

use crate::cli::EnrollArgs;
use files::Files;
use step::{Step, Subject};

/// Enrols, or says what it would do.
///
/// # Errors
/// A file or a call fails; the text says which step it was and what to do.
pub async fn enroll(args: &EnrollArgs) -> anyhow::Result<()> {
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("./{}", args.gateway)));
    let files = Files::below(&out, &args.gateway);
    let enrolled = files.enrolled()?;
    let ca = if files.ca.exists() { None } else { Some(files::find_ca(args.ca.as_deref())?) };
    let subject = Subject { gateway: args.gateway.clone(), policy: args.policy.clone(), files };
    let steps = subject.plan(enrolled, ca);
    if args.dry_run {
        println!("This would be done; nothing is called or written:");
        for (number, step) in steps.iter().enumerate() {
            println!("  {} {}", number + 1, subject.describe(step));
        }
        return Ok(());
    }
    // Before the first call: a folder that no configuration can name is found out now.
    let place = std::path::absolute(args.installed_at.as_deref().unwrap_or(&out))?;
    settings::render(&args.gateway, "endpoint.invalid", args.port, &place)?;
    let choice = Choice {
        profile: args.profile.clone(),
        region: args.region.clone(),
        endpoint: args.endpoint_url.clone(),
    };
    let registry = Registry::new(&Aws::load_with(choice).await);
    println!("Enrolling {} at {}", args.gateway, registry.endpoint()?);
    let mut run = Run { args, subject, registry, place, host: String::new(), certificate: String::new() };
    for (number, step) in steps.iter().enumerate() {
        let description = run.subject.describe(step);
        run.make(step).await.with_context(|| {
            format!("step {} of {} ({description}); when mended, run it again", number + 1, steps.len())
        })?;
        println!("  {} {description}: done", number + 1);
    }
    println!("Start it with: edge-agent --config {}", run.place.join("agent.toml").display());
    Ok(())
}

/// An enrolment under way.
struct Run<'a> {
    args: &'a EnrollArgs,
    subject: Subject,
    registry: Registry,
    /// Where the files will lie when the agent runs.
    place: PathBuf,
    /// The host that gateways connect to.
    host: String,
    /// The certificate's ARN.
    certificate: String,
}

impl Run<'_> {
    async fn make(&mut self, step: &Step) -> anyhow::Result<()> {
        let Subject { gateway, policy, files } = &self.subject;
        match step {
            Step::FindPolicy => {
                self.registry.find_policy(policy).await.map_err(|error| policy_hint(error, policy))?
            }
            Step::FindEndpoint => self.host = self.registry.data_endpoint().await?,
            Step::MakeKey => files::write(&files.key, &Key::generate()?.to_pem())?,
            Step::CreateThing => self.registry.create_thing(gateway).await?,
            Step::CreateCertificate => self.certificate = self.sign().await?,
            Step::CheckCertificate(arn) => {
                self.check_certificate(arn).await?;
                self.certificate.clone_from(arn);
            }
            Step::AttachPolicy => self.registry.attach_policy(policy, &self.certificate).await?,
            Step::AttachThing => self.registry.attach_thing(gateway, &self.certificate).await?,
            Step::CopyCa(from) => files::write(&files.ca, &files::read(from)?)?,
            Step::WriteConfig => {
                let text = settings::render(gateway, &self.host, self.args.port, &self.place)?;
                files::write(&files.config, &text)?;
            }
            Step::Keep(path) => self.check_kept(path)?,
        }
        Ok(())
    }

    /// Has the key's request signed, and keeps the certificate with its ARN before anything else happens.
    async fn sign(&self) -> anyhow::Result<String> {
        let Subject { gateway, files, .. } = &self.subject;
        let key = Key::from_pem(&files::read(&files.key)?)
            .with_context(|| format!("{} is no private key; move it away", files.key.display()))?;
        let certificate = self.registry.create_certificate(&key.request(gateway)?).await?;
        files::write(&files.certificate, &with_arn(&certificate)).with_context(|| {
            format!("the certificate {} was made but cannot be kept; it lets nobody in", certificate.arn)
        })?;
        Ok(certificate.arn)
    }

    async fn check_certificate(&self, arn: &str) -> anyhow::Result<()> {
        let file = self.subject.files.certificate.display();
        let status = self.registry.certificate_status(arn).await.map_err(|error| {
            let unknown = error.is_not_found();
            let error = anyhow::Error::new(error);
            if unknown {
                error.context(format!(
                    "AWS knows no such certificate: another account or region, or it was deleted; \
                     move {file} away to have a new one made"
                ))
            } else {
                error
            }
        })?;
        ensure!(
            status == "ACTIVE",
            "the certificate is {status}; activate it (aws iot update-certificate --new-status ACTIVE), or move \
             {file} away to have a new one made"
        );
        Ok(())
    }

    /// A configuration that somebody has changed stays theirs, but it has to be this gateway's.
    fn check_kept(&self, path: &Path) -> anyhow::Result<()> {
        if *path != self.subject.files.config {
            return Ok(());
        }
        let away = "move it away to have it written anew";
        let config = settings::check(&files::read(path)?).context(away)?;
        let id = &config.gateway.id;
        ensure!(*id == self.subject.gateway, "it is the gateway {id}'s; choose another folder with --out");
        let server = config.sync.server.map(|server| server.host).unwrap_or_default();
        if server != self.host {
            // It may be a domain of their own.
            println!("    note: it leads to \"{server}\", the account's address is {}; {away}", self.host);
        }
        Ok(())
    }
}

fn policy_hint(error: Error, policy: &str) -> anyhow::Error {
    if !error.is_not_found() {
        return error.into();
    }
    anyhow::Error::new(error).context(format!(
        "there is no policy {policy} in this account and region: deploy the stack first (cargo xtask deploy), or \
         name the policy with --policy; it is the stack's output GatewayPolicyName"
    ))
}
