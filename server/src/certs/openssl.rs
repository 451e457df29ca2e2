//! The same files in the eyes of OpenSSL, which most devices are set up with.

use std::process::Command;

use super::*;

/// What `openssl` prints, or why it fails; none without the program.
fn openssl(folder: &Path, line: &str) -> Option<Result<String, String>> {
    let output = match Command::new("openssl").args(line.split(' ')).current_dir(folder).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: no openssl ({error}); apt-get install openssl");
            return None;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

#[test]
fn openssl_takes_what_is_issued_and_its_requests_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(folder.path(), &["broker.site.example".to_owned()]).unwrap();
    let run = |line: &str| openssl(folder.path(), line);
    let Some(version) = run("version") else { return };
    version.unwrap();
    let server = "verify -x509_strict -purpose sslserver -verify_hostname broker.site.example -CAfile ca.pem server.pem";
    run(server).unwrap().unwrap();
    let device = authority.issue("press-4", DEVICE_VALIDITY).unwrap();
    std::fs::write(folder.path().join("device.pem"), &device.certificate).unwrap();
    let verify = "verify -x509_strict -purpose sslclient -CAfile ca.pem device.pem";
    run(verify).unwrap().unwrap();
    assert!(run(&verify.replace("sslclient", "sslserver")).unwrap().is_err());
    let fingerprint = run("x509 -in device.pem -noout -fingerprint -sha256").unwrap().unwrap();
    let fingerprint = fingerprint.trim().rsplit('=').next().unwrap().replace(':', "").to_ascii_lowercase();
    assert_eq!(certificate_id(&device.certificate).unwrap(), fingerprint);

    let keys = [
        ("ec -pkeyopt ec_paramgen_curve:P-256", "-sha256", true),
        ("ec -pkeyopt ec_paramgen_curve:P-384", "-sha384", true),
        ("ec -pkeyopt ec_paramgen_curve:P-384", "-sha256", false),
        ("rsa:2048", "-sha256", true),
        ("ed25519", "-sha256", true),
    ];
    for (key, digest, known) in keys {
        let line = format!(
            "req -new -newkey {key} {digest} -nodes -keyout device.key -subj /O=Hall/CN=press-6 -out device.csr"
        );
        run(&line).unwrap().unwrap();
        let request = std::fs::read_to_string(folder.path().join("device.csr")).unwrap();
        let signed = authority.sign_csr(&request, None, DEVICE_VALIDITY);
        if !known {
            assert!(matches!(signed, Err(Error::KeyKind | Error::Request(_))), "{key} {digest}");
            continue;
        }
        std::fs::write(folder.path().join("device.pem"), signed.unwrap()).unwrap();
        run(verify).unwrap().unwrap();
        let subject = run("x509 -in device.pem -noout -subject").unwrap().unwrap();
        assert!(subject.contains("press-6") && !subject.contains("Hall"), "{subject}");
        let of_key = run("pkey -in device.key -pubout").unwrap().unwrap();
        assert_eq!(run("x509 -in device.pem -noout -pubkey").unwrap().unwrap(), of_key, "{key} {digest}");
    }
}
