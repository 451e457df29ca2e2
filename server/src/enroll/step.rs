//! What enrolling a gateway takes, call by call and file by file.

use std::path::PathBuf;

use fieldline_model::GatewayId;

use super::files::Files;

/// One call or one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is made for a policy that is not there.
    FindPolicy,
    FindEndpoint,
    MakeKey,
    CreateThing,
    CreateCertificate,
    /// The certificate of an earlier run.
    CheckCertificate(String),
    AttachPolicy,
    AttachThing,
    CopyCa(PathBuf),
    WriteConfig,
    /// A file of an earlier run, or of a person: it stays.
    Keep(PathBuf),
}

/// What the steps are about.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) gateway: GatewayId,
    pub(super) policy: String,
    pub(super) files: Files,
}

impl Subject {
    /// The steps from what is on the disk, in an order that can break off anywhere: the key is there
    /// before its certificate, and the configuration comes last.
    pub(super) fn plan(&self, enrolled: Option<String>, ca: Option<PathBuf>) -> Vec<Step> {
        let files = &self.files;
        let mut steps = vec![Step::FindPolicy, Step::FindEndpoint];
        steps.push(if files.key.exists() { Step::Keep(files.key.clone()) } else { Step::MakeKey });
        steps.push(Step::CreateThing);
        steps.push(enrolled.map_or(Step::CreateCertificate, Step::CheckCertificate));
        steps.extend([Step::AttachPolicy, Step::AttachThing]);
        steps.push(ca.map_or_else(|| Step::Keep(files.ca.clone()), Step::CopyCa));
        let configured = files.config.exists();
        steps.push(if configured { Step::Keep(files.config.clone()) } else { Step::WriteConfig });
        steps
    }

    /// What a step does: the call with its method and path, or the file.
    pub(super) fn describe(&self, step: &Step) -> String {
        let (gateway, policy, files) = (&self.gateway, &self.policy, &self.files);
        match step {
            Step::FindPolicy => format!("call GetPolicy: is the policy {policy} there?"),
            Step::FindEndpoint => {
                "call DescribeEndpoint, iot:Data-ATS: where does a gateway connect?".to_owned()
            }
            Step::MakeKey => format!("make a key and write {} (0600)", files.key.display()),
            Step::CreateThing => format!("call CreateThing: {gateway}"),
            Step::CreateCertificate => {
                format!("call CreateCertificateFromCsr, and write {} (0600)", files.certificate.display())
            }
            Step::CheckCertificate(arn) => format!("call DescribeCertificate: is {arn} active?"),
            Step::AttachPolicy => format!("call AttachPolicy: {policy} to the certificate"),
            Step::AttachThing => format!("call AttachThingPrincipal: the certificate to {gateway}"),
            Step::CopyCa(from) => format!("copy {} to {}", from.display(), files.ca.display()),
            Step::WriteConfig => format!("write {} (0600)", files.config.display()),
            Step::Keep(path) => format!("keep {}, which is there", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let gateway = GatewayId::new("hall-7").unwrap();
        let files = Files::below(folder.path(), &gateway);
        let subject = Subject { gateway, policy: "p".to_owned(), files: files.clone() };
        let fresh = subject.plan(None, Some(PathBuf::from("ca.pem")));
        for step in [Step::MakeKey, Step::CreateCertificate, Step::WriteConfig] {
            assert!(fresh.contains(&step), "{fresh:?}");
        }
        for path in [&files.key, &files.config] {
            std::fs::write(path, "").unwrap();
        }
        let arn = "arn:aws:iot:eu-central-1:111122223333:cert/ab".to_owned();
        let again = subject.plan(Some(arn.clone()), None);
        assert!(again.contains(&Step::CheckCertificate(arn)), "{again:?}");
        for path in [files.key, files.ca, files.config] {
            assert!(again.contains(&Step::Keep(path)), "{again:?}");
        }
        assert_eq!(again.len(), fresh.len());
    }
}
