//! The measurements. What is compared runs in turns, so that a busy machine slows both.

use std::time::{Duration, Instant};

use aws_config::Region;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use gaia_api_keys::aws;

use crate::aws::Aws;
use crate::database::TABLE_NAME;
use crate::events::{self, api_key, forge};
use crate::quota::Quota;
use crate::report::Times;
use crate::runtime::{Function, Program};

/// From the start of the process to the first response: the time, and the processor time.
#[derive(Default)]
pub struct Cold {
    pub time: Times,
    pub processor: Times,
}

pub async fn cold(programs: &[(Program, String)], rounds: usize) -> Vec<Cold> {
    let mut all: Vec<_> = programs.iter().map(|_| Cold::default()).collect();
    for _ in 0..rounds {
        for ((program, event), cold) in programs.iter().zip(&mut all) {
            let (time, processor) = Function::start(program).await.first(event).await;
            cold.time.push(time);
            cold.processor.push(processor);
        }
    }
    all
}

/// The first and the second request of a function that runs under a quota after its start.
pub async fn throttled(
    program: &Program,
    event: &str,
    rounds: usize,
) -> Result<[Times; 2], String> {
    let mut times = [Times::default(), Times::default()];
    for _ in 0..rounds {
        let quota = Quota::new()?;
        let mut function = Function::start(program).await;
        function.ready().await;
        quota.put(function.process_id());
        for time in &mut times {
            // Long enough for a fresh share of the processor.
            tokio::time::sleep(Duration::from_millis(50)).await;
            time.push(function.invoke(event).await.time);
        }
        drop(function);
    }
    Ok(times)
}

/// Warm requests, without DynamoDB's own time.
#[derive(Default)]
pub struct Warm {
    pub template: Times,
    pub lean: Times,
    pub limit: Times,
    pub create: Times,
    pub update: Times,
    pub delete: Times,
    pub check: Times,
    pub forged: Times,
}

pub async fn warm(
    aws: &Aws,
    others: &[Program; 3],
    api: &Program,
    authorizer: &Program,
    rounds: usize,
) -> Warm {
    let mut warm = Warm::default();
    let [mut template, mut lean, mut limit] = [
        Function::start(&others[0]).await,
        Function::start(&others[1]).await,
        Function::start(&others[2]).await,
    ];
    let [mut api, mut authorizer] = [
        Function::start(api).await,
        Function::start(authorizer).await,
    ];
    for round in 0..rounds + rounds / 10 {
        let before = aws.requests();
        let from_template = timed(aws, &mut template, &events::create()).await.1;
        let from_lean = timed(aws, &mut lean, &events::create()).await.1;
        let from_limit = timed(aws, &mut limit, &events::create()).await.1;
        let (response, create) = timed(aws, &mut api, &events::create()).await;
        let key = api_key(&response);
        let update = timed(aws, &mut api, &events::update(&key)).await.1;
        let (response, check) = timed(aws, &mut authorizer, &events::check(&key)).await;
        assert!(response.contains("Allow"), "{response}");
        let (response, forged) = timed(aws, &mut authorizer, &events::check(&forge(&key))).await;
        assert!(response.contains("Deny"), "{response}");
        let delete = timed(aws, &mut api, &events::delete(&key)).await.1;
        // The limit reads, an update and a delete read first, a check records the new key's first
        // use, and a delete ends that record. In the first round, three functions also start.
        if round > 0 {
            assert_eq!(aws.requests() - before, 9, "requests to DynamoDB");
        }
        // The first tenth only warms caches.
        if round >= rounds / 10 {
            warm.template.push(from_template);
            warm.lean.push(from_lean);
            warm.limit.push(from_limit);
            warm.create.push(create);
            warm.update.push(update);
            warm.check.push(check);
            warm.forged.push(forged);
            warm.delete.push(delete);
        }
    }
    warm
}

/// Warm creates, without DynamoDB's own time, and the memory after them in bytes.
pub async fn creates(aws: &Aws, program: &Program, rounds: usize) -> (Times, f64) {
    let mut function = Function::start(program).await;
    let mut times = Times::default();
    for round in 0..rounds + rounds / 10 {
        let time = timed(aws, &mut function, &events::create()).await.1;
        if round >= rounds / 10 {
            times.push(time);
        }
    }
    (times, function.memory() as f64)
}

/// A list of a service's keys: what the function takes, and what a bare client takes for the same
/// pages.
pub async fn list(aws: &Aws, api: &Program, count: u64, rounds: usize) -> [Times; 2] {
    let service = format!("list-{count}");
    aws.put_keys(&service, count);
    let program = api.clone().with(&[("SERVICE_NAME", &service)]);
    let mut function = Function::start(&program).await;
    let client = bare_client(&program).await;
    let mut times = [Times::default(), Times::default()];
    for _ in 0..=rounds {
        let (response, time) = timed(aws, &mut function, &events::list()).await;
        assert_eq!(response.matches("gaia_").count() as u64, count);
        times[0].push(time);
        let (before, begin) = (aws.time(), Instant::now());
        let query = client.query().table_name(TABLE_NAME).consistent_read(true);
        let query = query
            .key_condition_expression("service = :service")
            .projection_expression("id, config, root_key_id");
        let query =
            query.expression_attribute_values(":service", AttributeValue::S(service.clone()));
        let mut pages = query.into_paginator().send();
        let mut found = 0;
        while let Some(page) = pages.next().await {
            found += page.expect("a page").items().len() as u64;
        }
        assert_eq!(found, count);
        times[1].push(begin.elapsed().saturating_sub(aws.time() - before));
    }
    times
}

/// Resident memory of a function after a tenth of the rounds of five requests, and after all.
pub async fn memory(api: &Program, rounds: usize) -> [u64; 2] {
    let mut function = Function::start(api).await;
    let mut early = 0;
    for round in 0..rounds {
        let response = function.invoke(&events::create()).await;
        let key = api_key(&String::from_utf8_lossy(&response.body));
        function.invoke(&events::verify(&key)).await;
        function.invoke(&events::update(&key)).await;
        function.invoke(&events::first_page()).await;
        // Half of the keys stay.
        function
            .invoke(&events::delete(if round % 2 == 0 {
                &key
            } else {
                "gaia_nonsense"
            }))
            .await;
        if round == rounds / 10 {
            early = function.memory();
        }
    }
    [early, function.memory()]
}

/// The response, and its time without DynamoDB's own.
async fn timed(aws: &Aws, function: &mut Function, event: &str) -> (String, Duration) {
    let before = aws.time();
    let response = function.invoke(event).await;
    (
        String::from_utf8(response.body).expect("text"),
        response.time.saturating_sub(aws.time() - before),
    )
}

/// The SDK's client with the function's settings, in this process.
async fn bare_client(program: &Program) -> aws_sdk_dynamodb::Client {
    let value = |name: &str| {
        let found = program.environment.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| value.as_str())
            .unwrap_or_else(|| panic!("{name}: not set"))
    };
    let credentials = Credentials::from_keys(
        value("AWS_ACCESS_KEY_ID"),
        value("AWS_SECRET_ACCESS_KEY"),
        None,
    );
    let region = Region::new(value("AWS_REGION").to_owned());
    let loader = aws::loader(region, Some(value("AWS_CA_BUNDLE")))
        .expect("a certificate")
        .credentials_provider(credentials)
        .endpoint_url(value("AWS_ENDPOINT_URL_DYNAMODB"));
    aws::dynamodb(&aws::load(loader).await)
}
