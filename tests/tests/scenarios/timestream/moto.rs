//! The wire format of writes against moto's `timestream-write`, which knows AWS's API model.

use fieldline_tests::Http;
use fieldline_tests::moto;

use super::*;

#[test]
fn moto_understands_the_writes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(moto) = moto::start(folder.path())? else { return Ok(()) };
    moto.create_timestream_table(DATABASE, "readings")?;
    run(async {
        let points = points(&format!("http://{}", moto.address())).await?;
        let columns = vec![
            column("d", "a", &[NOON], Values::Float(vec![1.5])),
            column("d", "b", &[NOON], Values::Text(vec!["ä \"x\"".to_owned()])),
            column("e", "long".repeat(64).as_str(), &[NOON], Values::Integer(vec![7])),
        ];
        assert_eq!(put(&points, columns, 9).await?, []);
        Ok(())
    })?;
    let data = Http::new(moto.address()).json("/moto-api/data.json")?.to_string();
    // It keeps the records and forgets what they have in common.
    for part in ["1.5", "b__text", "place", "\"9\"", "reading__int"] {
        assert!(data.contains(part), "{part} is not in {data}");
    }
    Ok(())
}
