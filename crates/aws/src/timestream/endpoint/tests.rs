use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_types::service_config::LoadServiceConfig;

use super::*;

/// Stands in for all of the network: notes who is asked for what, and answers as Timestream would.
#[derive(Debug, Clone, Default)]
struct Network {
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl HttpConnector for Network {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = operation.rsplit('.').next().unwrap_or_default().to_owned();
        let host = request.uri().split('/').take(3).collect::<Vec<_>>().join("/");
        let body = match operation.as_str() {
            "DescribeEndpoints" => {
                r#"{"Endpoints":[{"Address":"cell-7.timestream.example","CachePeriodInMinutes":60}]}"#
            }
            "Query" => r#"{"QueryId":"q","Rows":[],"ColumnInfo":[]}"#,
            _ => r#"{"RecordsIngested":{"Total":1}}"#,
        };
        self.asked.lock().unwrap().push((operation, host));
        let response = HttpResponse::new(200.try_into().unwrap(), SdkBody::from(body));
        HttpConnectorFuture::ready(Ok(response))
    }
}

impl HttpClient for Network {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

/// What `AWS_ENDPOINT_URL_TIMESTREAM_WRITE` and `…_QUERY` say.
#[derive(Debug)]
struct OfServices;

impl LoadServiceConfig for OfServices {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        match (key.env(), key.service_id()) {
            ("AWS_ENDPOINT_URL", "Timestream Write") => Some("http://127.0.0.1:1".to_owned()),
            ("AWS_ENDPOINT_URL", "Timestream Query") => Some("http://127.0.0.1:2".to_owned()),
            _ => None,
        }
    }
}

fn builder(network: &Network) -> aws_types::sdk_config::Builder {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-central-1"))
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("a", "b", None, None, "test")))
        .sleep_impl(aws_smithy_async::rt::sleep::SharedAsyncSleep::new(
            aws_smithy_async::rt::sleep::TokioSleep::new(),
        ))
        .time_source(aws_smithy_async::time::SystemTimeSource::new())
        .http_client(network.clone())
}

/// A write and a query; gives who was asked for what.
async fn call(network: &Network, config: SdkConfig) -> Vec<(String, String)> {
    let aws = Aws::of(config);
    let (writer, reader) = (writer(&aws).await.unwrap(), reader(&aws).await.unwrap());
    let record = aws_sdk_timestreamwrite::types::Record::builder().build();
    writer.write_records().database_name("d").table_name("t").records(record).send().await.unwrap();
    reader.query().query_string("SELECT 1").send().await.unwrap();
    network.asked.lock().unwrap().clone()
}

fn expected(calls: &[(&str, &str)]) -> Vec<(String, String)> {
    calls.iter().map(|(operation, host)| ((*operation).to_owned(), (*host).to_owned())).collect()
}

#[tokio::test]
async fn on_aws_the_endpoints_are_discovered_and_used() {
    let network = Network::default();
    let asked = call(&network, builder(&network).build()).await;
    // The reload tasks may have asked again meanwhile.
    let asked: std::collections::BTreeSet<_> = asked.into_iter().collect();
    let expected = expected(&[
        ("DescribeEndpoints", "https://ingest.timestream.eu-central-1.amazonaws.com"),
        ("DescribeEndpoints", "https://query.timestream.eu-central-1.amazonaws.com"),
        ("Query", "https://cell-7.timestream.example"),
        ("WriteRecords", "https://cell-7.timestream.example"),
    ]);
    assert_eq!(asked, expected.into_iter().collect());
}

#[tokio::test]
async fn with_an_endpoint_for_all_services_no_other_address_is_asked() {
    let network = Network::default();
    let asked = call(&network, builder(&network).endpoint_url("http://127.0.0.1:3").build()).await;
    assert_eq!(asked, expected(&[("WriteRecords", "http://127.0.0.1:3"), ("Query", "http://127.0.0.1:3")]));
}

#[tokio::test]
async fn with_endpoints_of_the_services_no_other_address_is_asked() {
    let network = Network::default();
    let config = builder(&network).service_config(OfServices).build();
    assert!(config.endpoint_url().is_none(), "this is why it is not enough to look there");
    let asked = call(&network, config).await;
    assert_eq!(asked, expected(&[("WriteRecords", "http://127.0.0.1:1"), ("Query", "http://127.0.0.1:2")]));
}

#[tokio::test]
async fn an_endpoint_of_one_service_leaves_the_other_to_discovery() {
    #[derive(Debug)]
    struct OfWrites;
    impl LoadServiceConfig for OfWrites {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            OfServices.load_config(key).filter(|url| url.ends_with(":1"))
        }
    }
    let network = Network::default();
    let asked = call(&network, builder(&network).service_config(OfWrites).build()).await;
    let writes: Vec<_> = asked.iter().filter(|(operation, _)| operation == "WriteRecords").collect();
    assert!(writes.iter().all(|(_, host)| host == "http://127.0.0.1:1"), "{writes:?}");
    assert!(
        asked.contains(&("Query".to_owned(), "https://cell-7.timestream.example".to_owned())),
        "{asked:?}"
    );
}
