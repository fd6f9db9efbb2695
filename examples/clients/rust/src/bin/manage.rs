//! The life of an API key. docs/clients.md names the variables.

use std::time::Duration;

use clients::{Client, Response, Result, text};
use serde_json::{Value, json};

const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

struct Keys(Client);

impl Keys {
    /// The response. Creates and rotations need an Idempotency-Key, because requests are repeated.
    async fn send(
        &self,
        method: &str,
        path: &str,
        body: &Value,
        headers: &[(&'static str, &str)],
    ) -> Result<Response> {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.0.send(method, path, &body, headers, &PAUSES).await
    }

    /// The response's body. Errors: any other status than 200.
    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        json(method, &self.send(method, path, body, &[]).await?)
    }

    /// Creates or rotates a key. The Idempotency-Key is a new one for each key, and the same in
    /// each attempt.
    async fn create(&self, path: &str, body: &Value) -> Result<Value> {
        let once = uuid::Uuid::new_v4().to_string();
        json(
            "POST",
            &self
                .send("POST", path, body, &[("idempotency-key", &once)])
                .await?,
        )
    }

    /// All keys, page by page. The next page's address is relative.
    async fn list(&self) -> Result<Vec<Value>> {
        let (mut keys, mut next) = (Vec::new(), Some("/".to_owned()));
        while let Some(path) = next {
            let page = self.send("GET", &path, &Value::Null, &[]).await?;
            keys.extend(
                json("GET", &page)?
                    .as_array()
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            let link = page.headers.get("link").and_then(|link| link.to_str().ok());
            let link = link.and_then(|link| link.strip_prefix('<')?.split_once(">; rel=\"next\""));
            next = link.map(|(query, _)| format!("/{query}"));
        }
        Ok(keys)
    }

    /// Changes one field of a config. PUT replaces the whole config: If-Match keeps what others
    /// changed meanwhile.
    async fn update(&self, id: &str, field: &str, value: &Value) -> Result<()> {
        let path = format!("/{id}");
        for _ in 0..5 {
            let mut found = self.call("GET", &path, &Value::Null).await?;
            if found["config"].get(field) == Some(value) {
                return Ok(()); // also if only the response to an earlier attempt was lost
            }
            found["config"][field] = value.clone();
            let body = json!({ "config": found["config"] });
            let etag = [("if-match", found["etag"].as_str().ok_or("no etag")?)];
            let response = self.send("PUT", &path, &body, &etag).await?;
            if response.status != 412 {
                return json("PUT", &response).map(drop);
            }
        }
        Err("PUT: others change the key all the time".into())
    }

    /// Deletes a key. A repeated delete gets a 404, because the key is gone.
    async fn delete(&self, id: &str) -> Result<()> {
        let response = self
            .send("DELETE", &format!("/delete/{id}"), &Value::Null, &[])
            .await?;
        if response.repeated == 0 || response.status != 404 {
            json("DELETE", &response)?;
        }
        Ok(())
    }
}

fn json(method: &str, response: &Response) -> Result<Value> {
    if response.status != 200 {
        return Err(format!("{method}: {} {}", response.status, response.body).into());
    }
    Ok(serde_json::from_str(&response.body)?)
}

#[tokio::main]
async fn main() -> Result<()> {
    let keys = Keys(Client::from_env(Duration::from_secs(30))?);
    let config = json!({ "permissions": "read", "name": "reports" });
    let key = text(
        &keys.create("/", &json!({ "config": config })).await?,
        "api_key",
    )?;
    let key_id = &key[..31]; // not a secret: it stands for the key in paths
    println!("{}", keys.list().await?.len());
    keys.update(key_id, "permissions", &json!("write")).await?;
    println!("updated");
    println!(
        "{}",
        keys.call(
            "POST",
            "/verify",
            &json!({ "api_key": key, "route": "POST /items" })
        )
        .await?["valid"]
    );
    println!(
        "{}",
        keys.call("GET", &format!("/{key_id}"), &Value::Null)
            .await?["last_used_at"]
    );
    let rotated = keys
        .create(
            &format!("/{key_id}/rotate"),
            &json!({ "grace_seconds": 3600 }),
        )
        .await?;
    println!("{}", rotated["result"]);
    for old_or_new in [key_id, &text(&rotated, "api_key")?[..31]] {
        keys.delete(old_or_new).await?;
        println!("deleted");
    }
    Ok(())
}
